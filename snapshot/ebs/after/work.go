package after

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ktypes "k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/status"
)

const (
	// atOnce is how many backups talk to EC2 at a time: an endpoint that does not answer
	// must not hold all the workers that the night's backups need.
	atOnce = 4
	// patience bounds one step's calls.
	patience = 30 * time.Second
	// soon is when a backup comes back for which EC2 is too busy.
	soon = time.Second
	// next is for a step whose outcome must be written down before the next one.
	next = time.Millisecond
)

// Worker does it. Its exported fields are set before it is used.
type Worker struct {
	// EC2 gives the client of a place.
	EC2 func(context.Context, Place) (EC2, error)
	// Kube lists the backups of a namespace, for which of them are the newest.
	Kube client.Reader
	Now  func() time.Time
	// Copies bounds the snapshots that are copied at once to one Region of one account,
	// over all backups: 20 is what EC2 allows at first.
	Copies int

	once   sync.Once
	doors  chan struct{}
	known  memories
	slots  slots
	looks  looks
	groups groups
	waker  func(ktypes.NamespacedName)
}

// WakeWith tells how a backup is handed to the controller's workers.
func (w *Worker) WakeWith(wake func(ktypes.NamespacedName)) { w.waker = wake }

func (w *Worker) wake(key ktypes.NamespacedName) {
	if w.waker != nil {
		w.waker(key)
	}
}

func (w *Worker) start() {
	w.once.Do(func() {
		w.doors = make(chan struct{}, atOnce)
		w.slots.limit, w.slots.wake = max(w.Copies, 1), w.wake
	})
}

// Settled tells, without asking anybody, that nothing is left to do for a backup.
func (w *Worker) Settled(b *api.Backup) bool { return Settled(b) }

// Know takes note of the copies that a backup is making, before any is worked on: a
// controller that starts anew does not start more than it may.
func (w *Worker) Know(b *api.Backup) {
	w.start()
	if b.Spec.EBS == nil {
		return
	}
	for _, c := range b.Spec.EBS.Copies {
		s := copyStatus(b, c.Name)
		if s == nil || s.Complete {
			continue
		}
		for _, v := range s.Volumes {
			if v.Handle != "" && !v.Ready {
				w.slots.runs(placeOf(c), slot{b.UID, c.Name, v.Node}, v.Handle)
			}
		}
	}
}

// job is one turn's work on one backup.
type job struct {
	*Worker
	*memory
	b   *api.Backup
	now time.Time
}

// subject is one of the things that may be asked for.
type subject struct {
	condition, failed string
	// work does one step: again is when the next is due, 0 for never.
	work func(*job, context.Context) (again time.Duration, err error)
}

var subjects = []subject{
	{api.ConditionShared, api.ReasonShareFailed, (*job).share},
	{api.ConditionCopied, api.ReasonCopyFailed, (*job).copies},
	{api.ConditionLocked, api.ReasonLockFailed, (*job).lock},
	{api.ConditionFastRestore, api.ReasonFastRestoreFail, (*job).fast},
	{api.ConditionArchived, api.ReasonArchiveFailed, (*job).archive},
}

// Advance does the next step of each thing that a Completed backup asks for, and tells
// when to come again; 0 is never. It changes, in the status, only the conditions of its
// own, the copies and lockedUntil; what it changed must be written down before it is
// called again. It gives no error: what goes wrong stands in the conditions.
func (w *Worker) Advance(ctx context.Context, b *api.Backup) (again time.Duration) {
	w.start()
	wanted := asked(b.Spec.EBS)
	if len(wanted) == 0 || Settled(b) || b.Status.CutTime == nil || b.Status.CompletionTime == nil {
		w.known.forget(b.UID)
		return 0
	}
	if len(originals(b)) == 0 {
		for _, condition := range wanted {
			set(b, condition, metav1.ConditionFalse, api.ReasonNotEBS, "no volume of this backup was cut by method EBS; have spec.method EBS, or ask the CSI driver for it by its VolumeSnapshotClass")
		}
		return 0
	}
	select {
	case w.doors <- struct{}{}:
		defer func() { <-w.doors }()
	default:
		return soon
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	j := &job{Worker: w, memory: w.known.of(b.UID, w.Now()), b: b, now: w.Now()}
	for _, s := range subjects {
		if c := meta.FindStatusCondition(b.Status.Conditions, s.condition); !slices.Contains(wanted, s.condition) || c != nil && final(c) {
			continue
		}
		if left, paused := j.paused(s.condition, j.now); paused {
			again = sooner(again, left)
			continue
		}
		due, err := s.work(j, ctx)
		if err != nil {
			due = j.trouble(s, err)
		} else {
			j.worked(s.condition)
		}
		again = sooner(again, due)
	}
	return again
}

// trouble writes an error down and gives the pause after it.
func (j *job) trouble(s subject, err error) time.Duration {
	f := asFault(err)
	d := j.failed(s.condition, f.kind, j.now)
	if f.kind == throttled { // nothing is wrong
		j.set(s.condition, metav1.ConditionUnknown, api.ReasonProgressing, f.text)
		return d
	}
	j.set(s.condition, metav1.ConditionFalse, s.failed, fmt.Sprintf("%s (next try in %s)", f.text, d))
	return d
}

func asFault(err error) *fault {
	if err == nil {
		return &fault{}
	}
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	return &fault{kind: passing, text: oneLine(err.Error()), err: err}
}

func (j *job) set(condition string, is metav1.ConditionStatus, why, message string) {
	set(j.b, condition, is, why, message)
}

// progress says how far a thing is. Of one that failed and has not succeeded since, the
// failure stays in sight.
func (j *job) progress(condition, message string) {
	j.set(condition, metav1.ConditionUnknown, api.ReasonProgressing, message)
}

func (j *job) done(condition, message string) {
	j.set(condition, metav1.ConditionTrue, api.ReasonDone, message)
}

func set(b *api.Backup, condition string, is metav1.ConditionStatus, why, message string) {
	meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: condition, Status: is, Reason: why, Message: status.Clip(message), ObservedGeneration: b.Generation})
}

// sooner gives the nearer of two times to come again, of which 0 is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// client gives a place's client, or why there is none.
func (w *Worker) client(ctx context.Context, p Place, call, what string) (EC2, error) {
	c, err := w.EC2(ctx, p)
	if err != nil {
		return nil, &fault{kind: passing, text: fmt.Sprintf("%s in %s: %s; see the controller's AWS settings (controller.env, its ServiceAccount's role), it needs ec2:%s", what, p, oneLine(err.Error()), call), err: err}
	}
	return c, nil
}
