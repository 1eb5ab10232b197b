package snapshot

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/status"
)

// Aftercare is what is done with a Completed backup's snapshots: copies, locks and the
// like. It changes, in a status, only Copies, LockedUntil and conditions of its own.
type Aftercare interface {
	// Settled tells, without asking anybody, that nothing is left to do: from the spec
	// and the conditions' types, states and reasons.
	Settled(b *api.Backup) bool
	// Know is told of every Completed backup before any is worked on.
	Know(b *api.Backup)
	// WakeWith is given what hands a backup to the workers.
	WakeWith(wake func(types.NamespacedName))
	// Advance does the next steps and tells when to come again, 0 for never. What it
	// changed is written down before it is called again.
	Advance(ctx context.Context, b *api.Backup) (again time.Duration)
	// Remove takes back what it made of a backup that is deleted, before its snapshots
	// go, and tells how much is left and when to come again.
	Remove(ctx context.Context, b *api.Backup) (left int, again time.Duration)
	// Forget is told of a backup that is gone.
	Forget(ctx context.Context, b *api.Backup)
}

// noteAgain is how soon a copy's note is tried again.
const noteAgain = time.Minute

// aftercares are the conditions that Completed backups get.
var aftercares = []string{api.ConditionShared, api.ConditionCopied, api.ConditionLocked, api.ConditionFastRestore, api.ConditionArchived}

// completed does what comes after a backup is complete. A Completed backup holds no
// place in the line.
func (r *Reconciler) completed(ctx context.Context, b *api.Backup) (again time.Duration, err error) {
	was := b.DeepCopy()
	if r.Catalog != nil {
		again = r.Catalog.Keep(ctx, b)
	}
	if r.After != nil {
		again = sooner(again, r.noteCopies(ctx, was, b, r.After.Advance(ctx, b)))
	}
	b.Status.ObservedGeneration = b.Generation
	return again, r.saveAftercare(ctx, was, b)
}

// sooner of two times to come again, of which 0 is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// noteCopies has each copy noted once it is complete. Copied is not True before all
// are, so that a controller that was killed in between does it again.
func (r *Reconciler) noteCopies(ctx context.Context, was, b *api.Backup, again time.Duration) time.Duration {
	if r.Catalog == nil || meta.IsStatusConditionTrue(was.Status.Conditions, api.ConditionCopied) {
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
		if err := r.Catalog.CopyComplete(ctx, b, c); err != nil {
			meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: api.ConditionCopied, Status: metav1.ConditionUnknown, Reason: api.ReasonProgressing, ObservedGeneration: b.Generation,
				Message: status.Clip(fmt.Sprintf("copy %s is complete, and is not noted in the catalog yet: %s; it is tried again", c.Name, err))})
			if all && (again == 0 || again > noteAgain) {
				again = noteAgain
			}
		}
	}
	return again
}

// saveAftercare writes down what has changed in a Completed backup, and nothing else:
// a restore writes Verified on it meanwhile. Then it tells of it.
func (r *Reconciler) saveAftercare(ctx context.Context, was, b *api.Backup) error {
	changed := was.Status.DeepCopy()
	if takeAftercare(changed, b.Status); equality.Semantic.DeepEqual(was.Status, *changed) {
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
		takeAftercare(&target.Status, b.Status)
		err := r.Client.Status().Patch(ctx, target, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
		base = nil
		return err
	})
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("write status of backup %s/%s: %w", b.Namespace, b.Name, err)
	}
	r.tellAftercare(was, b)
	return nil
}

// takeAftercare copies what is the aftercare's own.
func takeAftercare(to *api.BackupStatus, from api.BackupStatus) {
	to.Copies, to.LockedUntil, to.Catalog, to.ObservedGeneration = from.Copies, from.LockedUntil, from.Catalog, from.ObservedGeneration
	for _, kind := range append([]string{api.ConditionCataloged}, aftercares...) {
		if c := meta.FindStatusCondition(from.Conditions, kind); c != nil {
			meta.SetStatusCondition(&to.Conditions, *c)
		}
	}
}

// tellAftercare raises an event where a condition has come to another end.
func (r *Reconciler) tellAftercare(was, b *api.Backup) {
	for _, kind := range aftercares {
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

// unsettled tells whether a Completed backup has to be looked at when the controller
// starts.
func (r *Reconciler) unsettled(b *api.Backup) bool {
	return b.Status.Phase == api.PhaseCompleted && !b.IsImported() && (r.After != nil && !r.After.Settled(b) || r.Catalog != nil && r.Catalog.Wants(b))
}

// removeAftercare takes back what was made of a backup that is deleted.
func (r *Reconciler) removeAftercare(ctx context.Context, b *api.Backup) (left int, again time.Duration, err error) {
	if r.After == nil {
		return 0, 0, nil
	}
	was := b.DeepCopy()
	left, again = r.After.Remove(ctx, b)
	return left, again, r.saveAftercare(ctx, was, b)
}
