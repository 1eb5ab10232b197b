package snapshot

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// admit refuses a backup while another operation works on the instance. Of two
// backups the older goes on, so that two created at once cannot both refuse.
func (r *Reconciler) admit(ctx context.Context, b *api.Backup) error {
	var backups api.BackupList
	if err := r.Client.List(ctx, &backups, client.InNamespace(b.Namespace)); err != nil {
		return fmt.Errorf("list backups of %s: %w", b.Namespace, err)
	}
	for i := range backups.Items {
		other := &backups.Items[i]
		if other.UID != b.UID && other.DeletionTimestamp == nil && !other.IsImported() && !Ended(other.Status.Phase) && older(other, b) {
			return reason.Refuse(api.ReasonConcurrentOperation,
				"backup %s is under way in %s (%s); wait until it ends, then create another", other.Name, b.Namespace, other.Status.Phase)
		}
	}
	var restores api.RestoreList
	if err := r.Client.List(ctx, &restores, client.InNamespace(b.Namespace)); err != nil {
		return fmt.Errorf("list restores of %s: %w", b.Namespace, err)
	}
	for _, restore := range restores.Items {
		// A restore in place asks for a backup of its own before it begins.
		if !Idle(restore.Status.Phase) && !Beside(&restore) && restore.Status.SafetyBackup != b.Name {
			return reason.Refuse(api.ReasonConcurrentOperation,
				"restore %s is under way in %s (%s); wait until it ends, then create another backup", restore.Name, b.Namespace, restore.Status.Phase)
		}
	}
	return nil
}

// Ended tells whether a phase is final.
func Ended(p api.Phase) bool {
	return p == api.PhaseCompleted || p == api.PhaseFailed || p == api.PhaseExpired
}

// Idle tells whether a restore in that phase does nothing: it has ended, or
// waits for somebody to agree to its plan.
func Idle(p api.Phase) bool { return Ended(p) || p == api.PhasePlanned }

// Beside tells whether a restore works beside the instance and only adds to it, as
// that of one database does for hours, or does not touch it at all, as a drill: the
// nightly backup goes on meanwhile.
func Beside(restore *api.Restore) bool {
	return restore.Spec.Drill != nil || restore.Spec.Database != nil && (restore.Status.Phase == api.PhaseScratch || restore.Status.Phase == api.PhaseReplicating)
}

func older(a, b *api.Backup) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.UID < b.UID
}
