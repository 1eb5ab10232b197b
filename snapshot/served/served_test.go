package served

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// world is a cluster with some controllers, whose time the test makes pass.
type world struct {
	t     *testing.T
	now   time.Time
	kube  client.WithWatch
	funcs interceptor.Funcs
	seen  map[string]bool // Leases that those who serve all were told of
	all   []*controller
}

// controller is one, with a reconciler that notes what it was let work on.
type controller struct {
	*Namespaces
	w      *world
	gate   *Gate
	queue  workqueue.TypedRateLimitingInterface[reconcile.Request]
	worked []string
	skew   time.Duration // of its clock
	dead   bool
	during func(context.Context) // what the reconciler does
}

func newWorld(t *testing.T, namespaces ...string) *world {
	t.Helper()
	w := &world{t: t, now: epoch, seen: map[string]bool{}}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	w.kube = fake.NewClientBuilder().WithScheme(scheme).Build()
	for _, n := range namespaces {
		w.namespace(n, nil)
	}
	return w
}

func (w *world) namespace(name string, annotations map[string]string) {
	w.t.Helper()
	if err := w.kube.Create(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations, UID: types.UID(fmt.Sprint(name, w.now.UnixNano())), CreationTimestamp: metav1.NewTime(w.now)}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) controller(home string, listed ...string) *controller {
	c := &controller{w: w, queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())}
	w.t.Cleanup(c.queue.ShutDown)
	kube := interceptor.NewClient(w.kube, interceptor.Funcs{
		Get: func(ctx context.Context, inner client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if f := w.funcs.Get; f != nil {
				return f(ctx, inner, key, o, opts...)
			}
			return inner.Get(ctx, key, o, opts...)
		},
		Create: func(ctx context.Context, inner client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if f := w.funcs.Create; f != nil {
				return f(ctx, inner, o, opts...)
			}
			// As the API server does, and the fake does not.
			if err := inner.Get(ctx, client.ObjectKey{Name: o.GetNamespace()}, &corev1.Namespace{}); err != nil {
				return err
			}
			o.SetCreationTimestamp(metav1.NewTime(w.now))
			return inner.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, inner client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if f := w.funcs.Update; f != nil {
				return f(ctx, inner, o, opts...)
			}
			return inner.Update(ctx, o, opts...)
		},
	})
	c.Namespaces = New(kube, home, "cht-backup", listed, func() time.Time { return w.now.Add(c.skew) })
	c.gate = c.Gate(reconcile.Func(func(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
		if c.during != nil {
			c.during(ctx)
		}
		if ctx.Err() != nil {
			return reconcile.Result{}, ctx.Err()
		}
		c.worked = append(c.worked, req.String())
		return reconcile.Result{}, nil
	}))
	if err := c.gate.Woken().Start(w.t.Context(), c.queue); err != nil {
		w.t.Fatal(err)
	}
	w.all = append(w.all, c)
	w.tell()
	if c.all() {
		c.Ready()
	}
	return c
}

// tell is what a watch does.
func (w *world) tell() {
	w.t.Helper()
	var leases coordinationv1.LeaseList
	if err := w.kube.List(w.t.Context(), &leases); err != nil {
		w.t.Fatal(err)
	}
	now := map[string]bool{}
	for i := range leases.Items {
		now[leases.Items[i].Namespace] = true
	}
	for _, c := range w.all {
		if !c.all() || c.dead {
			continue
		}
		for i := range leases.Items {
			c.Saw(&leases.Items[i])
		}
		for n := range w.seen {
			if !now[n] {
				c.Gone(n)
			}
		}
	}
	w.seen = now
}

// pass makes time pass, in which every controller that lives does what is due. Never do
// two of them serve one namespace.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	for ; d > 0; d -= look {
		for _, c := range w.all {
			if !c.dead {
				c.Round(w.t.Context())
			}
			w.tell()
			w.alone()
		}
		w.now = w.now.Add(look)
		w.alone()
	}
}

func (w *world) alone() {
	w.t.Helper()
	var namespaces corev1.NamespaceList
	if err := w.kube.List(w.t.Context(), &namespaces); err != nil {
		w.t.Fatal(err)
	}
	for _, n := range namespaces.Items {
		var who []string
		for _, c := range w.all {
			if ok, _, err := c.Serves(w.t.Context(), n.Name); err != nil {
				w.t.Fatal(err)
			} else if ok {
				who = append(who, c.me)
			}
		}
		if len(who) > 1 {
			w.t.Fatalf("at %s namespace %s is served by %v", w.now.Sub(epoch), n.Name, who)
		}
	}
}

