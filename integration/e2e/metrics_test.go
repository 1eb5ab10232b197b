package e2e

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/metrics"
)

// What the controller serves, read as Prometheus does.

// scraped gives the families that the controller serves, by name.
func scraped(ctx context.Context, t *testing.T, c *harness.Cluster) map[string]*dto.MetricFamily {
	t.Helper()
	pod, err := c.ControllerPod(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Kube.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, "8080", "metrics", nil).DoRaw(ctx)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// of gives the value of the family's series with these labels; NaN for none.
func of(f *dto.MetricFamily, labels ...string) float64 {
next:
	for _, m := range f.GetMetric() {
		has := map[string]string{}
		for _, l := range m.GetLabel() {
			has[l.GetName()] = l.GetValue()
		}
		for _, l := range labels {
			if name, value, _ := strings.Cut(l, "="); has[name] != value {
				continue next
			}
		}
		switch {
		case m.Counter != nil:
			return m.Counter.GetValue()
		case m.Histogram != nil:
			return float64(m.Histogram.GetSampleCount())
		case m.Gauge != nil:
			return m.Gauge.GetValue()
		}
	}
	return math.NaN()
}

// servedOf checks what is served of an instance that a schedule has backed up and
// drilled.
func servedOf(ctx context.Context, t *testing.T, c *harness.Cluster, s *api.BackupSchedule, newest *api.Backup) {
	t.Helper()
	served := scraped(ctx, t, c)
	for _, f := range metrics.Families() {
		if s := served[f.Name]; s != nil && (s.GetHelp() != f.Help || !strings.EqualFold(s.GetType().String(), string(f.Kind))) {
			t.Errorf("%s is served as %s %q", f.Name, s.GetType(), s.GetHelp())
		}
	}
	for name := range served {
		known := !strings.HasPrefix(name, "cht_")
		for _, f := range metrics.Families() {
			known = known || f.Name == name
		}
		if !known {
			t.Errorf("%s is served and not known", name)
		}
	}
	namespace, schedule := "namespace="+s.Namespace, "schedule="+s.Name
	now, day := float64(time.Now().Unix()), 86400.0
	begun := float64(s.CreationTimestamp.Unix()) - 1
	for _, w := range []struct {
		name        string
		labels      []string
		least, most float64
	}{
		{"watched_since_timestamp_seconds", []string{namespace}, begun, begun + 2},
		{"recovery_point_timestamp_seconds", []string{namespace}, float64(newest.Status.CutTime.UnixMilli()) / 1000, now},
		{"last_success_timestamp_seconds", []string{namespace}, float64(newest.Status.CompletionTime.UnixMilli()) / 1000, now + 5},
		{"size_bytes", []string{namespace}, 1, 1 << 30},
		{"restore_size_bytes", []string{namespace}, 1 << 20, 1 << 40},
		{"last_stall_seconds", []string{namespace}, 0.001, 60},
		{"verified_timestamp_seconds", []string{namespace}, begun, now + 5},
		{"recovery_seconds", []string{namespace}, 0.1, 600},
		{"drill_failed", []string{namespace}, 0, 0},
		{"backups_total", []string{namespace, "result=completed"}, 2, 50},
		{"drills_total", []string{namespace, "result=verified"}, 1, 50},
		{"schedule_missed_runs", []string{namespace, schedule}, 0, 0},
		{"schedule_suspended", []string{namespace, schedule}, 1, 1},
		{"schedule_ready", []string{namespace, schedule}, 0, 0},
		{"schedule_last_success_timestamp_seconds", []string{namespace, schedule}, begun, now},
		{"catalog_records_missing", []string{namespace}, 0, 1},
		{"catalog_reachable", nil, 1, 1},
		{"catalog_last_write_timestamp_seconds", nil, now - day, now + 5},
		{"stall_seconds", nil, 1, 1e6},
		{"duration_seconds", nil, 1, 1e6},
		{"backups_waiting", nil, 0, 100},
		{"backups_running", nil, 0, 100},
		{"restores_running", nil, 0, 100},
		{"build_info", nil, 1, 1},
	} {
		if v := of(served["cht_backup_"+w.name], w.labels...); !(v >= w.least && v <= w.most) {
			t.Errorf("cht_backup_%s%v is %v, which is not from %v to %v", w.name, w.labels, v, w.least, w.most)
		}
	}
	// Of a suspended schedule, writes that run, and backups that are good there is nothing.
	for name, labels := range map[string][]string{"schedule_next_run_timestamp_seconds": {namespace, schedule}, "held_since_timestamp_seconds": {namespace}, "failures_since_success": {namespace}} {
		if v := of(served["cht_backup_"+name], labels...); !math.IsNaN(v) {
			t.Errorf("cht_backup_%s is %v", name, v)
		}
	}
	for _, name := range []string{"controller_runtime_reconcile_errors_total", "workqueue_depth", "process_resident_memory_bytes"} {
		if served[name] == nil {
			t.Errorf("%s is not served, which the dashboard shows", name)
		}
	}
}
