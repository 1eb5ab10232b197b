package command

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

var (
	inPlace  = []string{"restore", "--from", "medic/nightly", "--in-place", "--name", "r"}
	replaced = []string{"restore", "--from", "medic/nightly", "--to", "other", "--database", "medic", "--replace", "--name", "r"}
)

// begun tells whether the one Restore there is was let begin.
func (w *world) begun(t *testing.T) bool {
	t.Helper()
	var restores api.RestoreList
	if err := w.List(t.Context(), &restores); err != nil {
		t.Fatal(err)
	}
	return len(restores.Items) == 1 && !restores.Items[0].Spec.PlanOnly && restores.Items[0].Status.Plan != nil
}

// nothingLeft fails when anything was created or granted.
func (w *world) nothingLeft(t *testing.T) {
	t.Helper()
	w.untouched(t)
	if got := w.backup(t, "nightly").Spec.AllowedNamespaces; len(got) > 0 {
		t.Errorf("allowedNamespaces %v", got)
	}
}

func TestAgreed(t *testing.T) {
	for _, tc := range []struct {
		args  []string
		typed string
		asks  string
	}{
		{inPlace, "medic\n", "puts the CHT of namespace medic back to backup medic/nightly, as planned above. Nothing has been touched yet.\nType the namespace's name (medic)"},
		{replaced, "medic\n", "replaces database medic of the CHT in namespace other by that of backup medic/nightly, as planned above. Nothing has been touched yet.\nType the database's name (medic)"},
		{append(inPlace, "--yes"), "", ""},
		{append(replaced, "-y"), "", ""},
	} {
		w := running(t, interceptor.Funcs{})
		if tc.typed != "" {
			w.somebody(tc.typed)
		}
		w.mustRun(t, exit.Good, nil, tc.args...)
		if !w.begun(t) {
			t.Errorf("%v: it was not let begin", tc.args)
		}
		if asked := strings.Contains(w.er.String(), "Type the"); asked != (tc.asks != "") || !strings.Contains(w.er.String(), tc.asks) {
			t.Errorf("%v: stderr %s", tc.args, w.er)
		}
		for _, want := range []string{"Plan of restore", "1. Volumes\n   - create claim couchdb-claim0\n", "2. Stopping\n   - scale Deployment cht-api from 1 to 0\n", "Warnings\n  ! what came after the cut", "/r is Completed"} {
			if !strings.Contains(w.out.String(), want) {
				t.Errorf("%v: stdout lacks %q:\n%s", tc.args, want, w.out)
			}
		}
	}
}

func TestAgreedPrintsTheObjectAlone(t *testing.T) {
	w := running(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, append(inPlace, "--yes", "-o", "json")...)
	if r := decodeOut[api.Restore](t, w); r.Status.Phase != api.PhaseCompleted || r.Spec.PlanOnly {
		t.Errorf("printed %+v", r)
	}
	if !strings.Contains(w.er.String(), "Plan of restore medic/r") {
		t.Errorf("no plan on stderr: %s", w.er)
	}
	w = running(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, append(inPlace, "--yes", "--no-wait")...)
	if !w.begun(t) || !strings.Contains(w.out.String(), "restore medic/r begun; see how it goes with: kubectl cht describe restore r -n medic") {
		t.Errorf("stdout: %s", w.out)
	}
}

func TestNotAgreed(t *testing.T) {
	for _, tc := range []struct {
		args  []string
		typed string
		says  string
	}{
		{inPlace, "yes\n", `"yes" is not the namespace's name; the planned restore is deleted, nothing was touched`},
		{inPlace, "", `"" is not the namespace's name`}, // the end of input
		{replaced, "other\n", `"other" is not the database's name; the planned restore is deleted, nothing was touched`},
	} {
		w := running(t, interceptor.Funcs{})
		w.somebody(tc.typed)
		w.mustRun(t, exit.Usage, []string{tc.says}, tc.args...)
		if !strings.Contains(w.out.String(), "Plan of restore") {
			t.Errorf("the plan was not shown: %s", w.out)
		}
		w.nothingLeft(t)
	}
}

// onWrite does something once when a text is written.
type onWrite struct {
	io.Writer
	text string
	do   func()
}

func (o *onWrite) Write(p []byte) (int, error) {
	if strings.Contains(string(p), o.text) {
		o.do()
	}
	return o.Writer.Write(p)
}