func (c *controller) serves(namespace string) bool {
	c.w.t.Helper()
	ok, _, err := c.Serves(c.w.t.Context(), namespace)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return ok
}

func (c *controller) reconcile(namespace, name string) {
	c.w.t.Helper()
	req := reconcile.Request{}
	req.Namespace, req.Name = namespace, name
	if _, err := c.gate.Reconcile(c.w.t.Context(), req); err != nil {
		c.w.t.Fatal(err)
	}
}

// woken works on what came back by itself.
func (c *controller) woken() {
	c.w.t.Helper()
	for c.queue.Len() > 0 {
		req, _ := c.queue.Get()
		c.queue.Done(req)
		c.reconcile(req.Namespace, req.Name)
	}
}

// One is for medic, the other for all: each has its own, and when the first is gone the
// other takes its namespace over, with what it had turned away.
func TestTakeover(t *testing.T) {
	w := newWorld(t, "medic", "other", "medic-backup", "system")
	one := w.controller("medic-backup", "medic")
	w.pass(30 * time.Second)
	all := w.controller("system")
	w.pass(30 * time.Second)
	for _, c := range []*controller{one, all} {
		for _, n := range []string{"medic", "other", "medic-backup", "system"} {
			c.reconcile(n, "nightly")
		}
	}
	if want := []string{"medic/nightly", "medic-backup/nightly"}; !slices.Equal(one.worked, want) {
		t.Errorf("the one for medic worked on %v", one.worked)
	}
	if want := []string{"other/nightly", "system/nightly"}; !slices.Equal(all.worked, want) {
		t.Errorf("the one for all worked on %v", all.worked)
	}
	// As long as it lives, it stays so.
	w.pass(time.Hour)
	if !one.serves("medic") || all.serves("medic") {
		t.Error("it does not stay so")
	}
	one.dead = true
	w.pass(trusted)
	if one.serves("medic") {
		t.Error("one that can renew nothing works on")
	}
	w.pass(Duration)
	all.woken()
	if want := []string{"other/nightly", "system/nightly", "medic/nightly", "medic-backup/nightly"}; !all.serves("medic") || len(all.worked) != 4 || !slices.Contains(all.worked, want[2]) || !slices.Contains(all.worked, want[3]) {
		t.Errorf("the other serves medic: %v, and has worked on %v", all.serves("medic"), all.worked)
	}
	// It comes back: the namespace is its again, and nobody else's meanwhile.
	one.dead = false
	w.pass(time.Minute)
	if !one.serves("medic") || all.serves("medic") {
		t.Error("it does not get its namespace back")
	}
}

// What is being worked on ends when the namespace becomes another's, and whoever has it
// goes on.
func TestTurnedAway(t *testing.T) {
	w := newWorld(t, "medic", "medic-backup", "system")
	all := w.controller("system")
	one := w.controller("medic-backup", "medic")
	all.during = func(ctx context.Context) {
		w.pass(look)
		<-ctx.Done() // the cut is given up; it would wait for ever else
	}
	all.reconcile("medic", "nightly")
	if len(all.worked) > 0 || all.serves("medic") {
		t.Error("it worked to the end")
	}
	one.reconcile("medic", "nightly")
	w.pass(30 * time.Second)
	one.woken()
	if !slices.Equal(one.worked, []string{"medic/nightly"}) {
		t.Errorf("worked on %v", one.worked)
	}
}

// One that is told to end says so: another has the namespace soon. One that is started
// anew goes on.
func TestLeave(t *testing.T) {
	w := newWorld(t, "medic", "medic-backup", "system")
	one, all := w.controller("medic-backup", "medic"), w.controller("system")
	w.pass(time.Minute)
	one.dead = true
	one.Leave(t.Context())
	w.pass(trusted)
	if !all.serves("medic") {
		t.Error("it is not taken over")
	}
	one.dead = false
	w.pass(time.Minute)
	one.dead = true
	one.Leave(t.Context())
	w.tell()
	again := w.controller("medic-backup", "medic")
	w.all = w.all[1:] // the process is gone, with what it believed
	w.pass(settling + 2*look)
	if all.serves("medic") || !again.serves("medic") {
		t.Error("one that is started anew does not go on")
	}
}

// Clocks differ, and are set, as far as they like.
func TestClocks(t *testing.T) {
	for _, skew := range []time.Duration{0, -72 * time.Hour, 72 * time.Hour} {
		w := newWorld(t, "medic", "medic-backup", "system")
		one, all := w.controller("medic-backup", "medic"), w.controller("system")
		one.skew = skew
		w.pass(10 * time.Minute)
		if !one.serves("medic") || all.serves("medic") {
			t.Errorf("with its clock off by %s it does not serve its namespace", skew)
		}
		one.dead = true
		w.pass(2 * Duration)
		if !all.serves("medic") {
			t.Errorf("of one whose clock was off by %s the namespace is not taken over", skew)
		}
	}
}

