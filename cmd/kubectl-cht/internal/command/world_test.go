package command

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/follow"
	"github.com/medic/cht-backup/snapshot/catalog"
)

const system = "cht-backup-system"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a cluster and a user before it.
type world struct {
	client.WithWatch
	env     *Env
	in      *bytes.Buffer
	out, er *bytes.Buffer
	// end is the phase that the controller brings what is created to; "" leaves
	// it as it is.
	end api.Phase
	// refuse is the reason for which restores fail while they are planned.
	refuse string
}

// newWorld has a controller that acts when somebody watches.
func newWorld(t *testing.T, hooks interceptor.Funcs, objects ...client.Object) *world {
	t.Helper()
	w := &world{end: api.PhaseCompleted}
	if hooks.Watch == nil {
		hooks.Watch = func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
			events, err := c.Watch(ctx, list, opts...)
			go w.act(t, c)
			return events, err
		}
	}
	name := func(o client.Object) []string { return []string{o.GetName()} }
	w.WithWatch = fake.NewClientBuilder().WithScheme(Scheme()).WithStatusSubresource(&api.Backup{}, &api.Restore{}, &api.BackupSchedule{}).
		WithIndex(&api.Backup{}, "metadata.name", name).WithIndex(&api.Restore{}, "metadata.name", name).
		WithIndex(&corev1.Namespace{}, "metadata.name", name).WithIndex(&corev1.Pod{}, "metadata.name", name).
		WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string { return []string{string(o.(*corev1.Event).InvolvedObject.UID)} }).
		WithObjects(objects...).WithInterceptorFuncs(hooks).Build()
	streams, in, out, er := genericiooptions.NewTestIOStreams()
	w.in, w.out, w.er = in, out, er
	w.env = &Env{IOStreams: streams, Now: func() time.Time { return noon }, Follow: follow.Defaults,
		Connect:   func() (client.WithWatch, error) { return w.WithWatch, nil },
		Namespace: func() (string, error) { return "medic", nil },
		Terminal:  func(any) (func() int, bool) { return nil, false }}
	return w
}

// act is the controller: it brings forward every operation that has not ended.
func (w *world) act(t *testing.T, c client.Client) {
	if w.end == "" {
		return
	}
	ctx := context.Background()
	var backups api.BackupList
	var restores api.RestoreList
	if err := c.List(ctx, &backups); err != nil {
		t.Error(err)
	}
	if err := c.List(ctx, &restores); err != nil {
		t.Error(err)
	}
	for i := range backups.Items {
		if b := &backups.Items[i]; b.Status.Phase == "" {
			b.Status.Phase = w.end
			b.Status.Conditions = w.ready(w.end)
			if err := c.Status().Update(ctx, b); err != nil {
				t.Error(err)
			}
		}
	}
	for i := range restores.Items {
		r := &restores.Items[i]
		if r.DeletionTimestamp != nil {
			r.Finalizers = nil
			if err := c.Update(ctx, r); err != nil {
				t.Error(err)
			}
			continue
		}
		phase, conditions := w.next(r)
		if phase == r.Status.Phase {
			continue
		}
		if r.Status.Phase == "" {
			r.Finalizers = []string{api.Finalizer}
			if err := c.Update(ctx, r); err != nil {
				t.Error(err)
			}
		}
		r.Status.Phase, r.Status.Conditions = phase, conditions
		if phase == api.PhasePlanned {
			r.Status.Plan = somePlan()
		}
		if err := c.Status().Update(ctx, r); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			t.Error(err)
		}
	}
}

// next is what a controller does with a restore.
func (w *world) next(r *api.Restore) (api.Phase, []metav1.Condition) {
	switch {
	case r.Status.Phase == api.PhaseCompleted || r.Status.Phase == api.PhaseFailed || r.Status.Phase == api.PhaseExpired:
		return r.Status.Phase, nil
	case r.Spec.Abort:
		return api.PhaseFailed, condition(metav1.ConditionFalse, api.ReasonAborted, "aborted, as asked")
	case w.refuse != "":
		return api.PhaseFailed, condition(metav1.ConditionFalse, w.refuse, "the controller's refusal")
	case r.Spec.PlanOnly:
		return api.PhasePlanned, condition(metav1.ConditionUnknown, api.ReasonProgressing, "planned")
	default:
		return w.end, w.ready(w.end)
	}
}

func (w *world) ready(phase api.Phase) []metav1.Condition {
	if phase == api.PhaseFailed {
		return condition(metav1.ConditionFalse, api.ReasonPodNotReady, "the controller's message")
	}
	return condition(metav1.ConditionTrue, api.ReasonCompleted, "the controller's message")
}

func condition(status metav1.ConditionStatus, why, message string) []metav1.Condition {
	return []metav1.Condition{{Type: api.ConditionReady, Status: status, Reason: why, Message: message, LastTransitionTime: metav1.NewTime(noon)}}
}

func somePlan() *api.Plan {
	return &api.Plan{
		Steps:    []api.PlanStep{{Phase: api.PhaseVolumes, Actions: []string{"create claim couchdb-claim0"}}, {Phase: api.PhaseStopping, Actions: []string{"scale Deployment cht-api from 1 to 0"}}},
		Warnings: []string{"what came after the cut is not in it"},
	}
}

// somebody sits before the terminal and has typed this.
func (w *world) somebody(typed string) {
	w.env.Terminal = func(stream any) (func() int, bool) { return nil, stream == w.env.In }
	w.in.Reset()
	w.in.WriteString(typed)
}

// run gives the exit code and the error's text.
func (w *world) run(ctx context.Context, args ...string) (exit.Code, string) {
	w.out.Reset()
	w.er.Reset()
	root := Root(w.env, "test")
	root.SetArgs(args)
	err := exit.Under(ctx, root.ExecuteContext(ctx))
	if err == nil {
		return exit.Good, ""
	}
	return exit.Of(err), err.Error()
}

// mustRun also checks the code and that the error says certain things.
func (w *world) mustRun(t *testing.T, code exit.Code, says []string, args ...string) {
	t.Helper()
	got, message := w.run(t.Context(), args...)
	if got != code {
		t.Fatalf("%v: exit code %d, want %d: %s", args, got, code, message)
	}
	for _, s := range says {
		if !strings.Contains(message, s) {
			t.Errorf("%v: %q does not say %q", args, message, s)
		}
	}
}

func backupIn(phase api.Phase, uid types.UID, allowed ...string) *api.Backup {
	return &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "nightly", UID: uid, CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour))},
		Spec: api.BackupSpec{AllowedNamespaces: allowed}, Status: api.BackupStatus{Phase: phase}}
}

// recordOf makes a kept record through the store itself.
func recordOf(t *testing.T, namespace, name string, uid types.UID, cut time.Time, allowed ...string) *corev1.Secret {
	t.Helper()
	c := fake.NewClientBuilder().WithScheme(Scheme()).Build()
	head, err := catalog.Store{Client: c, Namespace: system}.Put(t.Context(), catalog.Record{Namespace: namespace, Name: name, UID: uid, CutTime: cut}, allowed)
	if err != nil {
		t.Fatal(err)
	}
	var secret corev1.Secret
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: system, Name: head}, &secret); err != nil {
		t.Fatal(err)
	}
	secret.ResourceVersion = ""
	return &secret
}

func decodeOut[T any](t *testing.T, w *world) (v T) {
	t.Helper()
	if err := json.Unmarshal(w.out.Bytes(), &v); err != nil {
		t.Fatalf("stdout is not one object: %v\n%s", err, w.out)
	}
	return v
}