func TestInterruptedAtThePrompt(t *testing.T) {
	w := running(t, interceptor.Funcs{})
	typing, _ := io.Pipe() // nobody types
	w.env.In = typing
	w.env.Terminal = func(stream any) (func() int, bool) { return nil, stream == w.env.In }
	ctx, interrupt := context.WithCancel(t.Context())
	w.env.ErrOut = &onWrite{w.er, "Type the", interrupt}
	code, message := w.run(ctx, replaced...)
	if code != exit.Interrupted || message != "interrupted; the planned restore is deleted, nothing was touched" {
		t.Errorf("code %d: %s", code, message)
	}
	w.nothingLeft(t)
}

func TestInterruptedWhilePlanning(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	w := running(t, interceptor.Funcs{})
	w.end = "" // no controller
	w.env.Out = &onWrite{w.out, "Accepted", interrupt}
	code, message := w.run(ctx, "restore", "--from", "medic/nightly", "--to", "clone", "--dry-run")
	if code != exit.Interrupted || !strings.HasSuffix(message, "interrupted; the planned restore is deleted, nothing was touched") {
		t.Errorf("code %d: %s", code, message)
	}
	w.nothingLeft(t)
}

func TestNoPlanInTime(t *testing.T) {
	w := running(t, interceptor.Funcs{})
	w.end = ""
	w.mustRun(t, exit.TimedOut, []string{"restore medic/r has no plan after 50ms", "kubectl get pods -n " + system, "nothing was touched"}, append(inPlace, "--yes", "--timeout", "50ms")...)
	w.nothingLeft(t)
}

func TestPlanRefused(t *testing.T) {
	for _, args := range [][]string{append(inPlace, "--yes"), append(inPlace, "--dry-run"), append(replaced, "--yes"), {"restore", "--from", "medic/nightly", "--to", "clone", "--dry-run"}} {
		w := running(t, interceptor.Funcs{})
		w.refuse = api.ReasonTopologyMismatch
		w.mustRun(t, exit.Refused, []string{"is refused (TopologyMismatch): the controller's refusal", "nothing was touched"}, args...)
		w.nothingLeft(t)
	}
}

func TestDryRunLeavesNothing(t *testing.T) {
	for _, args := range [][]string{
		{"--to", "clone"}, {"--to", "clone", "--go-live"}, {"--to", "clone", "--ttl", "1h"},
		{"--in-place"}, {"--in-place", "--yes"}, {"--database", "medic", "--to", "other"}, {"--database", "medic", "--replace"},
	} {
		w := running(t, interceptor.Funcs{})
		w.mustRun(t, exit.Good, nil, append([]string{"restore", "--from", "medic/nightly", "--dry-run"}, args...)...)
		for _, want := range []string{"1. Volumes\n", "  ! what came after", "This was a dry run: nothing was touched, and nothing is left of it."} {
			if !strings.Contains(w.out.String(), want) {
				t.Errorf("%v: stdout lacks %q:\n%s", args, want, w.out)
			}
		}
		w.nothingLeft(t)
		// With objects on stdout.
		w.mustRun(t, exit.Good, nil, append([]string{"restore", "--from", "medic/nightly", "--dry-run", "-o", "json"}, args...)...)
		if r := decodeOut[api.Restore](t, w); r.Status.Plan == nil || len(r.Status.Plan.Steps) != 2 || !r.Spec.PlanOnly {
			t.Errorf("%v: printed %+v", args, r)
		}
		w.nothingLeft(t)
	}
}

func TestDryRunOnARecord(t *testing.T) {
	record := recordOf(t, "lost", "nightly", "u-9", noon, "a")
	w := newWorld(t, interceptor.Funcs{}, record)
	w.mustRun(t, exit.Good, nil, "restore", "--from", "lost/nightly", "--to", "clone", "--dry-run")
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(record), record); err != nil || record.Annotations[api.AllowedNamespacesAnnotation] != "a" {
		t.Errorf("record allows %q, %v", record.Annotations[api.AllowedNamespacesAnnotation], err)
	}
	w.untouched(t)
}