// A clock that jumps, as the wall clock of a whole node does when it wakes: whoever was
// not there stops, and begins again when others have heard.
func TestClockJumps(t *testing.T) {
	w := newWorld(t, "medic", "medic-backup", "system")
	one, all := w.controller("medic-backup", "medic"), w.controller("system")
	w.pass(time.Minute)
	for _, jump := range []time.Duration{time.Hour, -30 * time.Minute, 24 * time.Hour} {
		one.skew += jump
		if jump > 0 && one.serves("medic") {
			t.Error("it works on after an hour in which it renewed nothing")
		}
		w.pass(2 * time.Minute)
		if !one.serves("medic") || all.serves("medic") {
			t.Errorf("after a jump of %s it does not serve its namespace", jump)
		}
	}
}

// Two with one namespace in their lists: the first has it, until it is gone.
func TestTwoLists(t *testing.T) {
	w := newWorld(t, "medic", "a", "b")
	first := w.controller("a", "medic")
	w.pass(time.Minute)
	second := w.controller("b", "medic")
	w.pass(time.Hour)
	_, why, _ := second.Serves(t.Context(), "medic")
	if !first.serves("medic") || !strings.Contains(why, "a/cht-backup serves it") {
		t.Errorf("the second is not served since %q", why)
	}
	first.dead = true
	w.pass(2 * Duration)
	if !second.serves("medic") {
		t.Error("the second does not take it over")
	}
	first.dead = false
	w.pass(time.Hour)
	if first.serves("medic") || !second.serves("medic") {
		t.Error("the first takes it back from one that has it")
	}
	var l coordinationv1.Lease
	if err := w.kube.Get(t.Context(), client.ObjectKey{Namespace: "medic", Name: LeaseName}, &l); err != nil || *l.Spec.LeaseTransitions != 2 {
		t.Errorf("%+v, %v", l.Spec, err)
	}
}

// The Lease is deleted by hand: its holder makes it again, and nobody else has begun.
func TestLeaseDeleted(t *testing.T) {
	w := newWorld(t, "medic", "medic-backup", "system")
	one, all := w.controller("medic-backup", "medic"), w.controller("system")
	w.pass(10 * time.Minute)
	if err := w.kube.Delete(t.Context(), leaseOf("", epoch, 0)); err != nil {
		t.Fatal(err)
	}
	w.pass(10 * time.Minute)
	if !one.serves("medic") {
		t.Error("it is not served any more")
	}
	// That of one that is gone: free, sooner than if it had been left.
	one.dead = true
	w.pass(trusted)
	if err := w.kube.Delete(t.Context(), leaseOf("", epoch, 0)); err != nil {
		t.Fatal(err)
	}
	w.pass(afterDeletion + 2*look)
	if !all.serves("medic") {
		t.Error("it is not taken over")
	}
}

// The namespace goes, and all in it: he who had it ends what he had begun, and it is free
// when it is there again.
func TestNamespaceDeleted(t *testing.T) {
	w := newWorld(t, "system", "medic-backup")
	if err := w.kube.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic", Finalizers: []string{"kubernetes"}}}); err != nil {
		t.Fatal(err)
	}
	one, all := w.controller("medic-backup", "medic"), w.controller("system")
	w.pass(time.Minute)
	medic := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic"}}
	if err := errors.Join(w.kube.Delete(t.Context(), medic), w.kube.Delete(t.Context(), leaseOf("", epoch, 0))); err != nil {
		t.Fatal(err)
	}
	w.funcs.Create = func(ctx context.Context, inner client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if o.GetNamespace() != "medic" {
			return inner.Create(ctx, o, opts...)
		}
		err := apierrors.NewForbidden(schema.GroupResource{Resource: "leases"}, o.GetName(), errors.New("it is being terminated"))
		err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
		return err
	}
	w.pass(time.Hour)
	if !one.serves("medic") || all.serves("medic") {
		t.Error("nobody ends what is in it, or another does")
	}
	// He who had it is gone for good: another ends it.
	one.dead = true
	one.Leave(t.Context())
	w.pass(trusted)
	if one.serves("medic") || !all.serves("medic") {
		t.Error("it is left to one that is gone")
	}
	w.funcs.Create = nil
	if err := w.kube.Get(t.Context(), client.ObjectKeyFromObject(medic), medic); err != nil {
		t.Fatal(err)
	}
	medic.Finalizers = nil
	if err := w.kube.Update(t.Context(), medic); err != nil {
		t.Fatal(err)
	}
	w.namespace("medic", nil)
	w.pass(3 * look)
	if !all.serves("medic") {
		t.Error("a new one of that name is left to one that is gone")
	}
}

