package fill

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/reason"
)

// clock is one that is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

// filling is a job that does what it is told.
type filling struct {
	job    Job
	report chan transfer.Progress
	end    chan error
	woken  chan struct{}
	begun  chan context.Context
}

func newFilling(filler string) *filling {
	f := &filling{report: make(chan transfer.Progress), end: make(chan error), woken: make(chan struct{}, 10), begun: make(chan context.Context, 10)}
	f.job = Job{Filler: filler, Ended: func() { f.woken <- struct{}{} }, Do: func(ctx context.Context, report func(transfer.Progress)) error {
		f.begun <- ctx
		for {
			select {
			case p := <-f.report:
				report(p)
				f.report <- p // it was told
			case err := <-f.end:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}}
	return f
}

func (f *filling) tell(done int64) {
	f.report <- transfer.Progress{Done: done, Total: 100}
	<-f.report
}

var key = Key{Restore: "u", Node: "couchdb-1"}

func TestAFillingGoesOnByItself(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	r := New(c.Now)
	f := newFilling("pod-1")
	r.Go(key, f.job)
	<-f.begun
	f.tell(10)
	c.pass(10 * time.Second)
	f.tell(30)
	s := r.Go(key, f.job)
	if s.Progress.Done != 30 || s.Text != "30 %, 30 B of 100 B, 2 B/s, 35s left" || s.Done || s.Err != nil || !s.Moved.Equal(c.Now()) {
		t.Errorf("%+v", s)
	}
	f.end <- nil
	<-f.woken
	if s := r.Go(key, f.job); !s.Done || s.Err != nil {
		t.Errorf("%+v", s)
	}
	if len(f.begun) > 0 {
		t.Error("what is done was begun again")
	}
}

func TestAnErrorThatMayPassIsTriedAgain(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	r := New(c.Now)
	f := newFilling("pod-1")
	r.Go(key, f.job)
	<-f.begun
	f.tell(50)
	at := c.Now()
	f.end <- errors.New("connection reset")
	<-f.woken
	if s := r.Go(key, f.job); s.Err == nil || len(f.begun) > 0 {
		t.Errorf("it was not waited: %+v", s)
	}
	c.pass(pause)
	r.Go(key, f.job)
	<-f.begun
	c.pass(time.Minute)
	f.tell(40) // less than there was: nothing has moved
	if got := r.Moved(key.Restore); !got.Equal(at) {
		t.Errorf("moved at %s, and not at %s", got, at)
	}
	f.tell(51)
	if got := r.Moved(key.Restore); !got.Equal(c.Now()) {
		t.Errorf("moved at %s, and not now", got)
	}
	if s := r.Go(key, f.job); s.Err != nil {
		t.Errorf("an error of before: %+v", s)
	}
}

func TestAnErrorWithAReasonStays(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	r := New(c.Now)
	f := newFilling("pod-1")
	r.Go(key, f.job)
	<-f.begun
	f.end <- reason.Refuse("Damaged", "pack x")
	<-f.woken
	c.pass(time.Hour)
	if s := r.Go(key, f.job); reason.Of(s.Err) == nil || len(f.begun) > 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnotherFillerIsFilledAnew(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	r := New(c.Now)
	one, two := newFilling("pod-1"), newFilling("pod-2")
	r.Go(key, one.job)
	ctx := <-one.begun
	one.tell(60)
	c.pass(time.Minute)
	if s := r.Go(key, two.job); s.Progress.Done != 60 {
		t.Errorf("the progress is forgotten: %+v", s)
	}
	<-ctx.Done()
	<-two.begun
	if got := r.Moved(key.Restore); !got.Equal(time.Unix(1000, 0)) {
		t.Errorf("that a filler is another is no progress: %s", got)
	}
	if len(one.woken) > 0 {
		t.Error("somebody was told of what was given up")
	}
}

func TestStop(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	r := New(c.Now)
	mine, other := newFilling("a"), newFilling("b")
	r.Go(key, mine.job)
	r.Go(Key{Restore: "v", Node: "couchdb-1"}, other.job)
	ctx, theirs := <-mine.begun, <-other.begun
	r.Stop("u")
	<-ctx.Done()
	if theirs.Err() != nil {
		t.Error("another restore's was stopped")
	}
	r.Stop("v")
	if c.pass(time.Hour); !r.Moved("u").Equal(time.Unix(1000, 0)) {
		t.Error("it is remembered")
	}
}
