package metrics

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func TestSchedules(t *testing.T) {
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: epoch.Add(d)} }
	s := &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: "cht-schedules", Name: "nightly"}}
	s.Status = api.BackupScheduleStatus{Backups: api.RunStatus{NextTime: at(time.Hour)}, LastSuccessfulTime: at(-2 * time.Hour), RecoveryPointTime: at(-time.Hour), MissedRuns: 3}
	ScheduleSeen(s, true)
	seconds := float64(epoch.Unix())
	expect(t, s.Namespace, map[string]float64{
		"cht_backup_recovery_point_timestamp_seconds{}": seconds - 3600, "cht_backup_schedule_next_run_timestamp_seconds{}": seconds + 3600,
		"cht_backup_schedule_last_success_timestamp_seconds{}": seconds - 7200, "cht_backup_schedule_missed_runs{}": 3, "cht_backup_schedule_ready{}": 1})
	s.Status.Backups.NextTime = nil // suspended
	ScheduleSeen(s, false)
	expect(t, s.Namespace, map[string]float64{
		"cht_backup_recovery_point_timestamp_seconds{}": seconds - 3600, "cht_backup_schedule_last_success_timestamp_seconds{}": seconds - 7200,
		"cht_backup_schedule_missed_runs{}": 3, "cht_backup_schedule_ready{}": 0})
	ScheduleGone(s.Namespace, s.Name)
	expect(t, s.Namespace, map[string]float64{"cht_backup_recovery_point_timestamp_seconds{}": seconds - 3600})
	Forget(s.Namespace)
	expect(t, s.Namespace, map[string]float64{})
}
