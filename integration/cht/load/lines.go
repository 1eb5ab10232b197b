package load

import (
	"encoding/json"
	"io"
	"sync"
)

// Kinds of line that a tool prints.
const (
	KindStart   = "start"   // the tool is about to send its first request
	KindWrite   = "write"   // a Write
	KindPair    = "pair"    // a Pair
	KindSummary = "summary" // the last line, a Summary
)

// Write is one request to write a document, and what became of it. A line is
// printed once the answer is there.
type Write struct {
	Seq  int64  `json:"seq"`
	Node string `json:"node,omitempty"` // the server written to, where not HAProxy
	DB   string `json:"db"`
	ID   string `json:"id"`
	Rev  string `json:"rev,omitempty"`
	// Start and End in nanoseconds since 1970, by the machine's clock.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	// Status is HTTP's; 0 with Error where no answer came.
	Status int    `json:"status"`
	Error  string `json:"error,omitempty"`
}

// Acknowledged tells whether CouchDB said that it has the write.
func (w Write) Acknowledged() bool { return w.Status == 201 }

// Pair is two writes of which the second was sent after the first's
// acknowledgement. B is nil where A was not acknowledged.
type Pair struct {
	Seq int64  `json:"seq"`
	A   Write  `json:"a"`
	B   *Write `json:"b,omitempty"`
}

// Summary ends the output.
type Summary struct {
	Sent         int64 `json:"sent"`
	Acknowledged int64 `json:"acknowledged"`
	Failed       int64 `json:"failed"`
	// Skipped counts the times a write was due while all workers waited.
	Skipped int64 `json:"skipped"`
}

// Line is one line of output: the kind, and the one field it names.
type Line struct {
	Kind    string   `json:"kind"`
	Write   *Write   `json:"write,omitempty"`
	Pair    *Pair    `json:"pair,omitempty"`
	Summary *Summary `json:"summary,omitempty"`
}

// printer writes whole lines from many goroutines and keeps the tally.
type printer struct {
	mu  sync.Mutex
	out *json.Encoder
	sum Summary
	err error
}

func newPrinter(w io.Writer) *printer { return &printer{out: json.NewEncoder(w)} }

func (p *printer) print(l Line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range l.writes() {
		p.sum.Sent++
		if w.Acknowledged() {
			p.sum.Acknowledged++
		} else {
			p.sum.Failed++
		}
	}
	if err := p.out.Encode(l); err != nil && p.err == nil {
		p.err = err
	}
}

func (l Line) writes() []Write {
	switch {
	case l.Write != nil:
		return []Write{*l.Write}
	case l.Pair != nil && l.Pair.B != nil:
		return []Write{l.Pair.A, *l.Pair.B}
	case l.Pair != nil:
		return []Write{l.Pair.A}
	}
	return nil
}

func (p *printer) end(skipped int64) error {
	p.sum.Skipped = skipped
	sum := p.sum
	p.print(Line{Kind: KindSummary, Summary: &sum})
	return p.err
}
