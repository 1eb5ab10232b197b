package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/status"
)

// Later is something that is done for a backup once it is complete. It may fail, and
// the backup is good all the same. It changes, in a status, only Catalog, Copies,
// LockedUntil and the conditions that are listed in laters.
type Later interface {
	// Wants tells, without asking anybody, whether something may be left to do for a
	// completed Backup, of which only metadata, spec, the conditions' types, states and
	// reasons, and status.catalog are known.
	Wants(b *api.Backup) bool
	// Tend brings it forward by one step. It never waits for others, and says when to be
	// asked again: 0 for not at all. What it changed is written down before it is asked
	// again. What went wrong stands in the condition; an error is only what cannot be
	// told there.
	Tend(ctx context.Context, b *api.Backup) (again time.Duration, err error)
	// Release takes back, before a Backup's snapshots are discarded, what would point at
	// them or keeps them. left of it is still there: it is asked again then, and the
	// snapshots stay meanwhile. It is called for every Backup that is deleted with its
	// snapshots, whatever its phase, and perhaps more than once.
	Release(ctx context.Context, b *api.Backup) (left int, again time.Duration, err error)
}

// Mindful is a Later that keeps something in mind of the backups.
type Mindful interface {
	// Know is told of every completed Backup before any is worked on.
	Know(b *api.Backup)
	// WakeWith is given what hands a backup to the workers.
	WakeWith(wake func(types.NamespacedName))
	// Forget is told of a backup that is gone.
	Forget(ctx context.Context, b *api.Backup)
}

// CopyNotes notes the complete copies where a restore in another Region finds them.
type CopyNotes interface {
	// CopyComplete is called once a copy is complete, and again until it has succeeded
	// for all copies; it takes being called for what is noted already.
	CopyComplete(ctx context.Context, b *api.Backup, c api.CopyStatus) error
}

// noteAgain is how soon a copy's note is tried again.
const noteAgain = time.Minute

// laters are the conditions of what is done after a backup's end.
var laters = []string{api.ConditionCataloged, api.ConditionShared, api.ConditionCopied, api.ConditionLocked, api.ConditionFastRestore, api.ConditionArchived}

func (r *Reconciler) mindful() (all []Mindful) {
	for _, l := range r.Later {
		if m, ok := l.(Mindful); ok {
			all = append(all, m)
		}
	}
	return all
}

// unsettled tells whether anything may be left to do for a backup that has ended.
func (r *Reconciler) unsettled(b *api.Backup) bool {
	if b.Status.Phase != api.PhaseCompleted || b.IsImported() {
		return false
	}
	for _, l := range r.Later {
		if l.Wants(b) {
			return true
		}
	}
	return false
}

// tend lets all do their part for a completed backup, which holds no place in the line.
func (r *Reconciler) tend(ctx context.Context, b *api.Backup) (again time.Duration, err error) {
	was := b.DeepCopy()
	b.Status.ObservedGeneration = b.Generation
	var failed []error
	for _, l := range r.Later {
		next, err := l.Tend(ctx, b)
		failed = append(failed, err)
		again = sooner(again, next)
	}
	again = r.noteCopies(ctx, was, b, again)
	failed = append(failed, r.saveLater(ctx, was, b))
	return again, errors.Join(failed...)
}

// sooner gives the nearer of two times to come again, of which 0 is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// release has all let go of a deleted backup's snapshots, one after the other.
func (r *Reconciler) release(ctx context.Context, b *api.Backup) (left int, again time.Duration, err error) {
	was := b.DeepCopy()
	for _, l := range r.Later {
		if left, again, err = l.Release(ctx, b); err != nil || left > 0 {
			break
		}
	}
	return left, again, errors.Join(err, r.saveLater(ctx, was, b))
}

// noteCopies has each copy noted once it is complete. Copied is not True before all
// are, so that a controller that was killed in between does it again.
func (r *Reconciler) noteCopies(ctx context.Context, was, b *api.Backup, again time.Duration) time.Duration {
	if r.CopyNotes == nil || meta.IsStatusConditionTrue(was.Status.Conditions, api.ConditionCopied) {
		return again
	}
	all := meta.IsStatusConditionTrue(b.Status.Conditions, api.ConditionCopied)
	before := map[string]bool{}
	for _, c := range was.Status.Copies {
		before[c.Name] = c.Complete
	}
	for _, c := range b.Status.Copies {
		if !c.Complete || before[c.Name] && !all {
			continue
		}
		if err := r.CopyNotes.CopyComplete(ctx, b, c); err != nil {
			meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: api.ConditionCopied, Status: metav1.ConditionUnknown, Reason: api.ReasonProgressing, ObservedGeneration: b.Generation,
				Message: status.Clip(fmt.Sprintf("copy %s is complete, and is not noted in the catalog yet: %s; it is tried again", c.Name, err))})
			if all && (again == 0 || again > noteAgain) {
				again = noteAgain
			}
		}
	}
	return again
}

// saveLater writes down what has changed in a completed backup, and nothing else: a
// restore writes Verified on it meanwhile. Then it tells of it.
func (r *Reconciler) saveLater(ctx context.Context, was, b *api.Backup) error {
	if equality.Semantic.DeepEqual(was.Status, b.Status) {
		return nil
	}
	base := was
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if base == nil {
			base = &api.Backup{}
			if err := r.Client.Get(ctx, client.ObjectKeyFromObject(b), base); err != nil {
				return err
			}
			if base.UID != b.UID {
				return nil // another of its name: this one is gone
			}
		}
		target := base.DeepCopy()
		takeLater(&target.Status, b.Status)
		err := r.Client.Status().Patch(ctx, target, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
		base = nil
		return err
	})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write status of backup %s/%s: %w", b.Namespace, b.Name, err)
	}
	if err == nil {
		r.tellLater(was, b)
	}
	return nil
}

// takeLater copies what is done after the end, and that alone.
func takeLater(to *api.BackupStatus, from api.BackupStatus) {
	to.Catalog, to.Copies, to.LockedUntil, to.ObservedGeneration = from.Catalog, from.Copies, from.LockedUntil, from.ObservedGeneration
	for _, kind := range laters {
		if c := meta.FindStatusCondition(from.Conditions, kind); c != nil {
			meta.SetStatusCondition(&to.Conditions, *c)
		}
	}
}

// tellLater raises an event where a condition has come to another end.
func (r *Reconciler) tellLater(was, b *api.Backup) {
	for _, kind := range laters {
		before, c := meta.FindStatusCondition(was.Status.Conditions, kind), meta.FindStatusCondition(b.Status.Conditions, kind)
		if c == nil || c.Status == metav1.ConditionUnknown || c.Reason == api.ReasonFastRestoreOff || before != nil && before.Status == c.Status && before.Reason == c.Reason {
			continue
		}
		word := corev1.EventTypeWarning
		if c.Status == metav1.ConditionTrue {
			word = corev1.EventTypeNormal
		}
		status.Event(r.Events, b, word, c.Reason, kind+": "+c.Message)
	}
}

// passOver leaves a Backup alone that only shows a record of the catalog. One that
// says so elsewhere than where those are is told why nothing happens.
func (r *Reconciler) passOver(ctx context.Context, b *api.Backup) error {
	if b.Namespace == r.Records.Namespace || b.Status.Phase != "" {
		return nil
	}
	b.Status.Phase = api.PhaseFailed
	r.conclude(b, false, api.ReasonImported, "the label "+api.ImportedLabel+" marks Backups that only show a record of the catalog; nothing was done for this one. Create another without it")
	return r.save(ctx, b)
}
