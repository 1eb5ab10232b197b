package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/medic/cht-backup/integration/cht/couch"
)

const (
	batch  = 2000 // documents in a request
	seeds  = 4    // requests at a time
	tellIt = 15 * time.Second
)

// databases make what is not there yet.
func (r *run) databases(ctx context.Context) error {
	for _, name := range r.names {
		if err := r.cluster.Client(0, r.transport).CreateDB(ctx, name); err != nil {
			return fmt.Errorf("make database %s: %w", name, err)
		}
	}
	r.made = true
	return nil
}

// seed brings the databases from the documents that they have to n in all.
func (r *run) seed(ctx context.Context, n int) error {
	r.progress("seeding up to %d documents", n)
	began := time.Now()
	var written atomic.Int64
	stop := every(tellIt, func() { r.progress("  %d written", written.Load()) })
	defer stop()
	work, within := errgroup.WithContext(ctx)
	work.SetLimit(seeds)
	request := 0
	for d, to := range split(n) {
		for at := r.have[d]; at < to; at += batch {
			c, from, end := r.cluster.Client(request%len(r.cluster.URLs), r.transport), at, min(at+batch, to)
			request++
			work.Go(func() error {
				err := write(within, c, r.names[d], from, end)
				written.Add(int64(end - from))
				return err
			})
		}
		r.have[d] = to
	}
	if err := work.Wait(); err != nil {
		return err
	}
	r.progress("seeded %d in %s", written.Load(), time.Since(began).Round(time.Second))
	return nil
}

// write writes some of a database's documents, and their conflicts after them.
func write(ctx context.Context, c *couch.Client, database string, from, end int) error {
	var docs, others []any
	for i := from; i < end; i++ {
		docs = append(docs, document(i))
		if other := conflict(i); other != nil {
			others = append(others, other)
		}
	}
	path := "/" + couch.Escape(database) + "/_bulk_docs"
	var answers []struct{ ID, Error, Reason string }
	if err := c.Do(ctx, http.MethodPost, path, map[string]any{"docs": docs}, &answers); err != nil {
		return fmt.Errorf("write documents %d to %d of %s: %w", from, end-1, database, err)
	}
	for _, a := range answers {
		if a.Error != "" {
			return fmt.Errorf("write document %s of %s: %s: %s", a.ID, database, a.Error, a.Reason)
		}
	}
	if len(answers) != len(docs) {
		return fmt.Errorf("write documents of %s: %d answers for %d", database, len(answers), len(docs))
	}
	if len(others) == 0 {
		return nil
	}
	if err := c.Do(ctx, http.MethodPost, path, map[string]any{"docs": others, "new_edits": false}, nil); err != nil {
		return fmt.Errorf("write conflicts of %s: %w", database, err)
	}
	return nil
}

// every calls do now and then until it is stopped.
func every(pause time.Duration, do func()) (stop func()) {
	ticks, done := time.NewTicker(pause), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticks.C:
				do()
			case <-done:
				return
			}
		}
	}()
	return func() {
		ticks.Stop()
		close(done)
	}
}
