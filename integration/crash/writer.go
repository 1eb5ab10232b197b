package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/medic/cht-backup/integration/cht/couch"
)

// database that the writer writes to.
const database = "crash"

// writer is the oracle: it writes one document after another, the next once this one is
// acknowledged. So a consistent copy has the first k of them, whatever k.
type writer struct {
	couch *couch.Client

	mu     sync.Mutex
	next   int           // the first that is not acknowledged
	asked  bool          // next may be there
	stall  time.Duration // the longest write since it was last asked for
	since  time.Time     // of the write that is under way; zero for none
	cancel context.CancelFunc
	done   chan struct{}
}

func document(i int) string { return fmt.Sprintf("w%07d", i) }

func newWriter(base, user, password string) *writer {
	return &writer{couch: couch.New(base, user, password, couch.Transport(2))}
}

// start writes until stop. from is the first document to write.
func (w *writer) start(ctx context.Context, from int) {
	ctx, w.cancel = context.WithCancel(ctx)
	w.mu.Lock()
	w.next, w.stall, w.asked = from, 0, false
	w.mu.Unlock()
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			w.write(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(60 * time.Millisecond):
			}
		}
	}()
}

func (w *writer) write(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	w.mu.Lock()
	i := w.next
	w.asked, w.since = true, time.Now()
	w.mu.Unlock()
	_, err := w.couch.Put(ctx, database, document(i), map[string]any{"n": i})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stall, w.since = max(w.stall, time.Since(w.since)), time.Time{}
	if err == nil || couch.Status(err) == http.StatusConflict { // one that was not answered was done
		w.next, w.asked = i+1, false
	}
}

func (w *writer) stop() {
	if w.cancel != nil {
		w.cancel()
		<-w.done
		w.cancel = nil
	}
}

// state gives how many are acknowledged, and how many may be there at most.
func (w *writer) state() (acknowledged, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked {
		return w.next, w.next + 1
	}
	return w.next, w.next
}

// longest gives the longest write since it was last called, one that is under way too.
func (w *writer) longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.stall
	if !w.since.IsZero() {
		d = max(d, time.Since(w.since))
	}
	w.stall = 0
	return d
}

// holds reads how many documents a copy has, and fails if one is missing before the last.
func holds(ctx context.Context, c *couch.Client) (int, error) {
	var all struct {
		Rows []struct {
			ID string `json:"id"`
		} `json:"rows"`
	}
	if err := c.Get(ctx, "/"+database+"/_all_docs", &all); err != nil {
		return 0, err
	}
	for i, row := range all.Rows {
		if row.ID != document(i) {
			return 0, fmt.Errorf("document %s is missing, and %s is there: it is not one moment", document(i), row.ID)
		}
	}
	return len(all.Rows), nil
}
