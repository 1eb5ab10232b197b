package served

import (
	"context"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// look is how often it is looked which Leases ran out, and which are to be renewed.
const look = 5 * time.Second

// Runner holds this controller's Leases, or heeds those of others, for as long as the
// controller leads.
type Runner struct {
	Namespaces *Namespaces
	// Leases watches those of that name. Only a controller that serves all asks.
	Leases cache.Cache
}

// NeedLeaderElection says that one of several controllers of one name does it.
func (Runner) NeedLeaderElection() bool { return true }

// Start works until the context ends.
func (r Runner) Start(ctx context.Context) error {
	n := r.Namespaces
	if n.all() {
		if err := r.heed(ctx); err != nil {
			return err
		}
	}
	ticks := time.NewTicker(look)
	defer ticks.Stop()
	said := map[string]string{}
	for {
		n.Round(ctx)
		n.tell(said, log.FromContext(ctx).WithName("served").Info)
		select {
		case <-ctx.Done():
			// It may be for good: nobody shall wait for long then.
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), look)
			defer cancel()
			n.Leave(end)
			return nil
		case <-ticks.C:
		}
	}
}

// Leave ends the work, and says in the Leases that this controller goes, as far as there
// is time.
func (n *Namespaces) Leave(ctx context.Context) {
	n.mu.Lock()
	clear(n.held)
	n.mu.Unlock()
	n.review()
	for _, namespace := range n.listed {
		l := &coordinationv1.Lease{}
		if ctx.Err() != nil || n.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: LeaseName}, l) != nil || holderOf(l) != n.me {
			continue
		}
		ours(l, namespace, n.me, n.now(), onLeaving)
		_ = n.client.Update(ctx, l) // it runs out by itself, later
	}
}

// alive tells whether a controller still has the Lease of its own namespace. The caller
// holds mu.
func (n *Namespaces) alive(holder string) bool {
	home, _, _ := strings.Cut(holder, "/")
	s := n.seen[home]
	return s.holder == holder && !s.gone && s.left(n.now()) > 0
}

// heed takes in the Leases that there are, and what becomes of them.
func (r Runner) heed(ctx context.Context) error {
	informer, err := r.Leases.GetInformer(ctx, &coordinationv1.Lease{})
	if err != nil {
		return fmt.Errorf("watch the Leases %s: %w", LeaseName, err)
	}
	saw := func(o any) {
		if l, ok := o.(*coordinationv1.Lease); ok && l.Name == LeaseName {
			r.Namespaces.Saw(l)
		}
	}
	registered, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    saw,
		UpdateFunc: func(_, o any) { saw(o) },
		DeleteFunc: func(o any) {
			if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = last.Obj
			}
			if l, ok := o.(*coordinationv1.Lease); ok && l.Name == LeaseName {
				r.Namespaces.Gone(l.Namespace)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch the Leases %s: %w", LeaseName, err)
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), registered.HasSynced) {
		return nil // it ends
	}
	r.Namespaces.Ready()
	return nil
}

// Round does what is due: it renews Leases, looks what became of those that are gone,
// and lets in what may be worked on now.
func (n *Namespaces) Round(ctx context.Context) {
	for _, namespace := range n.listed {
		if ctx.Err() != nil {
			return
		}
		n.mu.Lock()
		h := n.held[namespace]
		n.mu.Unlock()
		if h.due(n.now()) {
			n.claim(ctx, namespace)
		}
	}
	n.settle(ctx)
	n.review()
}

// claim gets or renews the Lease of one namespace.
func (n *Namespaces) claim(ctx context.Context, namespace string) {
	begun := n.now()
	early, err := n.write(ctx, namespace, begun)
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.held[namespace]
	h.tried = begun
	switch {
	case err == nil:
		h = h.renew(begun, n.now())
		if early {
			h.from = begun
		}
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// There can be no Lease any more, for nobody, and what is left must be ended by
		// him who began it.
		if h.valid(begun) {
			h.renewed = begun
		} else {
			h.why = "the namespace is being deleted"
		}
	default:
		h.why = err.Error()
	}
	n.held[namespace] = h
}

// write makes the Lease this controller's, unless it is somebody else's and fresh. early
// tells that nobody else can have begun there.
func (n *Namespaces) write(ctx context.Context, namespace string, now time.Time) (early bool, err error) {
	l := &coordinationv1.Lease{}
	err = n.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: LeaseName}, l)
	if apierrors.IsNotFound(err) {
		ours(l, namespace, n.me, now, Duration)
		if err := n.client.Create(ctx, l); err != nil {
			return false, fmt.Errorf("create Lease %s/%s: %w", namespace, LeaseName, err)
		}
		return n.early(ctx, l), nil
	}
	if err != nil {
		return false, fmt.Errorf("get Lease %s/%s: %w", namespace, LeaseName, err)
	}
	if h := holderOf(l); h != "" && h != n.me {
		n.mu.Lock()
		s := n.seen[namespace].see(l, now)
		n.seen[namespace] = s
		n.mu.Unlock()
		if s.left(now) > 0 {
			return false, fmt.Errorf("%s serves it, by Lease %s/%s", h, namespace, LeaseName)
		}
	}
	ours(l, namespace, n.me, now, Duration)
	if err := n.client.Update(ctx, l); err != nil {
		return false, fmt.Errorf("renew Lease %s/%s: %w", namespace, LeaseName, err)
	}
	return false, nil
}

// settle looks what it means that Leases are gone: with their namespaces, or soon with
// them, or by somebody's hand.
func (n *Namespaces) settle(ctx context.Context) {
	n.mu.Lock()
	var gone []string
	for namespace, s := range n.seen {
		if s.gone {
			gone = append(gone, namespace)
		}
	}
	n.mu.Unlock()
	for _, namespace := range gone {
		var there corev1.Namespace
		err := n.client.Get(ctx, client.ObjectKey{Name: namespace}, &there)
		if err != nil && !apierrors.IsNotFound(err) {
			continue // asked again in a moment; until then it stays as it was
		}
		n.mu.Lock()
		s := n.seen[namespace]
		switch {
		case !s.gone: // another has it meanwhile
		case err != nil || s.left(n.now()) == 0:
			delete(n.seen, namespace)
		case there.DeletionTimestamp != nil && n.alive(s.holder):
			// There can be no Lease in it any more, and he alone knows what he had begun.
			s.at = n.now()
			n.seen[namespace] = s
		case there.DeletionTimestamp != nil:
			delete(n.seen, namespace)
		}
		n.mu.Unlock()
	}
}

// tell logs what has changed of the namespaces of the list.
func (n *Namespaces) tell(said map[string]string, info func(string, ...any)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, namespace := range n.listed {
		ok, why := n.serves(namespace)
		if ok {
			why = "served"
		}
		if said[namespace] != why {
			said[namespace] = why
			info("namespace", "namespace", namespace, "state", why)
		}
	}
}
