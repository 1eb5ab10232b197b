package served

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// grace is how long one who serves all leaves a new namespace alone: a controller that
// is set to serve it may have been waiting for it, as after a disaster, when the
// namespace and the restore into it are made in one moment, and needs so long to find
// it and to say so.
const grace = askAgain + settling + 2*look

// apart is how far this clock and the API server's may be apart. By them alone a
// namespace is no longer new after that time.
const apart = 10 * time.Minute

// young is for how long a namespace is to be left alone yet: grace from when it was first
// asked about, by this clock alone. That is once for each namespace that is made, and
// costs those that are new when the controller starts no more.
func (n *Namespaces) young(ctx context.Context, namespace string) (time.Duration, error) {
	if !n.heedsOthers() || namespace == n.home {
		return 0, nil
	}
	var there corev1.Namespace
	if err := n.client.Get(ctx, client.ObjectKey{Name: namespace}, &there); client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("get namespace %s: %w", namespace, err)
	} else if err != nil {
		return 0, nil // what is left of it is to be ended
	}
	now := n.now()
	if now.Sub(there.CreationTimestamp.Time) > apart {
		return 0, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	since, known := n.met[there.UID]
	if !known {
		since = now
		n.met[there.UID] = now
	}
	for uid, at := range n.met {
		if now.Sub(at) > 2*apart {
			delete(n.met, uid)
		}
	}
	if now.Before(since) { // the clock was set
		since = now
		n.met[there.UID] = now
	}
	return max(0, grace-now.Sub(since)), nil
}

// early tells that a Lease that was just made came so soon after its namespace that
// nobody who serves all can have begun there: they knew of this controller, by the Lease
// in its own namespace, when the other one was made. Its age is by the API server's clock.
func (n *Namespaces) early(ctx context.Context, l *coordinationv1.Lease) bool {
	const margin = 5 * time.Second
	n.mu.Lock()
	home, now := n.held[n.home], n.now()
	n.mu.Unlock()
	if !home.valid(now) || now.Sub(home.since) < grace {
		return false
	}
	var there corev1.Namespace
	if err := n.client.Get(ctx, client.ObjectKey{Name: l.Namespace}, &there); err != nil || l.CreationTimestamp.IsZero() || there.CreationTimestamp.IsZero() {
		return false // it waits, then
	}
	age := l.CreationTimestamp.Sub(there.CreationTimestamp.Time)
	return age >= 0 && age < grace-margin
}

// heedsOthers tells whether this controller serves all but what others do, and there are
// some.
func (n *Namespaces) heedsOthers() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.all() {
		return false
	}
	for _, s := range n.seen {
		if s.left(n.now()) > 0 {
			return true
		}
	}
	return false
}

// met are namespaces that were young when they were first asked about, and when that was.
type met map[types.UID]time.Time
