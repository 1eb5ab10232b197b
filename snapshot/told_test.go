package snapshot

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// reasonsTold gives type and reason of the events raised, in their order.
func reasonsTold(b *bench) []string {
	var all []string
	for line := range strings.Lines(told(b)) {
		f := strings.Fields(line)
		all = append(all, f[0]+" "+f[1])
	}
	return all
}

// Each transition is told once, in its order.
func TestEventsOfABackup(t *testing.T) {
	passing := reason.Failed(api.ReasonSnapshotFailed, "throttled")
	for _, tt := range []struct {
		name    string
		arrange func(*bench)
		want    []string
	}{
		{"good", func(*bench) {}, []string{"Normal Preparing", "Normal Finishing", "Normal Completed"}},
		{"good at the second attempt", func(b *bench) { b.snaps.cutErr, b.snaps.failFirst = passing, 1 },
			[]string{"Normal Preparing", "Warning SnapshotFailed", "Normal Preparing", "Normal Finishing", "Normal Completed"}},
		{"failed", func(b *bench) { b.snaps.cutErr = passing },
			[]string{"Normal Preparing", "Warning SnapshotFailed", "Normal Preparing", "Warning SnapshotFailed", "Normal Preparing", "Warning SnapshotFailed"}},
		{"failed, while a snapshot lingers", func(b *bench) { b.snaps.cutErr, b.snaps.stuck = reason.Refuse(api.ReasonStallExceeded, "slow"), 2 },
			[]string{"Normal Preparing", "Warning StallExceeded"}},
		{"refused", func(b *bench) { b.snaps.prepareErr = reason.Refuse(api.ReasonNoSnapshotClass, "none") }, []string{"Normal Preparing", "Warning NoSnapshotClass"}},
		{"failed after the cut", func(b *bench) { b.snaps.refreshErr = reason.Failed(api.ReasonReadyTimeout, "upload") },
			[]string{"Normal Preparing", "Normal Finishing", "Warning ReadyTimeout"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, append(instance(), backup())...)
			tt.arrange(b)
			b.run()
			if got := reasonsTold(b); !slices.Equal(got, tt.want) {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

// atRaise is a recorder that notes which phase is stored when an event is raised.
type atRaise struct {
	events.EventRecorder
	stored func() api.Phase
	noted  []string
}

func (a *atRaise) Eventf(_, _ runtime.Object, _, why, _, _ string, _ ...any) {
	a.noted = append(a.noted, why+" at "+string(a.stored()))
}

// An event tells of what is stored already, also where that takes two tries.
func TestEventsComeAfterTheStatus(t *testing.T) {
	b := newBench(t, append(instance(), backup())...)
	raised := &atRaise{stored: func() api.Phase {
		var now api.Backup
		if err := b.objects.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "nightly"}, &now); err != nil {
			t.Error(err)
		}
		return now.Status.Phase
	}}
	b.Events = raised
	refused := false
	b.Client = interceptor.NewClient(b.objects, interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if data, err := patch.Data(o); err != nil || !refused && strings.Contains(string(data), `"phase":"Completed"`) {
				refused = true
				return errors.Join(errors.New("the API server is away"), err)
			}
			return c.SubResource(sub).Patch(ctx, o, patch, opts...)
		}})
	b.run()
	if want := []string{"Preparing at Preparing", "Finishing at Finishing", "Completed at Completed"}; !refused || !slices.Equal(raised.noted, want) {
		t.Errorf("raised %q, want %q; refused %t", raised.noted, want, refused)
	}
}

// One line for each transition, with the same keys, and nothing of the credentials.
func TestLogOfABackup(t *testing.T) {
	b := newBench(t, append(instance(), backup())...)
	var lines []string
	logger := funcr.NewJSON(func(line string) { lines = append(lines, line) }, funcr.Options{})
	ctx := log.IntoContext(t.Context(), logger.WithValues("namespace", ns, "name", "nightly"))
	for range 20 {
		if _, err := b.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKey{Namespace: ns, Name: "nightly"}}); err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(time.Second)
	}
	var phases []string
	for _, line := range lines {
		if strings.Contains(line, `"msg":"phase"`) {
			_, rest, _ := strings.Cut(line, `"phase":"`)
			phase, _, _ := strings.Cut(rest, `"`)
			phases = append(phases, phase)
		}
		for _, key := range []string{`"namespace":"` + ns + `"`, `"name":"nightly"`} {
			if !strings.Contains(line, key) {
				t.Errorf("%s is without %s", line, key)
			}
		}
		var secret corev1.Secret
		if err := b.objects.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "cht-couchdb-credentials"}, &secret); err != nil || strings.Contains(line, `"`+string(secret.Data["COUCHDB_PASSWORD"])+`"`) {
			t.Errorf("a password in %s (%v)", line, err)
		}
	}
	if want := []string{"Preparing", "Cutting", "Finishing", "Completed"}; !slices.Equal(phases, want) {
		t.Errorf("phases %q in\n%s", phases, strings.Join(lines, "\n"))
	}
}
