package metrics

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// gather is what the controller would serve.
func gather(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// read gives all series of our own of a namespace as they are served, "" for those
// without: family{other labels} to value, less the prefix. Times count from epoch.
func read(t *testing.T, namespace string) map[string]float64 {
	t.Helper()
	found := map[string]float64{}
	for _, f := range gather(t) {
		name, ours := strings.CutPrefix(f.GetName(), "cht_backup_")
		for _, m := range f.Metric {
			of, rest := "", []string{}
			for _, l := range m.Label {
				if l.GetName() == namespaceLabel {
					of = l.GetValue()
				} else {
					rest = append(rest, l.GetValue())
				}
			}
			if v := value(m); ours && namespace == of {
				if strings.HasSuffix(name, "timestamp_seconds") {
					v -= float64(epoch.Unix())
				}
				found[name+"{"+strings.Join(rest, ",")+"}"] = v
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

// expect compares the series of a namespace, one a line, with what is wanted.
func expect(t *testing.T, namespace string, want ...string) {
	t.Helper()
	var got []string
	for series, v := range read(t, namespace) {
		got = append(got, fmt.Sprintf("%s %v", series, v))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("series of %q are\n%s\nwant\n%s", namespace, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// there makes objects what the controller's cache has.
func there(t *testing.T, wants func(*api.Backup) bool, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	ReadFrom(c, func(namespace string) bool { return namespace != "of-another" }, wants)
	t.Cleanup(func() { ReadFrom(nil, nil, nil) })
	return c
}

func micro(at time.Duration) *metav1.MicroTime {
	m := metav1.NewMicroTime(epoch.Add(at))
	return &m
}

func second(at time.Duration) *metav1.Time { return &metav1.Time{Time: epoch.Add(at)} }

func condition(to *[]metav1.Condition, kind string, is metav1.ConditionStatus, why string) {
	meta.SetStatusCondition(to, metav1.Condition{Type: kind, Status: is, Reason: why})
}

// backup that was cut at a time, a minute before it was complete.
func backup(namespace, name string, cut time.Duration, change ...func(*api.Backup)) *api.Backup {
	bytes, stall, size := int64(1000), int64(250), resource.MustParse("1Gi")
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name), CreationTimestamp: *second(cut - time.Minute)}}
	b.Status = api.BackupStatus{Phase: api.PhaseCompleted, StartTime: micro(cut - 30*time.Second), CutTime: micro(cut), CompletionTime: micro(cut + time.Minute), DataBytes: &bytes, StallMilliseconds: &stall,
		Volumes: []api.VolumeStatus{{Node: "couchdb-1", RestoreSize: &size}, {Node: "couchdb-2", RestoreSize: &size}, {Node: "couchdb-3"}}}
	condition(&b.Status.Conditions, api.ConditionReady, metav1.ConditionTrue, api.ReasonCompleted)
	for _, f := range change {
		f(b)
	}
	return b
}

func failedFor(why string) func(*api.Backup) {
	return func(b *api.Backup) {
		b.Status.Phase, b.Status.CutTime, b.Status.Volumes, b.Status.DataBytes = api.PhaseFailed, nil, nil, nil
		condition(&b.Status.Conditions, api.ConditionReady, metav1.ConditionFalse, why)
	}
}

func provenAt(at time.Duration, took int64) func(*api.Backup) {
	return func(b *api.Backup) {
		condition(&b.Status.Conditions, api.ConditionVerified, metav1.ConditionTrue, api.ReasonCompleted)
		b.Status.Verified = &api.VerifiedBy{Time: *micro(at), RestoreMilliseconds: took}
	}
}

func drill(namespace, name string, phase api.Phase, why string, at time.Duration, change ...func(*api.Restore)) *api.Restore {
	r := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: api.RestoreSpec{Drill: &api.Drill{}},
		Status: api.RestoreStatus{Phase: phase, StartTime: micro(at - time.Minute), CompletionTime: micro(at), Drill: &api.DrillStatus{}}}
	condition(&r.Status.Conditions, api.ConditionReady, metav1.ConditionFalse, why)
	for _, f := range change {
		f(r)
	}
	return r
}
