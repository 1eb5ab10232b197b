package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const scheduleLabel = "schedule"

var (
	point = gauge("cht_backup_recovery_point_timestamp_seconds", "When the newest good backup of the instance was cut, in seconds since the epoch; of instances that have a schedule.")
	next  = scheduleGauge("cht_backup_schedule_next_run_timestamp_seconds", "When the next backup of the schedule begins, in seconds since the epoch; none while it is suspended or invalid.")
	last  = scheduleGauge("cht_backup_schedule_last_success_timestamp_seconds", "When the newest good backup of the schedule was cut, in seconds since the epoch.")
	miss  = scheduleGauge("cht_backup_schedule_missed_runs", "Runs of the schedule that were due and did not begin, since it was created.")
	stand = scheduleGauge("cht_backup_schedule_ready", "1 while the schedule's condition Ready is True, else 0.")
)

func scheduleGauge(name, help string) *prometheus.GaugeVec {
	return registered(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{namespaceLabel, scheduleLabel}))
}

// ScheduleSeen sets the gauges of a schedule by its status; ready is whether its
// condition is True.
func ScheduleSeen(s *api.BackupSchedule, ready bool) {
	seen(s.Namespace)
	set := func(g *prometheus.GaugeVec, at *metav1.Time, labels ...string) {
		if at == nil {
			g.DeleteLabelValues(labels...)
			return
		}
		g.WithLabelValues(labels...).Set(float64(at.Unix()))
	}
	set(point, s.Status.RecoveryPointTime, s.Namespace)
	set(next, s.Status.Backups.NextTime, s.Namespace, s.Name)
	set(last, s.Status.LastSuccessfulTime, s.Namespace, s.Name)
	miss.WithLabelValues(s.Namespace, s.Name).Set(float64(s.Status.MissedRuns))
	value := 0.0
	if ready {
		value = 1
	}
	stand.WithLabelValues(s.Namespace, s.Name).Set(value)
}

// ScheduleGone removes the series of a schedule.
func ScheduleGone(namespace, name string) {
	for _, g := range []*prometheus.GaugeVec{next, last, miss, stand} {
		g.DeleteLabelValues(namespace, name)
	}
}