// A namespace that is not there, or without rights, is one's own trouble: the others are
// served, and it is too when it comes.
func TestMissing(t *testing.T) {
	w := newWorld(t, "medic", "home")
	c := w.controller("home", "medic", "later", "forbidden")
	refused := apierrors.NewForbidden(schema.GroupResource{Resource: "leases"}, LeaseName, errors.New("no"))
	w.funcs.Get = func(ctx context.Context, inner client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if key.Namespace == "forbidden" {
			return refused
		}
		return inner.Get(ctx, key, o, opts...)
	}
	w.pass(time.Minute)
	c.reconcile("forbidden", "nightly")
	_, absent, _ := c.Serves(t.Context(), "later")
	_, without, _ := c.Serves(t.Context(), "forbidden")
	if !c.serves("medic") || !strings.Contains(absent, "not found") || !strings.Contains(without, "forbidden") {
		t.Errorf("medic %v, later %q, forbidden %q", c.serves("medic"), absent, without)
	}
	w.funcs.Get = nil
	w.namespace("later", nil)
	w.namespace("forbidden", nil)
	w.pass(askAgain + settling + 2*look)
	c.woken()
	if !c.serves("later") || !c.serves("forbidden") || !slices.Equal(c.worked, []string{"forbidden/nightly"}) {
		t.Errorf("served: %v, %v; worked on %v", c.serves("later"), c.serves("forbidden"), c.worked)
	}
}

// The scratch namespace of a drill is whose the instance is.
func TestScratch(t *testing.T) {
	w := newWorld(t, "medic", "medic-backup", "system", "other")
	one, all := w.controller("medic-backup", "medic"), w.controller("system")
	w.namespace("medic-scratch-0a1b2c3d", map[string]string{api.ScratchForAnnotation: "medic/drill"})
	w.namespace("other-scratch-0a1b2c3d", map[string]string{api.ScratchForAnnotation: "other/drill"})
	// Somebody who may make namespaces would have medic's controller work for him.
	w.namespace("mine-scratch-0a1b2c3d", map[string]string{api.ScratchForAnnotation: "medic/drill"})
	w.namespace("medic-scratch-11111111", nil)
	w.pass(time.Minute)
	for namespace, ours := range map[string]bool{"medic-scratch-0a1b2c3d": true, "other-scratch-0a1b2c3d": false, "mine-scratch-0a1b2c3d": false, "medic-scratch-11111111": false} {
		if one.serves(namespace) != ours || all.serves(namespace) == ours {
			t.Errorf("%s: %v and %v", namespace, one.serves(namespace), all.serves(namespace))
		}
	}
	// What is left of one that is gone is seen to by whom it was.
	if err := w.kube.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic-scratch-0a1b2c3d"}}); err != nil {
		t.Fatal(err)
	}
	w.pass(10 * time.Minute)
	if !one.serves("medic-scratch-0a1b2c3d") {
		t.Error("nobody sees to what is left of a scratch namespace")
	}
}

// Without a list and without others nothing is asked at all, and nil serves everything.
func TestAlone(t *testing.T) {
	w := newWorld(t, "medic", "system")
	w.funcs.Get = func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		t.Error("something was asked")
		return nil
	}
	c := w.controller("system")
	w.pass(time.Minute)
	c.reconcile("medic", "nightly")
	if len(c.worked) != 1 {
		t.Errorf("worked on %v", c.worked)
	}
	var none *Namespaces
	worked := false
	g := none.Gate(reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
		worked = true
		return reconcile.Result{}, nil
	}))
	_, err := g.Reconcile(t.Context(), reconcile.Request{})
	if ok, _, servesErr := none.Serves(t.Context(), "medic"); !ok || !worked || err != nil || servesErr != nil || g.Woken().Start(t.Context(), c.queue) != nil {
		t.Error("nil does not serve all")
	}
}

// Before the Leases that there are were seen, nothing is worked on.
func TestNotReady(t *testing.T) {
	w := newWorld(t, "medic", "system")
	c := w.controller("system")
	c.ready = false
	c.reconcile("medic", "nightly")
	if len(c.worked) > 0 {
		t.Error("it worked without knowing what others do")
	}
	c.Ready()
	c.woken()
	if len(c.worked) != 1 {
		t.Error("it does not come back")
	}
}

