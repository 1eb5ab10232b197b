package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/beside"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/reason"
	"github.com/medic/cht-backup/snapshot/status"
)

// retains tells whether a deleted Backup leaves its snapshots and its record. It
// does when the whole namespace is deleted: that is the disaster a backup is there
// for. And when somebody said so: by the policy, or by a hold, which nobody can
// have meant to end by the way. A backup that is not complete has nothing to leave.
func retains(b *api.Backup, namespace *corev1.Namespace) bool {
	_, held := b.Annotations[api.HoldAnnotation]
	return b.Status.Phase == api.PhaseCompleted && (namespace.DeletionTimestamp != nil || b.Spec.DeletionPolicy == api.DeletionRetain || held)
}

// retain ends a Backup whose snapshots and record stay: only the object goes, and
// its VolumeSnapshots with it. What stood on the object counts on the record now.
func (r *Reconciler) retain(ctx context.Context, b *api.Backup) (left int, err error) {
	if left, err := beside.Remove(ctx, r.Client, b, RoleFreezer, RoleCopier); err != nil || left > 0 {
		return left, err
	}
	record := "its record is secret " + r.Records.Namespace + "/" + b.Status.Record
	err = r.Records.Outlive(ctx, b.Status.Record, b.Spec.AllowedNamespaces, b.Annotations[api.HoldAnnotation])
	if errors.Is(err, catalog.ErrNotFound) { // a lost record must not hold the namespace for ever
		record = "its record is lost, so that only the storage can make volumes from them"
	} else if err != nil {
		return 0, err
	}
	var handles []string
	for i := range b.Status.Volumes {
		v := &b.Status.Volumes[i]
		// Somebody may have let the storage's snapshot go with its content meanwhile.
		err := r.Snapshotter.Keep(ctx, b, v)
		gone := " (its VolumeSnapshotContent " + v.Content + " is gone)"
		if v.Method == api.MethodEBS {
			gone = " (it is gone, or was not made for this backup)"
		}
		switch {
		case err == nil:
			handles = append(handles, v.Handle)
		case apierrors.IsNotFound(err) || reason.Of(err) != nil:
			log.FromContext(ctx).Info("a snapshot is not kept, since it is no longer there", "content", v.Content, "handle", v.Handle, "error", err.Error())
			handles = append(handles, v.Handle+gone)
		case v.Method == api.MethodEBS: // it stays there anyway, and shall not hold the namespace until EC2 answers
			log.FromContext(ctx).Info("it was not looked whether a snapshot is there", "handle", v.Handle, "error", err.Error())
			handles = append(handles, v.Handle+" (EC2 did not say whether it is there)")
		default:
			return 0, err
		}
	}
	status.Event(r.Events, b, corev1.EventTypeNormal, api.ReasonRetained, fmt.Sprintf(
		"The snapshots of this backup stay in the storage: %s%s; %s. Delete them with: kubectl cht delete backup %s -n %s --uid %s",
		strings.Join(handles, ", "), retainedCopies(b), record, b.Name, b.Namespace, b.UID))
	return 0, nil
}

// retainedCopies tells of what stays elsewhere, and of what goes on being billed there.
func retainedCopies(b *api.Backup) string {
	var text string
	for _, c := range b.Status.Copies {
		var handles []string
		for _, v := range c.Volumes {
			if v.Handle != "" {
				handles = append(handles, v.Handle)
			}
		}
		if len(handles) > 0 {
			text += fmt.Sprintf("; copy %s in %s stays too: %s", c.Name, c.Region, strings.Join(handles, ", "))
		}
	}
	if c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionFastRestore); c != nil && c.Reason != api.ReasonFastRestoreOff && c.Reason != api.ReasonNotEBS {
		text += "; fast snapshot restore stays enabled, and billed by the hour, until it is disabled in EC2"
	}
	return text
}
