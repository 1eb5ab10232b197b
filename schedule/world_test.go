package schedule

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"k8s.io/apimachinery/pkg/runtime"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const namespaceName = "cht"

var errKilled = errors.New("the controller is killed")

// world is an API server, a clock, and a controller that can be killed at any of its
// calls.
type world struct {
	client.WithWatch
	*Reconciler
	t   *testing.T
	now time.Time
	// killIn calls the controller dies: before the call takes effect, or after it.
	killIn int
	after  bool
	// killAtCreate counts the calls of Create, of those to come, in which it dies.
	killAtCreate int
	// calls of the controller so far.
	calls int
	// made are the Backups and Restores created, by name, each as often as it was.
	made  map[string][]made
	order []string
	said  *events.FakeRecorder
}

type made struct {
	object client.Object
	at     time.Time
}

func newWorld(t *testing.T, now time.Time, objects ...client.Object) *world {
	t.Helper()
	w := &world{t: t, now: now, killIn: -1, made: map[string][]made{}, said: events.NewFakeRecorder(100_000)}
	scheme := runtime.NewScheme()
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	w.WithWatch = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&api.Backup{}, &api.Restore{}, &api.BackupSchedule{}).WithObjects(objects...).Build()
	w.start()
	return w
}

// start begins a new process of the controller.
func (w *world) start() {
	mortal := func(call func() error) error {
		w.calls++
		if w.killIn < 0 {
			return call()
		}
		if w.killIn--; w.killIn >= 0 {
			return call()
		}
		w.killIn = 0 // dead: nothing it still tries has an effect
		if w.after {
			w.after = false
			if err := call(); err != nil {
				return err
			}
		}
		return errKilled
	}
	c := interceptor.NewClient(w.WithWatch, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			return mortal(func() error { return c.Get(ctx, key, o, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return mortal(func() error { return c.List(ctx, list, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if w.killAtCreate > 0 && w.killIn < 0 {
				w.killAtCreate--
				w.killIn = 0
			}
			return mortal(func() error { return w.create(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return mortal(func() error { return c.Delete(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return mortal(func() error { return c.SubResource(sub).Patch(ctx, o, patch, opts...) })
		},
	})
	w.Reconciler = &Reconciler{Client: c, Events: w.said, Now: func() time.Time { return w.now }}
}

// create is the API server's side: it stamps, and notes.
func (w *world) create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	o.SetUID(types.UID(fmt.Sprintf("uid-%d", len(w.order))))
	o.SetCreationTimestamp(metav1.NewTime(w.now.Truncate(time.Second)))
	if err := w.WithWatch.Create(ctx, o, opts...); err != nil {
		return err
	}
	w.order = append(w.order, o.GetName())
	w.made[o.GetName()] = append(w.made[o.GetName()], made{o.DeepCopyObject().(client.Object), w.now})
	return nil
}

// reconcile runs one turn; dead tells that the controller was killed in it.
func (w *world) reconcile(name string) (again time.Duration, dead bool) {
	w.t.Helper()
	result, err := w.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: keyOf(name)})
	if errors.Is(err, errKilled) {
		return 0, true
	}
	if err != nil {
		w.t.Fatalf("%s: reconcile %s: %v", w.now, name, err)
	}
	return result.RequeueAfter, false
}

// mustReconcile runs one turn of a controller that lives, and gives what is stored.
func (w *world) mustReconcile(name string) *api.BackupSchedule {
	w.t.Helper()
	if _, dead := w.reconcile(name); dead {
		w.t.Fatal("killed")
	}
	return w.schedule(name)
}

func (w *world) schedule(name string) *api.BackupSchedule {
	w.t.Helper()
	s := &api.BackupSchedule{}
	if err := w.WithWatch.Get(w.t.Context(), keyOf(name), s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// end ends a backup well or not.
func (w *world) end(name string, good bool) {
	w.t.Helper()
	b := &api.Backup{}
	if err := w.WithWatch.Get(w.t.Context(), keyOf(name), b); err != nil {
		w.t.Fatal(err)
	}
	now := metav1.NewMicroTime(w.now)
	b.Status.CompletionTime = &now
	ready := metav1.Condition{Type: api.ConditionReady, Status: metav1.ConditionTrue, Reason: api.ReasonCompleted}
	b.Status.Phase = api.PhaseCompleted
	if good {
		b.Status.CutTime = &now
	} else {
		b.Status.Phase, ready.Status, ready.Reason = api.PhaseFailed, metav1.ConditionFalse, api.ReasonPodNotReady
	}
	meta.SetStatusCondition(&b.Status.Conditions, ready)
	if err := w.Status().Update(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) backups() []string {
	w.t.Helper()
	var list api.BackupList
	if err := w.WithWatch.List(w.t.Context(), &list); err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, b := range list.Items {
		names = append(names, b.Name)
	}
	return names
}

func scheduleOf(name, expression, zone string, created time.Time, change ...func(*api.BackupSchedule)) *api.BackupSchedule {
	s := &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: namespaceName, Name: name, CreationTimestamp: metav1.NewTime(created), Generation: 1},
		Spec: api.BackupScheduleSpec{Schedule: api.CronExpression(expression), TimeZone: zone}}
	for _, f := range change {
		f(s)
	}
	return s
}

func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func keyOf(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespaceName, Name: name}
}
