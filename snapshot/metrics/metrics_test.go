package metrics

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// read gives all series of a namespace as they are served: family{result} to value.
func read(t *testing.T, namespace string) map[string]float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			labels := map[string]string{}
			for _, l := range m.Label {
				labels[l.GetName()] = l.GetValue()
			}
			if namespace == labels[namespaceLabel] && (namespace != "" || f.GetName() == "cht_backup_stall_seconds") {
				found[f.GetName()+"{"+labels[resultLabel]+"}"] = value(m)
			}
		}
	}
	return found
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Histogram != nil:
		return m.Histogram.GetSampleSum()
	}
	return m.Gauge.GetValue()
}

func expect(t *testing.T, namespace string, want map[string]float64) {
	t.Helper()
	if got := read(t, namespace); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("series of %q are\n%v, want\n%v", namespace, got, want)
	}
}

func drill(namespace string, phase api.Phase, why string, at time.Duration, took int64) *api.Restore {
	end := metav1.NewMicroTime(epoch.Add(at))
	r := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "d"},
		Status: api.RestoreStatus{Phase: phase, CompletionTime: &end, Drill: &api.DrillStatus{RestoreMilliseconds: took}}}
	meta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{Type: api.ConditionReady, Status: metav1.ConditionFalse, Reason: why})
	return r
}

func TestBackups(t *testing.T) {
	ended := func(p api.Phase) {
		BackupEnded(&api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "b"}, Status: api.BackupStatus{Phase: p}})
	}
	ended(api.PhaseCompleted)
	ended(api.PhaseCompleted)
	ended(api.PhaseFailed)
	expect(t, "b", map[string]float64{"cht_backup_backups_total{completed}": 2, "cht_backup_backups_total{failed}": 1})
	Stalled(1500 * time.Millisecond)
	Stalled(250 * time.Millisecond)
	expect(t, "", map[string]float64{"cht_backup_stall_seconds{}": 1.75})
}

func TestDrillResult(t *testing.T) {
	for why, want := range map[string]string{
		api.ReasonVerificationFailed: Disproved, api.ReasonShardsMissing: Disproved, api.ReasonPrepareFailed: Disproved,
		api.ReasonDrillFailed: Inconclusive, api.ReasonBackupNotFound: Inconclusive, api.ReasonStartTimeout: Inconclusive, "": Inconclusive,
		api.ReasonAborted: Aborted, api.ReasonConcurrentOperation: Refused,
	} {
		if got := DrillResult(drill("r", api.PhaseFailed, why, 0, 0)); got != want {
			t.Errorf("a drill that failed for %q is %s, want %s", why, got, want)
		}
	}
	if got := DrillResult(drill("r", api.PhaseCompleted, api.ReasonCompleted, 0, 0)); got != Verified {
		t.Errorf("a good drill is %s", got)
	}
}

// What is served after each of several drills.
func TestDrills(t *testing.T) {
	seconds := float64(epoch.Unix())
	for _, step := range []struct {
		what string
		do   func()
		want map[string]float64
	}{
		{"one that was aborted says nothing", func() { DrillEnded(drill("d", api.PhaseFailed, api.ReasonAborted, 0, 0)) },
			map[string]float64{"cht_backup_drills_total{aborted}": 1}},
		{"one fails", func() { DrillEnded(drill("d", api.PhaseFailed, api.ReasonDrillFailed, time.Second, 0)) },
			map[string]float64{"cht_backup_drills_total{aborted}": 1, "cht_backup_drills_total{inconclusive}": 1, "cht_backup_drill_failed{}": 1}},
		{"one is good", func() { DrillEnded(drill("d", api.PhaseCompleted, "", 10*time.Second, 42500)) },
			map[string]float64{"cht_backup_drills_total{aborted}": 1, "cht_backup_drills_total{inconclusive}": 1, "cht_backup_drills_total{verified}": 1, "cht_backup_drill_failed{}": 0,
				"cht_backup_drill_recovery_seconds{}": 42.5, "cht_backup_drill_last_success_timestamp_seconds{}": seconds + 10}},
		{"an older failure is seen", func() { DrillSeen(drill("d", api.PhaseFailed, api.ReasonShardsMissing, 5*time.Second, 0)) }, nil},
		{"an older success is seen", func() { DrillSeen(drill("d", api.PhaseCompleted, "", 3*time.Second, 1)) }, nil},
		{"a later one was refused", func() {
			DrillSeen(drill("d", api.PhaseFailed, api.ReasonConcurrentOperation, 15*time.Second, 0))
		}, nil},
		{"the backup is bad", func() { DrillEnded(drill("d", api.PhaseFailed, api.ReasonShardsMissing, 20*time.Second, 0)) },
			map[string]float64{"cht_backup_drills_total{aborted}": 1, "cht_backup_drills_total{inconclusive}": 1, "cht_backup_drills_total{verified}": 1, "cht_backup_drills_total{disproved}": 1,
				"cht_backup_drill_failed{}": 1, "cht_backup_drill_recovery_seconds{}": 42.5, "cht_backup_drill_last_success_timestamp_seconds{}": seconds + 10}},
	} {
		before := read(t, "d")
		step.do()
		if step.want == nil {
			step.want = before
		}
		t.Log(step.what)
		expect(t, "d", step.want)
	}
}

// A controller that starts anew knows the gauges of the drills that there are.
func TestDrillsSeenInAnyOrder(t *testing.T) {
	DrillSeen(drill("seen", api.PhaseFailed, api.ReasonDrillFailed, time.Hour, 0))
	DrillSeen(drill("seen", api.PhaseCompleted, "", time.Minute, 2000))
	expect(t, "seen", map[string]float64{"cht_backup_drill_failed{}": 1, "cht_backup_drill_recovery_seconds{}": 2, "cht_backup_drill_last_success_timestamp_seconds{}": float64(epoch.Unix() + 60)})
}

// Series go with their namespace, and only with it.
func TestSweep(t *testing.T) {
	for _, ns := range []string{"there", "gone", "unknown"} {
		DrillEnded(drill(ns, api.PhaseCompleted, "", time.Minute, 1000))
		BackupEnded(&api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: ns}, Status: api.BackupStatus{Phase: api.PhaseFailed}})
	}
	c := interceptor.NewClient(fake.NewClientBuilder().WithObjects(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "there"}}).Build(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if key.Name == "unknown" {
				return errors.New("no answer")
			}
			return c.Get(ctx, key, o, opts...)
		}})
	if err := (Sweeper{Reader: c}).Sweep(t.Context()); err == nil {
		t.Error("an API server that does not answer is no error")
	}
	for ns, want := range map[string]int{"there": 5, "gone": 0, "unknown": 5} {
		if got := read(t, ns); len(got) != want {
			t.Errorf("%s has %v, want %d series", ns, got, want)
		}
	}
	// Those that another controller serves now are his to tell of.
	err := Sweeper{Reader: c, Serves: func(_ context.Context, namespace string) (bool, error) {
		if namespace == "unknown" {
			return false, errors.New("nobody knows")
		}
		return false, nil
	}}.Sweep(t.Context())
	if got := len(read(t, "there")) + len(read(t, "unknown")); err == nil || got != 5 {
		t.Errorf("%d series are left, %v", got, err)
	}
	// Made again, it begins anew: an older drill than those of before is the latest.
	DrillSeen(drill("gone", api.PhaseFailed, api.ReasonDrillFailed, time.Second, 0))
	expect(t, "gone", map[string]float64{"cht_backup_drill_failed{}": 1})
}
