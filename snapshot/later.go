package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Later is something that is done for a backup once it is complete. It may fail, and
// the backup is good all the same.
type Later interface {
	// Wants tells whether something may be left to do for a completed Backup, of which
	// only metadata, spec, conditions and status.catalog are known.
	Wants(b *api.Backup) bool
	// Tend brings it forward by one step and writes what came of it into its own fields
	// of the status and its own conditions. It never waits for others, and says when to
	// be asked again: 0 for not at all. What went wrong stands in the condition; an
	// error is only what cannot be told there.
	Tend(ctx context.Context, b *api.Backup) (again time.Duration, err error)
	// Release takes back, before a Backup's snapshots are discarded, what would point at
	// them or keeps them. left of it is still there: it is asked again, and the snapshots
	// stay meanwhile. It is called for every Backup that is deleted with its snapshots,
	// whatever its phase, and perhaps more than once.
	Release(ctx context.Context, b *api.Backup) (left int, err error)
}

// tend lets all do their part for a completed backup. Only what they changed in the
// status is written, and only if nobody wrote meanwhile: a restore tells on the Backup
// that it verified it.
func (r *Reconciler) tend(ctx context.Context, b *api.Backup) (again time.Duration, err error) {
	was := b.DeepCopy()
	b.Status.ObservedGeneration = b.Generation
	var failed []error
	for _, l := range r.Later {
		next, err := l.Tend(ctx, b)
		failed = append(failed, err)
		if next > 0 && (again == 0 || next < again) {
			again = next
		}
	}
	if b.Status.Phase != was.Status.Phase || !equality.Semantic.DeepEqual(b.Status.Verified, was.Status.Verified) {
		return 0, fmt.Errorf("backup %s/%s: what is done after its end changed its end", b.Namespace, b.Name)
	}
	if !equality.Semantic.DeepEqual(was.Status, b.Status) {
		err := r.Client.Status().Patch(ctx, b.DeepCopy(), client.MergeFromWithOptions(was, client.MergeFromWithOptimisticLock{}))
		if apierrors.IsConflict(err) {
			log.FromContext(ctx).Info("somebody else wrote the backup's status meanwhile; trying again")
			return time.Second, errors.Join(failed...)
		}
		if client.IgnoreNotFound(err) != nil {
			failed = append(failed, fmt.Errorf("write what was done after the end of backup %s/%s: %w", b.Namespace, b.Name, err))
		}
	}
	return again, errors.Join(failed...)
}

// release asks all to let go of a backup's snapshots.
func (r *Reconciler) release(ctx context.Context, b *api.Backup) (left int, err error) {
	var failed []error
	for _, l := range r.Later {
		n, err := l.Release(ctx, b)
		left, failed = left+n, append(failed, err)
	}
	return left, errors.Join(failed...)
}

// wants tells whether anything may be left to do for a completed backup.
func (r *Reconciler) wants(b *api.Backup) bool {
	for _, l := range r.Later {
		if l.Wants(b) {
			return true
		}
	}
	return false
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
