package restore

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func reasonsTold(b *bench) []string {
	raised := b.Events.(*events.FakeRecorder).Events //nolint:forcetypeassert // of the bench
	var all []string
	for len(raised) > 0 {
		f := strings.Fields(<-raised)
		all = append(all, f[0]+" "+f[1])
	}
	return all
}

// The transitions of a drill that fails, and of one that is good: each is told once, in
// its order, and the failure also on the Backup.
func TestEventsOfADrill(t *testing.T) {
	for _, tt := range []struct {
		name  string
		child api.Phase
		why   string
		v     *api.Verification
		want  []string
	}{
		{"good", api.PhaseCompleted, api.ReasonCompleted, proof(), []string{"Normal TearingDown", "Normal Completed"}},
		{"disproved", api.PhaseFailed, api.ReasonVerificationFailed, bad(), []string{"Warning TearingDown", "Warning VerificationFailed", "Warning VerificationFailed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := restoreOf(drill(api.Drill{}), phase(api.PhaseScratch))
			namespace, child := scratched(r, tt.child, tt.why, tt.v)
			b := newBench(t, r, namespace, child, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "nightly", UID: "u1"}, Spec: api.BackupSpec{AllowedNamespaces: []string{target}}, Status: api.BackupStatus{Phase: api.PhaseCompleted}}, gp3(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: target}})
			b.put("u1", target)
			for range 10 {
				got, err := b.reconcile()
				if err != nil {
					t.Fatal(err)
				}
				if got.Status.Phase == api.PhaseCompleted || got.Status.Phase == api.PhaseFailed {
					break
				}
			}
			if got := reasonsTold(b); !slices.Equal(got, tt.want) {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

// A restore that is refused says so once.
func TestEventsOfARefusal(t *testing.T) {
	b := newBench(t, restoreOf())
	for range 5 {
		if _, err := b.reconcile(); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := reasonsTold(b), []string{"Warning " + api.ReasonBackupNotFound}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}
