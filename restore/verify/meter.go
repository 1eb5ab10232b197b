package verify

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// meter counts what moves.
type meter struct {
	moves atomic.Int64 // anything at all
	done  atomic.Int64 // documents of total
	total atomic.Int64
	began atomic.Int64 // of the documents, Unix nanoseconds
	views atomic.Bool  // indexes are being built: CouchDB tells how far they are
}

// watch gives a context that ends when nothing has moved for too long, and
// reports meanwhile. stop waits for the last report.
func (r *run) watch(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticks := time.NewTicker(min(reportEvery, max(r.Stuck/4, time.Millisecond)))
		defer ticks.Stop()
		seen, indexed, moved, reported := int64(-1), int64(-1), time.Now(), time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			}
			if r.meter.views.Load() {
				if n, err := r.Clients[0].Indexed(ctx); err == nil && n != indexed {
					indexed, moved = n, time.Now()
				}
			}
			if n := r.meter.moves.Load(); n != seen {
				seen, moved = n, time.Now()
			}
			if idle := time.Since(moved); idle > r.Stuck {
				cancel(reason.Refuse(api.ReasonStartTimeout, "the verification stands still: nothing came from CouchDB for %s while %s; see CouchDB's log, raise spec.stepTimeout if it is only slow", idle.Round(time.Second), r.now()))
				return
			}
			if r.Report != nil && time.Since(reported) >= reportEvery {
				reported = time.Now()
				v := r.snapshot()
				r.Report(v, r.now())
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-ended
	}
}

func (r *run) now() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.doing
}

// snapshot is the evidence so far, with the progress.
func (r *run) snapshot() api.Verification {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := *r.v.DeepCopy()
	if began := r.meter.began.Load(); began != 0 {
		v.Progress = Progress(r.meter.done.Load(), r.meter.total.Load(), time.Since(time.Unix(0, began)))
	}
	return v
}

// Progress works out rate and time left of what has gone on for so long.
func Progress(done, total int64, took time.Duration) *api.VerificationProgress {
	p := &api.VerificationProgress{Done: done, Total: max(total, done)}
	if took > 0 && done > 0 {
		rate := float64(done) / took.Seconds()
		p.DocumentsPerSecond = int64(rate)
		p.SecondsLeft = int64(float64(p.Total-done)/rate + 0.5)
	}
	return p
}

// answered tells whether an error is CouchDB's answer. Only that can be a
// finding: a CouchDB that is slow, or away, has not lost data.
func answered(err error) bool {
	var e *couchdb.StatusError
	if errors.As(err, &e) {
		return e.Code != "timeout"
	}
	return errors.Is(err, couchdb.ErrUnreadable) || errors.Is(err, couchdb.ErrBroken) || errors.Is(err, errDigest)
}

// insist does something until it succeeds or ctx ends. An answer that stays bad
// for so many times is given back as the finding: right after a start CouchDB
// answers with errors that pass.
func (r *run) insist(ctx context.Context, times int, do func() error) (finding, err error) {
	pause := pace
	for bad := 0; ; {
		err := do()
		if err == nil {
			r.meter.moves.Add(1)
			return nil, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		if answered(err) {
			if bad++; bad >= times {
				r.meter.moves.Add(1)
				return err, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(pause): // CouchDB tells nobody when it is ready
		}
		pause = min(pause*3/2, 2*time.Second)
	}
}
