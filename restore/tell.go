package restore

import (
	"context"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/metrics"
	"github.com/medic/cht-backup/snapshot/status"
)

// tell tells of what a turn has changed, once it has been written down.
func (r *Reconciler) tell(ctx context.Context, was, is *api.Restore) {
	phase := is.Status.Phase
	if was.Status.Phase == phase {
		return
	}
	if phase == api.PhaseCompleted || phase == api.PhaseFailed {
		metrics.RestoreEnded(is)
	}
	status.Turned(ctx, r.Events, is, status.Turn{Was: was.Status.Phase, Is: phase, Conditions: is.Status.Conditions,
		Quiet:   phase == api.PhasePending, // it is not begun: a refusal is told, and its first step
		Trouble: (phase == api.PhaseRollingBack || phase == api.PhaseTearingDown) && is.Status.PendingReason != ""})
	if phase == api.PhaseFailed {
		r.tellBackup(ctx, is)
	}
}
