package restore

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/reason"
)

// safetyName is the name of the backup of the state before.
func safetyName(restore *api.Restore) string {
	return fmt.Sprintf("%.180s-safety-%.8s", restore.Name, restore.UID)
}

// safetyBackup backs the present state up. If that fails, nothing was touched
// and nothing will be. It outlives the Restore: nobody but an operator decides
// that it is not needed any more.
func (r *Reconciler) safetyBackup(ctx context.Context, w *work) error {
	restore := w.restore
	if restore.Spec.InPlace.SafetyBackup == api.SafetyBackupSkip {
		return nil
	}
	restore.Status.SafetyBackup = safetyName(restore)
	if err := r.save(ctx, restore); err != nil { // the backup is admitted by this name
		return err
	}
	backup := &api.Backup{
		ObjectMeta: metav1.ObjectMeta{Namespace: restore.Namespace, Name: safetyName(restore), Labels: labels(restore, "")},
	}
	if err := r.create(ctx, restore, backup); err != nil {
		return fmt.Errorf("create backup %s/%s: %w", backup.Namespace, backup.Name, err)
	}
	return oneTurn(ctx, func(ctx context.Context) error {
		var backups api.BackupList
		return await.List(ctx, r.Client, &backups, func() (string, error) {
			if len(backups.Items) == 0 {
				return "", reason.Refuse(api.ReasonSafetyBackupFailed, "the safety backup %s was deleted; nothing was touched", backup.Name)
			}
			b := backups.Items[0]
			message := ""
			if c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionReady); c != nil {
				message = c.Message
			}
			switch b.Status.Phase {
			case api.PhaseCompleted:
				return "", nil
			case api.PhaseFailed:
				return "", reason.Refuse(api.ReasonSafetyBackupFailed,
					"the safety backup %s failed, so nothing was touched: %s. Mend that, or restore with inPlace.safetyBackup: Skip (--no-safety-backup) if the instance is too broken to be backed up: its volumes are set aside all the same", b.Name, message)
			}
			return fmt.Sprintf("the safety backup %s (%s: %s)", b.Name, orPending(b.Status.Phase), message), nil
		}, client.InNamespace(restore.Namespace), client.MatchingFields{"metadata.name": backup.Name})
	})
}