// What the log says, it says once.
func TestTell(t *testing.T) {
	w := newWorld(t, "medic", "home")
	c := w.controller("home", "medic")
	said, lines := map[string]string{}, 0
	tell := func() { c.tell(said, func(string, ...any) { lines++ }) }
	tell()
	tell()
	w.pass(time.Minute)
	tell()
	tell()
	if lines != 4 || said["medic"] != "served" {
		t.Errorf("%d lines; said %v", lines, said)
	}
}

// Who tells of a namespace: one of two that live; and one that cannot work there for the
// moment goes on, or a namespace that nobody backs up would look well.
func TestConcerns(t *testing.T) {
	w := newWorld(t, "medic", "other", "medic-backup", "system")
	one := w.controller("medic-backup", "medic")
	all := w.controller("system")
	w.pass(time.Minute)
	if !one.Concerns("medic") || one.Concerns("other") || all.Concerns("medic") || !all.Concerns("other") || !all.Concerns("system") {
		t.Error("not each tells of his own")
	}
	one.dead = true
	w.pass(trusted)
	if one.serves("medic") || !one.Concerns("medic") || all.Concerns("medic") {
		t.Error("nobody tells of a namespace whose controller cannot work")
	}
	w.pass(Duration)
	if !all.Concerns("medic") {
		t.Error("whoever takes it over does not tell of it")
	}
	if !(*Namespaces)(nil).Concerns("any") {
		t.Error("one that serves all without a question does not tell of all")
	}
}

// After a disaster the namespace is made anew, and the restore into it in the same moment.
// Who serves all leaves both to him who is set to serve it, also where clocks differ; and
// he does not wait for anybody then.
func TestMadeAnew(t *testing.T) {
	for name, skew := range map[string]time.Duration{"equal clocks": 0, "one that is behind": -time.Hour, "one that is ahead": 5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "medic-backup", "system")
			all := w.controller("system")
			all.skew = skew
			one := w.controller("medic-backup", "medic")
			w.pass(time.Hour)
			w.namespace("medic", nil)
			one.reconcile("medic", "restore")
			all.reconcile("medic", "restore")
			if len(all.worked) > 0 || all.serves("medic") {
				t.Fatal("one that serves all takes a namespace before he who is set to serve it can know of it")
			}
			w.pass(2 * askAgain)
			if one.woken(); !slices.Equal(one.worked, []string{"medic/restore"}) {
				t.Errorf("he has worked on %v", one.worked)
			}
			w.pass(grace)
			if all.reconcile("medic", "restore"); len(all.worked) > 0 {
				t.Errorf("who serves all on %v", all.worked)
			}
			// One that nobody else is set to serve is taken after that time, not later.
			w.namespace("clone", nil)
			result, err := all.gate.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "clone", Name: "restore"}})
			if err != nil || result.RequeueAfter <= 0 || result.RequeueAfter > grace || len(all.worked) > 0 {
				t.Errorf("%+v, %v; worked on %v", result, err, all.worked)
			}
			w.pass(grace)
			all.reconcile("clone", "restore")
			if !slices.Equal(all.worked, []string{"clone/restore"}) {
				t.Errorf("worked on %v", all.worked)
			}
		})
	}
}

// One that comes to a namespace late waits until others have heard of it.
func TestNotEarly(t *testing.T) {
	w := newWorld(t, "medic", "medic-backup", "system")
	all := w.controller("system")
	w.pass(grace)
	all.reconcile("medic", "nightly")
	one := w.controller("medic-backup", "medic")
	w.pass(look)
	if one.serves("medic") || all.serves("medic") {
		t.Errorf("served at once: %v, by the other still: %v", one.serves("medic"), all.serves("medic"))
	}
	w.pass(settling)
	if !one.serves("medic") {
		t.Error("it is never served")
	}
}

// Nor may one that is new himself take for granted that others know of him.
func TestNewHimself(t *testing.T) {
	w := newWorld(t, "medic-backup", "system")
	all := w.controller("system")
	w.pass(time.Minute)
	w.namespace("medic", nil)
	all.reconcile("medic", "nightly") // nobody else is there yet
	one := w.controller("medic-backup", "medic")
	w.pass(look)
	if one.serves("medic") {
		t.Error("he serves at once where another is at work")
	}
	w.pass(settling + look)
	if !one.serves("medic") || !slices.Equal(all.worked, []string{"medic/nightly"}) {
		t.Errorf("served: %v; the other worked on %v", one.serves("medic"), all.worked)
	}
}
