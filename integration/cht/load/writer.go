package load

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/medic/cht-backup/integration/cht/couch"
)

// WriterOptions say how much is written and where.
type WriterOptions struct {
	Workers   int
	Rate      float64 // writes a second, all workers together
	Count     int64   // 0: until ctx ends
	Databases []string
	// Updates is the share of writes that change a document of this run again.
	Updates float64
	// Type is the documents' "type" field.
	Type   string
	Prefix string // of the documents' ids
	Size   int    // bytes of a document's filling
}

// Writer writes until ctx ends or Count is reached, and prints one line a write.
// What is under way when ctx ends is waited for and logged: an answer not waited
// for would be an acknowledged write that nobody knows of.
func Writer(ctx context.Context, c *couch.Client, o WriterOptions, out io.Writer) error {
	if o.Workers < 1 || o.Rate <= 0 || len(o.Databases) == 0 {
		return fmt.Errorf("writer: %d workers at %g a second to %d databases", o.Workers, o.Rate, len(o.Databases))
	}
	p := newPrinter(out)
	p.print(Line{Kind: KindStart})
	var skipped atomic.Int64
	due := ticks(ctx, o.Rate, o.Count, o.Workers, &skipped)
	var workers sync.WaitGroup
	for n := range o.Workers {
		workers.Go(func() {
			w := writer{c: c, o: o, random: rand.New(rand.NewPCG(uint64(n), uint64(time.Now().UnixNano())))}
			for seq := range due {
				write := w.write(context.WithoutCancel(ctx), seq)
				p.print(Line{Kind: KindWrite, Write: &write})
			}
		})
	}
	workers.Wait()
	return p.end(skipped.Load())
}

// ticks gives the numbers of the writes as they come due. While all workers wait
// (a stall) at most one write for each is kept: no burst follows.
func ticks(ctx context.Context, rate float64, count int64, workers int, skipped *atomic.Int64) <-chan int64 {
	due := make(chan int64, workers)
	go func() {
		defer close(due)
		tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
		defer tick.Stop()
		for seq := int64(1); count == 0 || seq <= count; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case due <- seq:
				seq++
			default:
				skipped.Add(1)
			}
		}
	}()
	return due
}

type writer struct {
	c      *couch.Client
	o      WriterOptions
	random *rand.Rand
	mine   []Write // acknowledged ones that may be updated
}

// write sends one write. Each worker updates only documents of its own, so that a
// conflict would be a failure and not its own doing.
func (w *writer) write(ctx context.Context, seq int64) Write {
	doc := map[string]any{"type": w.o.Type, "seq": seq, "reported_date": time.Now().UnixMilli(), "filling": filling(w.random, w.o.Size)}
	one := Write{Seq: seq, DB: w.o.Databases[w.random.IntN(len(w.o.Databases))], ID: fmt.Sprintf("%s-%08d", w.o.Prefix, seq)}
	updated := -1
	if len(w.mine) > 0 && w.random.Float64() < w.o.Updates {
		updated = w.random.IntN(len(w.mine))
		one.DB, one.ID = w.mine[updated].DB, w.mine[updated].ID
		doc["_rev"] = w.mine[updated].Rev
	}
	send(ctx, w.c, &one, doc)
	switch {
	case !one.Acknowledged():
	case updated >= 0:
		w.mine[updated] = one
	case w.o.Updates > 0 && len(w.mine) < 1000:
		w.mine = append(w.mine, one)
	}
	return one
}

// send writes doc as one says, and notes when, and what came of it.
func send(ctx context.Context, c *couch.Client, one *Write, doc any) {
	one.Start = time.Now().UnixNano()
	rev, err := c.Put(ctx, one.DB, one.ID, doc)
	one.End = time.Now().UnixNano()
	one.Rev, one.Status = rev, 201
	if err != nil {
		one.Status, one.Error = couch.Status(err), err.Error()
	}
}

const letters = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789"

// filling is text of n bytes that does not compress to nothing.
func filling(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}
