package served

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Namespaces are those that this controller serves. Nil is all, with no others to heed.
type Namespaces struct {
	// client reads and writes Leases and reads Namespaces, at the API server.
	client client.Client
	// home is the controller's own namespace, me is what it is called in Leases.
	home, me string
	// listed are those it is for; nil is all that nobody else has.
	listed []string
	now    func() time.Time

	mu sync.Mutex
	// ready: all Leases were seen that there are. Only one that serves all asks.
	ready   bool
	held    map[string]hold
	seen    map[string]sighting
	gates   []*Gate
	flights map[string]map[*flight]bool
	scratch map[string]scratch
	met     met
}

// New gives the namespaces of a controller in namespace home, which is called name
// there. None listed is all.
func New(c client.Client, home, name string, listed []string, now func() time.Time) *Namespaces {
	n := &Namespaces{client: c, home: home, me: home + "/" + name, now: now, held: map[string]hold{}, seen: map[string]sighting{}, flights: map[string]map[*flight]bool{}, scratch: map[string]scratch{}, met: met{}}
	if len(listed) > 0 {
		// Its own too: the Backups there that show what a catalog has are none of others'.
		n.listed = append(slices.Clone(listed), home)
		slices.Sort(n.listed)
		n.listed = slices.Compact(n.listed)
	}
	return n
}

// all tells whether it serves every namespace that nobody else does.
func (n *Namespaces) all() bool { return n.listed == nil }

// Serves tells whether this controller may work on a namespace now, and if not, why.
func (n *Namespaces) Serves(ctx context.Context, namespace string) (ok bool, why string, err error) {
	if n == nil {
		return true, "", nil
	}
	owner, err := n.owner(ctx, namespace)
	if err != nil {
		return false, "", err
	}
	if left, err := n.young(ctx, owner); err != nil {
		return false, "", err
	} else if left > 0 {
		return false, fmt.Sprintf("namespace %s was made a moment ago; a controller that is set to serve it has %s left to say so", owner, left.Round(time.Second)), nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	ok, why = n.serves(owner)
	return ok, why, nil
}

// Expected tells whether a namespace is this controller's, or will be in a moment.
func (n *Namespaces) Expected(ctx context.Context, namespace string) (bool, error) {
	if n == nil {
		return true, nil
	}
	owner, err := n.owner(ctx, namespace)
	if err != nil {
		return false, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.held[owner]; !h.lapsed(n.now()) {
		return true, nil
	}
	ok, _ := n.serves(owner)
	return ok, nil
}

// Concerns tells whether this controller is to tell of a namespace: of one that it
// serves or should serve, also while it cannot. What nobody tells of looks well.
func (n *Namespaces) Concerns(namespace string) bool {
	if n == nil {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all() {
		return namespace == n.home || n.seen[namespace].left(n.now()) == 0
	}
	return slices.Contains(n.listed, namespace)
}

// serves decides. The caller holds mu.
func (n *Namespaces) serves(namespace string) (ok bool, why string) {
	now := n.now()
	if n.all() {
		if namespace == n.home {
			return true, ""
		}
		if !n.ready {
			return false, "it is not known yet which namespaces others serve"
		}
		if s := n.seen[namespace]; s.left(now) > 0 {
			return false, fmt.Sprintf("%s serves it", s.holder)
		}
		return true, ""
	}
	if !slices.Contains(n.listed, namespace) {
		return false, "it is not in this controller's setting namespaces"
	}
	h := n.held[namespace]
	switch {
	case h.valid(now):
		return true, ""
	case h.why != "":
		return false, h.why
	case h.lapsed(now):
		return false, "its Lease " + LeaseName + " is not held"
	}
	return false, "its Lease was got a moment ago, and others must hear of it first"
}

// Saw takes in a Lease of that name that is there.
func (n *Namespaces) Saw(l *coordinationv1.Lease) {
	n.mu.Lock()
	if h := holderOf(l); h == "" || h == n.me {
		delete(n.seen, l.Namespace)
	} else {
		n.seen[l.Namespace] = n.seen[l.Namespace].see(l, n.now())
	}
	n.mu.Unlock()
	n.review()
}

// Gone takes in that a Lease was deleted. When that frees its namespace is for settle
// to find out.
func (n *Namespaces) Gone(namespace string) {
	n.mu.Lock()
	if s, known := n.seen[namespace]; known && !s.gone {
		s.gone, s.at, s.lasts = true, n.now(), afterDeletion
		n.seen[namespace] = s
	}
	n.mu.Unlock()
}

// Ready says that all Leases that there are were seen.
func (n *Namespaces) Ready() {
	n.mu.Lock()
	n.ready = true
	n.mu.Unlock()
	n.review()
}

// review ends what is worked on in namespaces that are no longer served, and brings
// back what waited in those that are now.
func (n *Namespaces) review() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for owner, flights := range n.flights {
		if ok, why := n.serves(owner); !ok {
			for f := range flights {
				f.cancel(fmt.Errorf("namespace %s is not this controller's to work on any more: %s", owner, why))
			}
		}
	}
	for _, g := range n.gates {
		for owner, requests := range g.waiting {
			if ok, _ := n.serves(owner); !ok || g.queue == nil {
				continue
			}
			for r := range requests {
				g.queue.Add(r)
			}
			delete(g.waiting, owner)
		}
	}
}