// What was there before is not taken back: a namespace, a grant.
func TestDryRunKeepsWhatWasThere(t *testing.T) {
	clone := &corev1.Namespace{}
	clone.Name = "clone"
	w := newWorld(t, interceptor.Funcs{}, clone, backupIn(api.PhaseCompleted, "u-1", "a", "clone"))
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "clone", "--dry-run")
	if err := w.Get(t.Context(), client.ObjectKey{Name: "clone"}, &corev1.Namespace{}); err != nil {
		t.Error(err)
	}
	if got := strings.Join(w.backup(t, "nightly").Spec.AllowedNamespaces, " "); got != "a clone" {
		t.Errorf("allowedNamespaces %s", got)
	}
	var restores api.RestoreList
	if err := w.List(t.Context(), &restores); err != nil || len(restores.Items) > 0 {
		t.Errorf("restores %v, %v", restores.Items, err)
	}
}

// Somebody begins to work in the new namespace while the plan is made.
func TestDryRunKeepsANamespaceInUse(t *testing.T) {
	w := running(t, interceptor.Funcs{})
	claim := &corev1.PersistentVolumeClaim{}
	claim.Namespace, claim.Name = "clone", "theirs"
	w.env.Out = &onWrite{w.out, "Plan of restore", func() {
		if err := w.Create(context.Background(), claim); err != nil {
			t.Error(err)
		}
	}}
	w.mustRun(t, exit.Failed, []string{"could not take everything back", "namespace clone (it holds a claim by now)"}, "restore", "--from", "medic/nightly", "--to", "clone", "--dry-run")
	if err := w.Get(t.Context(), client.ObjectKey{Name: "clone"}, &corev1.Namespace{}); err != nil {
		t.Error(err)
	}
}

func TestDryRunTellsWhatItHadToLeave(t *testing.T) {
	w := running(t, interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
		if _, is := o.(*api.Restore); is {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "restores"}, o.GetName(), errors.New("no"))
		}
		return c.Delete(ctx, o, opts...)
	}})
	w.mustRun(t, exit.Failed, []string{"could not take everything back", "restore medic/r, which does nothing as long as spec.planOnly is true", "forbidden"}, append(inPlace, "--dry-run")...)
}

// A Restore that the API server refuses leaves neither namespace nor grant.
func TestRefusedRestoreLeavesNothing(t *testing.T) {
	w := running(t, interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if _, is := o.(*api.Restore); is {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "restores"}, o.GetName(), errors.New("no"))
		}
		return c.Create(ctx, o, opts...)
	}})
	w.mustRun(t, exit.Refused, []string{"create restore clone/", "for that right"}, "restore", "--from", "medic/nightly", "--to", "clone")
	w.nothingLeft(t)
}

// Somebody aborts the planned restore while another reads its plan.
func TestAbortedWhileAsked(t *testing.T) {
	w := running(t, interceptor.Funcs{})
	w.somebody("medic\n")
	w.env.ErrOut = &onWrite{w.er, "Type the", func() {
		var r api.Restore
		if err := w.Get(context.Background(), client.ObjectKey{Namespace: "medic", Name: "r"}, &r); err != nil {
			t.Error(err)
		}
		r.Status.Phase = api.PhaseFailed
		if err := w.Status().Update(context.Background(), &r); err != nil {
			t.Error(err)
		}
	}}
	w.mustRun(t, exit.Refused, []string{"restore medic/r does not wait any more (it is Failed)", "nothing was touched"}, inPlace...)
	w.nothingLeft(t)
}

// The server does not answer when the restore shall begin: whether it has is not
// known, so that nothing is deleted.
func TestLostWhenBeginning(t *testing.T) {
	w := running(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		if _, is := o.(*api.Restore); is {
			return errors.New("dial tcp: no route to host")
		}
		return c.Patch(ctx, o, p, opts...)
	}})
	w.mustRun(t, exit.Unreachable, []string{"no route to host", "it may have begun", "kubectl cht restore abort r -n medic"}, append(inPlace, "--yes")...)
	var r api.Restore
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "medic", Name: "r"}, &r); err != nil {
		t.Error(err)
	}
}

func TestInterruptedWhileFollowingTellsHowToUndo(t *testing.T) {
	w := running(t, interceptor.Funcs{})
	w.end = ""
	w.mustRun(t, exit.TimedOut, []string{"goes on in the cluster", "undo it with: kubectl cht restore abort r -n clone"}, "restore", "--from", "medic/nightly", "--to", "clone", "--name", "r", "--timeout", (50 * time.Millisecond).String())
}
