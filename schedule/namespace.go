package schedule

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
)

// pageSize bounds one page of a list call.
const pageSize = 500

// namespace is what there is in the namespace of a schedule.
type namespace struct {
	backups  []api.Backup
	restores []api.Restore
}

func (r *Reconciler) read(ctx context.Context, name string) (*namespace, error) {
	n := &namespace{}
	var backups api.BackupList
	for more := true; more; more = backups.Continue != "" {
		if err := r.Client.List(ctx, &backups, client.InNamespace(name), client.Limit(pageSize), client.Continue(backups.Continue)); err != nil {
			return nil, fmt.Errorf("list backups of %s: %w", name, err)
		}
		n.backups = append(n.backups, backups.Items...)
	}
	var restores api.RestoreList
	for more := true; more; more = restores.Continue != "" {
		if err := r.Client.List(ctx, &restores, client.InNamespace(name), client.Limit(pageSize), client.Continue(restores.Continue)); err != nil {
			return nil, fmt.Errorf("list restores of %s: %w", name, err)
		}
		n.restores = append(n.restores, restores.Items...)
	}
	return n, nil
}

// busy says what keeps a backup of the instance from beginning, "" for nothing. It
// is what the backup itself would be refused for.
func (n *namespace) busy() string {
	for i := range n.backups {
		if b := &n.backups[i]; b.DeletionTimestamp == nil && !snapshot.Ended(b.Status.Phase) {
			return fmt.Sprintf("backup %s, which is under way", b.Name)
		}
	}
	for i := range n.restores {
		if restore := &n.restores[i]; !snapshot.Idle(restore.Status.Phase) && !snapshot.Beside(restore) {
			return fmt.Sprintf("restore %s, which is under way", restore.Name)
		}
	}
	return ""
}

// of gives the backups of a schedule.
func (n *namespace) of(s *api.BackupSchedule) []*api.Backup {
	var mine []*api.Backup
	for i := range n.backups {
		if n.backups[i].Labels[api.ScheduleLabel] == s.Name {
			mine = append(mine, &n.backups[i])
		}
	}
	return mine
}

// drills gives the drills of a schedule.
func (n *namespace) drills(s *api.BackupSchedule) []*api.Restore {
	var mine []*api.Restore
	for i := range n.restores {
		if r := &n.restores[i]; r.Labels[api.ScheduleLabel] == s.Name && r.Spec.Drill != nil {
			mine = append(mine, r)
		}
	}
	return mine
}

// newestGood gives the good backup that was cut last, nil for none.
func newestGood(backups []*api.Backup) *api.Backup {
	var newest *api.Backup
	for _, b := range backups {
		if b.Good() && b.DeletionTimestamp == nil && (newest == nil || newest.Status.CutTime.Before(b.Status.CutTime)) {
			newest = b
		}
	}
	return newest
}

func (n *namespace) all() []*api.Backup {
	all := make([]*api.Backup, len(n.backups))
	for i := range n.backups {
		all[i] = &n.backups[i]
	}
	return all
}

// observe writes what there is into the status.
func observe(s *api.BackupSchedule, c clocks, n *namespace) {
	st := &s.Status
	st.JitterSeconds = int64(c.backups.delay / time.Second)
	st.LastSuccessfulBackup, st.LastSuccessfulTime, st.RecoveryPointTime = "", nil, nil
	if b := newestGood(n.of(s)); b != nil {
		st.LastSuccessfulBackup, st.LastSuccessfulTime = b.Name, whole(b.Status.CutTime)
	}
	if b := newestGood(n.all()); b != nil {
		st.RecoveryPointTime = whole(b.Status.CutTime)
	}
	st.Backups.Active = ""
	if i := slices.IndexFunc(n.of(s), func(b *api.Backup) bool { return !snapshot.Ended(b.Status.Phase) }); i >= 0 {
		st.Backups.Active = n.of(s)[i].Name
	}
	if st.Drills != nil {
		st.Drills.Active = ""
		if i := slices.IndexFunc(n.drills(s), func(r *api.Restore) bool { return !snapshot.Ended(r.Status.Phase) }); i >= 0 {
			st.Drills.Active = n.drills(s)[i].Name
		}
	}
	st.NextRun = ""
	if next := st.Backups.NextTime; next != nil {
		st.NextRun = next.In(c.backups.Zone()).Format("2006-01-02 15:04:05 -07:00")
	}
}

// whole is a time as the API server keeps it in a Time.
func whole(t *metav1.MicroTime) *metav1.Time {
	w := metav1.NewTime(t.Truncate(time.Second))
	return &w
}
