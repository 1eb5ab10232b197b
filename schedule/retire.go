package schedule

import (
	"context"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func (r *Reconciler) retire(ctx context.Context, s *api.BackupSchedule, c clocks, n *namespace) error {
	return nil
}
