package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/beside"
	"github.com/medic/cht-backup/snapshot/status"
)

const (
	// stillThere is how soon a clean-up looks again when no event came.
	stillThere = time.Second
	// beforeRetry lets writers recover between two stalls.
	beforeRetry = 3 * time.Second
)

// discard removes everything an unfinished backup may have made, and tells how
// many pods and snapshots are still on their way out.
func (r *Reconciler) discard(ctx context.Context, b *api.Backup) (left int, err error) {
	// Freezers first: their end thaws.
	if err := r.letGo(ctx, b); err != nil {
		return 0, err
	}
	pods, err := beside.Remove(ctx, r.Client, b, RoleFreezer, RoleCopier)
	snapshots, snapshotErr := r.Snapshotter.Discard(ctx, b)
	return pods + snapshots, errors.Join(err, snapshotErr, r.Records.Delete(ctx, b.UID))
}

// cleanUp ends an attempt that failed: once nothing of it is left, the backup
// is tried again or fails for good. A driver that hangs keeps it here, in
// sight, until the driver answers.
func (r *Reconciler) cleanUp(ctx context.Context, b *api.Backup) (again time.Duration, err error) {
	left, err := r.discard(ctx, b)
	if err != nil {
		r.stuck(b, err)
		return 0, err
	}
	if left > 0 {
		return stillThere, nil
	}
	b.Status.Volumes, b.Status.Record, b.Status.CutTime, b.Status.Consistency, b.Status.Databases = nil, "", nil, "", 0
	if b.Status.PendingReason == "" {
		b.Status.Phase, b.Status.PendingMessage = api.PhasePending, ""
		return max(beforeRetry, r.patience(b)), nil
	}
	now := metav1.NewMicroTime(r.Now())
	b.Status.CompletionTime, b.Status.Phase = &now, api.PhaseFailed
	r.conclude(b, false, b.Status.PendingReason, b.Status.PendingMessage)
	b.Status.PendingReason, b.Status.PendingMessage = "", ""
	return 0, nil
}

// stuck says what the clean-up waits for; why the attempt failed stays to be read.
func (r *Reconciler) stuck(b *api.Backup, err error) {
	why := api.ReasonProgressing
	if c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionReady); c != nil {
		why = c.Reason
	}
	message := "cleaning up: " + err.Error()
	if b.Status.PendingMessage != "" {
		message = b.Status.PendingMessage + "; " + message
	}
	status.Set(b, &b.Status.Conditions, metav1.ConditionUnknown, why, message)
}

// remove serves the finalizer. Deleting a Backup deletes its snapshots and its
// record, unless they are to be retained.
func (r *Reconciler) remove(ctx context.Context, b *api.Backup) (again time.Duration, err error) {
	if !controllerutil.ContainsFinalizer(b, api.Finalizer) {
		return 0, nil
	}
	var namespace corev1.Namespace
	if err := r.Client.Get(ctx, client.ObjectKey{Name: b.Namespace}, &namespace); err != nil {
		return 0, fmt.Errorf("get namespace %s: %w", b.Namespace, err)
	}
	part := r.discard
	if retains(b, &namespace) {
		part = r.retain
	} else if who, err := r.neededBy(ctx, b); err != nil {
		return 0, err
	} else if who != "" {
		status.Event(r.Events, b, corev1.EventTypeNormal, api.ReasonConcurrentOperation, "The backup goes once restore "+who+" has ended, which reads its files; to be rid of it sooner, delete that restore")
		return neededAgain, nil
	} else if left, again, err := r.removeAftercare(ctx, b); err != nil || left > 0 {
		return again, err // what is locked stays whole for as long, with its record in the catalog
	} else if again, err := r.removeFromCatalog(ctx, b); err != nil || again > 0 {
		return again, err // first what points at the snapshots, then they
	}
	if left, err := part(ctx, b); err != nil {
		status.Event(r.Events, b, corev1.EventTypeWarning, api.ReasonSnapshotFailed, "The backup cannot be deleted yet: "+err.Error())
		return 0, err
	} else if left > 0 {
		return stillThere, nil
	}
	r.later.Delete(b.UID)
	r.told.Delete(b.UID)
	r.unthawed.Delete(b.UID)
	base := b.DeepCopy()
	controllerutil.RemoveFinalizer(b, api.Finalizer)
	if err := r.Client.Patch(ctx, b, client.MergeFrom(base)); client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("remove finalizer of backup %s/%s: %w", b.Namespace, b.Name, err)
	}
	if r.After != nil {
		r.After.Forget(ctx, b)
	}
	return 0, nil
}
