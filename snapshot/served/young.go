package served

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// grace is how long one who serves all leaves a new namespace alone: a controller that
// is set to serve it may have been waiting for it, as after a disaster, when the
// namespace and the restore into it are made in one moment, and needs so long to find
// it and to say so.
const grace = askAgain + settling + 2*look

// young is for how long a namespace is to be left alone yet. The time of its creation is
// by the API server's clock, so how long it has been known here counts as well: a clock
// that is behind costs no more than grace.
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
	left := grace - now.Sub(there.CreationTimestamp.Time)
	if left <= 0 {
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
		if now.Sub(at) > time.Hour {
			delete(n.met, uid)
		}
	}
	return max(0, min(left, grace-now.Sub(since))), nil
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
