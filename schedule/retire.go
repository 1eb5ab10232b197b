package schedule

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/schedule/retention"
	"github.com/medic/cht-backup/snapshot/status"
)

// retire deletes the schedule's backups that its retention does not keep. Their own
// finalizers remove snapshots and records.
func (r *Reconciler) retire(ctx context.Context, s *api.BackupSchedule, policy retention.Policy, zone *time.Location, n *namespace) error {
	plan := func(restores []api.Restore) (kept int32, leaving []retention.Decision) {
		for _, d := range retention.Plan(policy, zone, r.Now(), retention.Known(s.Name, n.backups, restores)) {
			switch {
			case d.Foreign != "":
			case d.Keep:
				kept++
			case d.State != retention.Deleting:
				leaving = append(leaving, d)
			}
		}
		return kept, leaving
	}
	kept, leaving := plan(nil)
	if len(leaving) > 0 {
		// Only then it matters who is restoring from them, wherever that is.
		restores, err := r.restores(ctx) // any of them, wherever it is
		if err != nil {
			return err
		}
		kept, leaving = plan(restores)
	}
	s.Status.Retained = kept
	for _, d := range leaving {
		b := n.backup(d.Name)
		// As it was when it was decided upon: it may be held since, or another's.
		err := r.Client.Delete(ctx, b, client.Preconditions{UID: &b.UID, ResourceVersion: &b.ResourceVersion})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete backup %s/%s, which the retention does not keep (%s): %w", b.Namespace, b.Name, d.Reason(), err)
		}
		s.Status.Removed++
		status.Event(r.Events, s, corev1.EventTypeNormal, api.ReasonRemoved, fmt.Sprintf("backup %s is removed: %s", b.Name, d.Reason()))
	}
	return nil
}
