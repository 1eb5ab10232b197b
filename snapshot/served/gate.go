package served

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Gate is a reconciler that works only on what this controller serves. What it turns
// away comes back by itself when that changes.
type Gate struct {
	inner      reconcile.Reconciler
	namespaces *Namespaces
	// queue is that of the reconciler's workers. waiting is what was turned away, by the
	// namespace that decides. Both are guarded by the namespaces' mu.
	queue   workqueue.TypedRateLimitingInterface[reconcile.Request]
	waiting map[string]map[reconcile.Request]bool
}

// flight is one turn of a reconciler.
type flight struct{ cancel context.CancelCauseFunc }

// Gate puts one before a reconciler.
func (n *Namespaces) Gate(inner reconcile.Reconciler) *Gate {
	g := &Gate{inner: inner, namespaces: n, waiting: map[string]map[reconcile.Request]bool{}}
	if n != nil {
		n.mu.Lock()
		n.gates = append(n.gates, g)
		n.mu.Unlock()
	}
	return g
}

// Woken is the source of what comes back.
func (g *Gate) Woken() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		if n := g.namespaces; n != nil {
			n.mu.Lock()
			g.queue = queue
			n.mu.Unlock()
			n.review()
		}
		return nil
	})
}

// Reconcile lets the reconciler work, for as long as the namespace is this
// controller's.
func (g *Gate) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	n := g.namespaces
	if n == nil {
		return g.inner.Reconcile(ctx, req)
	}
	owner, err := n.owner(ctx, req.Namespace)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("see who serves namespace %s: %w", req.Namespace, err)
	}
	if left, err := n.young(ctx, owner); err != nil {
		return reconcile.Result{}, fmt.Errorf("see who serves namespace %s: %w", req.Namespace, err)
	} else if left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &flight{cancel: cancel}
	if !g.enter(owner, req, f) {
		return reconcile.Result{}, nil
	}
	defer n.leave(owner, f)
	result, err := g.inner.Reconcile(ctx, req)
	if cause := context.Cause(ctx); cause != nil && g.turnedAway(owner, req) {
		// Whoever serves it now goes on from what is written down, as after a crash.
		log.FromContext(ctx).Info("left to another controller in the middle", "why", cause.Error())
		return reconcile.Result{}, nil
	}
	return result, err
}

// enter notes a turn that begins, or else that it waits.
func (g *Gate) enter(owner string, req reconcile.Request, f *flight) bool {
	n := g.namespaces
	n.mu.Lock()
	defer n.mu.Unlock()
	if ok, _ := n.serves(owner); !ok {
		g.wait(owner, req)
		return false
	}
	if n.flights[owner] == nil {
		n.flights[owner] = map[*flight]bool{}
	}
	n.flights[owner][f] = true
	return true
}

// turnedAway tells whether a turn that ended early did so since the namespace is no
// longer this controller's, and notes that it waits then.
func (g *Gate) turnedAway(owner string, req reconcile.Request) bool {
	n := g.namespaces
	n.mu.Lock()
	defer n.mu.Unlock()
	if ok, _ := n.serves(owner); ok {
		return false
	}
	g.wait(owner, req)
	return true
}

// wait keeps what may become this controller's. The caller holds mu.
func (g *Gate) wait(owner string, req reconcile.Request) {
	if !g.namespaces.all() && !slices.Contains(g.namespaces.listed, owner) {
		return
	}
	if g.waiting[owner] == nil {
		g.waiting[owner] = map[reconcile.Request]bool{}
	}
	g.waiting[owner][req] = true
}

func (n *Namespaces) leave(owner string, f *flight) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.flights[owner], f)
	if len(n.flights[owner]) == 0 {
		delete(n.flights, owner)
	}
}
