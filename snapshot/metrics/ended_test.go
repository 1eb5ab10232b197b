package metrics

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func TestBackupsEnd(t *testing.T) {
	before := read(t, "")
	BackupEnded(backup("b", "a", 0))
	BackupEnded(backup("b", "b", hour))
	BackupEnded(backup("b", "c", 0, failedFor(api.ReasonStallExceeded)))
	BackupEnded(backup("b", "d", 0, failedFor("volume vol-0123 is on fire")))
	AttemptFailed(backup("b", "e", 0), api.ReasonSnapshotFailed)
	expect(t, "b", "backups_total{completed} 2", "backups_total{failed} 2", "failures_total{StallExceeded} 1", "failures_total{Other} 1", "retries_total{SnapshotFailed} 1")
	Stalled(1500 * time.Millisecond)
	Stalled(250 * time.Millisecond)
	after := read(t, "")
	if d := after["stall_seconds{}"] - before["stall_seconds{}"]; d != 1.75 {
		t.Errorf("stalls of %v s", d)
	}
	if d := after["duration_seconds{}"] - before["duration_seconds{}"]; d != 180 {
		t.Errorf("backups took %v s", d)
	}
}

// The first end of a namespace shows both results: what begins at 0 can be seen to rise.
func TestBothResultsFromTheFirst(t *testing.T) {
	BackupEnded(backup("both", "a", 0))
	expect(t, "both", "backups_total{completed} 1", "backups_total{failed} 0")
}

func TestHeld(t *testing.T) {
	released := Holding("h", epoch.Add(time.Minute))
	expect(t, "h", "held_since_timestamp_seconds{} 60")
	released()
	expect(t, "h")
	again := Holding("h", epoch)
	released() // late
	expect(t, "h", "held_since_timestamp_seconds{} 0")
	again()
}

func TestRestoresEnd(t *testing.T) {
	restore := func(phase api.Phase, why string) *api.Restore {
		return drill("re", "r", phase, why, 0, func(r *api.Restore) { r.Spec.Drill = nil })
	}
	before := read(t, "")["restore_duration_seconds{}"]
	RestoreEnded(restore(api.PhaseCompleted, ""))
	RestoreEnded(restore(api.PhaseFailed, api.ReasonStartTimeout))
	RestoreEnded(restore(api.PhaseFailed, api.ReasonAborted))
	RestoreEnded(drill("re", "d", api.PhaseFailed, api.ReasonShardsMissing, 0))
	scratch := restore(api.PhaseCompleted, "")
	scratch.Annotations = map[string]string{api.ScratchForAnnotation: "re/d"}
	RestoreEnded(scratch)
	expect(t, "re", "restores_total{completed} 1", "restores_total{failed} 1", "restores_total{aborted} 1", "drills_total{disproved} 1")
	if d := read(t, "")["restore_duration_seconds{}"] - before; d != 60 {
		t.Errorf("restores took %v s", d)
	}
}

func TestDrillResult(t *testing.T) {
	for why, want := range map[string]string{
		api.ReasonVerificationFailed: Disproved, api.ReasonShardsMissing: Disproved, api.ReasonPrepareFailed: Disproved,
		api.ReasonDrillFailed: Inconclusive, api.ReasonBackupNotFound: Inconclusive, api.ReasonStartTimeout: Inconclusive, "": Inconclusive,
		api.ReasonAborted: Aborted, api.ReasonConcurrentOperation: Refused,
	} {
		if got := DrillResult(drill("r", "d", api.PhaseFailed, why, 0)); got != want {
			t.Errorf("a drill that failed for %q is %s, want %s", why, got, want)
		}
	}
	if got := DrillResult(drill("r", "d", api.PhaseCompleted, api.ReasonCompleted, 0)); got != Verified {
		t.Errorf("a good drill is %s", got)
	}
}

func TestCatalogAnswered(t *testing.T) {
	CatalogAnswered(false)
	if got, there := read(t, "")["catalog_reachable{}"]; !there || got != 0 {
		t.Errorf("unreachable: %v", got)
	}
	CatalogAnswered(true)
	if got := read(t, "")["catalog_reachable{}"]; got != 1 {
		t.Errorf("reachable: %v", got)
	}
}

// Counters go with their namespace, and only with it.
func TestSweep(t *testing.T) {
	for _, ns := range []string{"there", "gone", "unknown"} {
		BackupEnded(backup(ns, "a", 0, failedFor(api.ReasonPodNotReady)))
		RestoreEnded(drill(ns, "d", api.PhaseCompleted, "", 0))
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
	for ns, want := range map[string]int{"there": 4, "gone": 0, "unknown": 4} {
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
	if got := len(read(t, "there")) + len(read(t, "unknown")); err == nil || got != 4 {
		t.Errorf("%d series are left, %v", got, err)
	}
}
