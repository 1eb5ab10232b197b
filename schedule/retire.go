package schedule

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/schedule/retention"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/status"
)

// reasonRemoved is that of the event which tells what retention removed.
const reasonRemoved = "RetentionRemoved"

// retire deletes the schedule's backups that its retention does not keep. Their own
// finalizers remove snapshots and records.
func (r *Reconciler) retire(ctx context.Context, s *api.BackupSchedule, c clocks, n *namespace) error {
	policy, err := retention.PolicyOf(s.Spec.Retention)
	if err != nil {
		return err
	}
	mine := n.of(s)
	known := make([]retention.Backup, len(mine))
	byName := make(map[string]*api.Backup, len(mine))
	for i, b := range mine {
		known[i], byName[b.Name] = retention.Of(b), b
	}
	plan := func() (kept int32, leaving []retention.Decision) {
		for _, d := range retention.Plan(policy, c.backups.Zone(), r.Now(), known) {
			switch {
			case d.Keep:
				kept++
			case d.State != retention.Deleting:
				leaving = append(leaving, d)
			}
		}
		return kept, leaving
	}
	kept, leaving := plan()
	if len(leaving) > 0 {
		// Only then it matters who is restoring from them, wherever that is.
		using, err := r.inUse(ctx, s.Namespace)
		if err != nil {
			return err
		}
		for i := range known {
			known[i].InUse = using[known[i].Name]
		}
		kept, leaving = plan()
	}
	s.Status.Retained = kept
	for _, d := range leaving {
		b := byName[d.Name]
		// As it was when it was decided upon: it may be held since, or another's.
		err := r.Client.Delete(ctx, b, client.Preconditions{UID: &b.UID, ResourceVersion: &b.ResourceVersion})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete backup %s/%s, which the retention does not keep (%s): %w", b.Namespace, b.Name, d.Reason(), err)
		}
		s.Status.Removed++
		status.Event(r.Events, s, corev1.EventTypeNormal, reasonRemoved, fmt.Sprintf("backup %s is removed: %s", b.Name, d.Reason()))
	}
	return nil
}

// inUse names, by the names of backups of a namespace, a restore that needs one, in
// whatever namespace it is.
func (r *Reconciler) inUse(ctx context.Context, of string) (map[string]string, error) {
	using := map[string]string{}
	var restores api.RestoreList
	for more := true; more; more = restores.Continue != "" {
		if err := r.Client.List(ctx, &restores, client.Limit(pageSize), client.Continue(restores.Continue)); err != nil {
			return nil, fmt.Errorf("list restores, of which one may need a backup of %s: %w", of, err)
		}
		for i := range restores.Items {
			restore := &restores.Items[i]
			if restore.Spec.Source.Namespace == of && !snapshot.Ended(restore.Status.Phase) {
				using[restore.Spec.Source.Name] = "restore " + restore.Namespace + "/" + restore.Name
			}
		}
	}
	return using, nil
}
