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
	"github.com/medic/cht-backup/snapshot/paged"
)

// namespace is what there is in the namespace of a schedule.
type namespace struct {
	backups  []api.Backup
	restores []api.Restore
}

func (r *Reconciler) read(ctx context.Context, name string) (*namespace, error) {
	n := &namespace{}
	for backups, err := range paged.Pages(ctx, r.Client, &api.BackupList{}, client.InNamespace(name)) {
		if err != nil {
			return nil, fmt.Errorf("list backups of %s: %w", name, err)
		}
		for i := range backups.Items {
			if !backups.Items[i].IsImported() { // none of this instance's
				n.backups = append(n.backups, backups.Items[i])
			}
		}
	}
	var err error
	if n.restores, err = r.restores(ctx, client.InNamespace(name)); err != nil {
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	return n, nil
}

// restores gives those of a namespace, or of all.
func (r *Reconciler) restores(ctx context.Context, opts ...client.ListOption) ([]api.Restore, error) {
	var all []api.Restore
	for restores, err := range paged.Pages(ctx, r.Client, &api.RestoreList{}, opts...) {
		if err != nil {
			return nil, fmt.Errorf("list restores: %w", err)
		}
		all = append(all, restores.Items...)
	}
	return all, nil
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

func (n *namespace) backup(name string) *api.Backup {
	return &n.backups[slices.IndexFunc(n.backups, func(b api.Backup) bool { return b.Name == name })]
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

// newestGood gives the good backup that was cut last, of a schedule or of all for "";
// nil for none.
func (n *namespace) newestGood(schedule string) *api.Backup {
	var newest *api.Backup
	for i := range n.backups {
		if b := &n.backups[i]; (schedule == "" || b.Labels[api.ScheduleLabel] == schedule) && b.Supersedes(newest) {
			newest = b
		}
	}
	return newest
}

// observe writes what there is into the status.
func observe(s *api.BackupSchedule, c clocks, n *namespace) {
	st := &s.Status
	st.JitterSeconds = int64(c.backups.delay / time.Second)
	st.LastSuccessfulBackup, st.LastSuccessfulTime, st.RecoveryPointTime = "", nil, nil
	if b := n.newestGood(s.Name); b != nil {
		st.LastSuccessfulBackup, st.LastSuccessfulTime = b.Name, whole(b.Status.CutTime)
	}
	if b := n.newestGood(""); b != nil {
		st.RecoveryPointTime = whole(b.Status.CutTime)
	}
	st.Backups.Active = ""
	for _, b := range n.of(s) {
		if !snapshot.Ended(b.Status.Phase) {
			st.Backups.Active = b.Name
			break
		}
	}
	if st.Drills != nil {
		st.Drills.Active = ""
		for _, d := range n.drills(s) {
			if !snapshot.Ended(d.Status.Phase) {
				st.Drills.Active = d.Name
				break
			}
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
