package fill

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Key names a volume that is filled: one node's of one restore.
type Key struct {
	Restore types.UID
	Node    string
}

// Job fills one volume.
type Job struct {
	// Filler is who takes what is filled. One that was started anew has another name.
	Filler string
	// Do fills it, from where an earlier filling was cut off.
	Do func(ctx context.Context, report func(transfer.Progress)) error
	// Ended is told when that has ended, unless it was stopped; it must not wait.
	Ended func()
}

// State is how far a filling is.
type State struct {
	// Done says that the filler has all it was to get.
	Done bool
	// Progress of the present try, and Text that tells it to people.
	Progress transfer.Progress
	Text     string
	// Err ended the latest try: nothing that tries again can help if it bears a reason,
	// else it is tried again by itself.
	Err error
	// Moved is when more was last filled than ever before, or the filling began.
	Moved time.Time
}

// pause is how long after an error a filling is tried again.
const pause = 3 * time.Second

// Runs are the fillings that run in this process.
type Runs struct {
	now   func() time.Time
	began time.Time

	mu   sync.Mutex
	runs map[Key]*run
}

// New gives one without any.
func New(now func() time.Time) *Runs { return &Runs{now: now, began: now(), runs: map[Key]*run{}} }

// run is the filling of one volume by one filler. Its fields are under the mutex of
// Runs.
type run struct {
	filler string
	cancel context.CancelFunc
	state  State
	most   int64 // of all tries
	// The present try: when its first bytes came, how many the filler had by then, and
	// whether it is over.
	since time.Time
	at    int64
	ended time.Time
}

// Go has a volume filled that is not being filled, or by another filler, and tells how
// far it is.
func (r *Runs) Go(key Key, job Job) State {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &run{filler: job.Filler, state: State{Moved: r.now()}}
	if now := r.runs[key]; now != nil {
		over := !now.ended.IsZero() && !now.state.Done && reason.Of(now.state.Err) == nil && r.now().Sub(now.ended) >= pause
		if now.filler == job.Filler && !over {
			return now.state
		}
		now.cancel() // it may still be on its way: it writes to a run that nobody reads
		next.most, next.state = now.most, now.state
		next.state.Done = false
	}
	r.runs[key] = next
	var ctx context.Context // it outlives the turn of the restore that begins it
	ctx, next.cancel = context.WithCancel(context.Background())
	go r.try(ctx, next, job)
	return next.state
}

func (r *Runs) try(ctx context.Context, now *run, job Job) {
	defer now.cancel()
	err := job.Do(ctx, func(p transfer.Progress) { r.report(now, p) })
	r.mu.Lock()
	now.ended, now.state.Err, now.state.Done = r.now(), err, err == nil
	r.mu.Unlock()
	if job.Ended != nil && ctx.Err() == nil {
		job.Ended()
	}
}

func (r *Runs) report(now *run, p transfer.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// What the filler has from an earlier try is told at once, and says nothing of the rate.
	if at := r.now(); now.since.IsZero() || at.Sub(now.since) < settle {
		if now.since.IsZero() {
			now.since = at
		}
		now.at = p.Done
	}
	now.state.Progress, now.state.Err = p, nil
	now.state.Text = p.Text(now.at, r.now().Sub(now.since))
	if p.Done > now.most {
		now.most, now.state.Moved = p.Done, r.now()
	}
}

// settle is how long after the first report the rate is not measured yet.
const settle = 200 * time.Millisecond

// Stop ends the fillings of a restore and forgets them.
func (r *Runs) Stop(restore types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, now := range r.runs {
		if key.Restore == restore {
			now.cancel()
			delete(r.runs, key)
		}
	}
}

// Moved is when something was last filled for a restore, or this process began.
func (r *Runs) Moved(restore types.UID) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.began
	for key, now := range r.runs {
		if key.Restore == restore && now.state.Moved.After(last) {
			last = now.state.Moved
		}
	}
	return last
}
