package hollow

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
)

// Holds remembers when each instance was held.
type Holds struct {
	// Now is the clock by which it remembers; nil for the machine's.
	Now func() time.Time

	mu sync.Mutex
	of map[string][]span // by namespace
}

type span struct{ from, to time.Time }

// Covered tells whether an instance was held at a time.
func (h *Holds) Covered(instance string, at time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.of[instance], func(s span) bool { return !at.Before(s.from) && !at.After(s.to) })
}

func (h *Holds) add(instance string, s span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of == nil {
		h.of = map[string][]span{}
	}
	h.of[instance] = append(h.of[instance], s)
}

// Forget forgets all that is over.
func (h *Holds) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.of)
}

func (h *Holds) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

// serve speaks the quiesce protocol for an instance: it holds from the word to the
// word, to the end of input, or to the bound, and says which.
func (h *Holds) serve(instance string, bound time.Duration, in io.Reader, out io.Writer) error {
	said := json.NewEncoder(out)
	words := make(chan string)
	go func() {
		defer close(words)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			words <- lines.Text()
		}
	}()
	defer func() {
		go func() {
			for range words { // until the reader ends
			}
		}()
	}()
	if err := said.Encode(protocol.Message{State: protocol.Ready}); err != nil {
		return err
	}
	switch word, more := <-words; {
	case !more:
		return nil
	case word != protocol.Hold:
		return said.Encode(protocol.Message{State: protocol.Error, Text: fmt.Sprintf("%q is no word of mine", word)})
	}
	held := span{from: h.now()}
	over := time.NewTimer(bound)
	defer over.Stop()
	if err := said.Encode(protocol.Message{State: protocol.Held}); err != nil {
		return err
	}
	answer := protocol.Message{State: protocol.Released}
	select {
	case <-over.C:
		answer.Text = "the deadline came first"
	case word, more := <-words:
		switch {
		case !more:
			answer.Text = "the input ended"
		case word == protocol.Release:
			answer.Held = true
		default:
			answer.Text = fmt.Sprintf("%q is no word of mine", word)
		}
	}
	held.to = h.now()
	h.add(instance, held)
	return said.Encode(answer)
}
