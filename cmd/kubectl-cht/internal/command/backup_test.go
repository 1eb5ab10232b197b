package command

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

func (w *world) backup(t *testing.T, name string) *api.Backup {
	t.Helper()
	var b api.Backup
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "medic", Name: name}, &b); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestBackupCreates(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, "backup")
	s := w.backup(t, "manual-20260301-120000").Spec
	// Sent in full, whatever the API's defaults are: what --help says is what is asked for.
	if s.Quiesce != api.QuiesceAuto || s.MaxStall.Duration != 10*time.Second || s.Attempts != 3 || s.OnUnavailable != "Fail" || s.ReadyTimeout.Duration != 2*time.Hour || s.VolumeSnapshotClassName != nil {
		t.Errorf("defaults: %+v", s)
	}
	for _, want := range []string{"12:00:00 backup medic/manual-20260301-120000 Accepted\n", "Completed: the controller's message\n", "is Completed: the controller's message\n"} {
		if !strings.Contains(w.out.String(), want) {
			t.Errorf("stdout lacks %q:\n%s", want, w.out)
		}
	}

	w.mustRun(t, exit.Good, nil, "backup", "b2", "--quiesce", "pause", "--max-stall", "2s", "--snapshot-class", "gold", "--attempts", "1", "--on-unavailable", "degrade",
		"--ready-timeout", "5m", "--allow-namespace", "x,y", "--no-wait")
	s = w.backup(t, "b2").Spec
	if s.Quiesce != api.QuiescePause || s.MaxStall.Duration != 2*time.Second || s.Attempts != 1 || s.OnUnavailable != "Degrade" || s.ReadyTimeout.Duration != 5*time.Minute ||
		*s.VolumeSnapshotClassName != "gold" || strings.Join(s.AllowedNamespaces, " ") != "x y" {
		t.Errorf("flags: %+v", s)
	}
	if got, want := w.out.String(), "backup medic/b2 created; see how it goes with: kubectl cht describe backup b2 -n medic\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
}

func TestBackupPrintsNothingButTheObject(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, "backup", "b", "-o", "json")
	b := decodeOut[api.Backup](t, w)
	if b.Kind != "Backup" || b.APIVersion != api.GroupVersion.String() || b.Status.Phase != api.PhaseCompleted {
		t.Errorf("printed %+v", b)
	}
	if !strings.Contains(w.er.String(), "Completed") {
		t.Errorf("no progress on stderr: %s", w.er)
	}
	w.mustRun(t, exit.Good, nil, "backup", "c", "-o", "name", "--wait=false")
	if got := w.out.String(); got != "backup.backup.communityhealthtoolkit.org/c\n" {
		t.Errorf("name: %q", got)
	}
	w.end = api.PhaseFailed
	w.mustRun(t, exit.Failed, []string{"backup medic/d failed (PodNotReady): the controller's message", "describe backup d -n medic"}, "backup", "d", "-o", "yaml")
	if !strings.HasPrefix(w.out.String(), "apiVersion: "+api.GroupVersion.String()) || !strings.Contains(w.out.String(), "phase: Failed") {
		t.Errorf("yaml: %s", w.out)
	}
}

func TestBackupRefusesBadInput(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.env.Connect = func() (client.WithWatch, error) { t.Error("a cluster was asked"); return nil, errors.New("no") }
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"backup", "Nightly"}, `backup name "Nightly" cannot be used`},
		{[]string{"backup", strings.Repeat("a", 201)}, "at most 200"},
		{[]string{"backup", "a", "b"}, "accepts at most 1 arg"},
		{[]string{"backup", "--quiesce", "Hope"}, "use one of: Auto, Freeze, Pause, None"},
		{[]string{"backup", "--on-unavailable", "Cry"}, "use one of: Fail, Degrade"},
		{[]string{"backup", "--max-stall", "61s"}, "give 500ms to 1m0s"},
		{[]string{"backup", "--max-stall", "499ms"}, "give 500ms to 1m0s"},
		{[]string{"backup", "--ready-timeout", "73h"}, "give 1s to 72h0m0s"},
		{[]string{"backup", "--attempts", "0"}, "give 1 to 10"},
		{[]string{"backup", "--attempts", "11"}, "give 1 to 10"},
		{[]string{"backup", "--allow-namespace", "A"}, "cannot be a namespace"},
		{[]string{"backup", "--timeout", "-1s"}, "negative"},
		{[]string{"backup", "-o", "wide"}, "use one of: json, yaml, name"},
		{[]string{"backup", "--what"}, "unknown flag"},
		{[]string{"backwards"}, "unknown command"},
	} {
		w.mustRun(t, exit.Usage, []string{tc.says}, tc.args...)
	}
}

func TestBackupExitCodes(t *testing.T) {
	backups := schema.GroupResource{Group: api.GroupVersion.Group, Resource: "backups"}
	creating := func(err error) interceptor.Funcs {
		return interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return err }}
	}
	t.Run("failed", func(t *testing.T) {
		w := newWorld(t, interceptor.Funcs{})
		w.end = api.PhaseFailed
		w.mustRun(t, exit.Failed, []string{"backup medic/n failed (PodNotReady)"}, "backup", "n")
		if !strings.Contains(w.out.String(), "is Failed (PodNotReady): the controller's message") {
			t.Errorf("stdout: %s", w.out)
		}
	})
	t.Run("timed out", func(t *testing.T) {
		w := newWorld(t, interceptor.Funcs{})
		w.end = ""
		w.mustRun(t, exit.TimedOut, []string{"stopped waiting after 50ms (phase Accepted)", "goes on in the cluster", "describe backup n -n medic"}, "backup", "n", "--timeout", "50ms")
		w.backup(t, "n") // still there
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, interrupt := context.WithCancelCause(t.Context())
		w := newWorld(t, interceptor.Funcs{Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
			interrupt(errors.New("interrupt signal received"))
			return c.Watch(ctx, list, opts...)
		}})
		code, message := w.run(ctx, "backup", "n")
		if code != exit.Interrupted || !strings.HasPrefix(message, "stopped waiting; backup medic/n goes on in the cluster") {
			t.Errorf("code %d: %s", code, message)
		}
		w.backup(t, "n")
	})
	t.Run("deleted meanwhile", func(t *testing.T) {
		w := newWorld(t, interceptor.Funcs{Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
			events, err := c.Watch(ctx, list, opts...)
			go func() {
				if err := c.DeleteAllOf(context.Background(), &api.Backup{}, client.InNamespace("medic")); err != nil {
					t.Error(err)
				}
			}()
			return events, err
		}})
		w.mustRun(t, exit.Failed, []string{"deleted while waiting"}, "backup", "n")
	})
	t.Run("exists", func(t *testing.T) {
		newWorld(t, interceptor.Funcs{}, backupIn(api.PhaseCompleted, "u")).mustRun(t, exit.Refused, []string{"create backup medic/nightly", "another name"}, "backup", "nightly")
	})
	t.Run("no namespace", func(t *testing.T) {
		err := apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "medic")
		newWorld(t, creating(err)).mustRun(t, exit.Refused, []string{"namespace medic does not exist"}, "backup", "n")
	})
	t.Run("forbidden", func(t *testing.T) {
		newWorld(t, creating(apierrors.NewForbidden(backups, "n", errors.New("no")))).mustRun(t, exit.Refused, []string{"create backup medic/n", "for that right"}, "backup", "n")
	})
	t.Run("unreachable", func(t *testing.T) {
		newWorld(t, creating(errors.New("dial tcp: no route to host"))).mustRun(t, exit.Unreachable, []string{"no route to host"}, "backup", "n")
	})
}
