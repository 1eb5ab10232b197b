package restore

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// places bounds how many drills run at once in the cluster: each has a CouchDB with
// all the data of an instance, and hundreds may be due at one hour. They go in the
// order in which they were created. A controller that starts anew finds the running
// ones again as it comes to them; until then there may be some more.
type places struct {
	mu      sync.Mutex
	taken   map[client.ObjectKey]bool
	waiting map[client.ObjectKey]time.Time
	// wake brings those back whose turn it is.
	wake chan event.GenericEvent
}

func newPlaces() *places {
	return &places{taken: map[client.ObjectKey]bool{}, waiting: map[client.ObjectKey]time.Time{}, wake: make(chan event.GenericEvent, 1024)}
}

// take gives a drill its place, if there is one and nobody older waits for it.
func (p *places) take(key client.ObjectKey, since time.Time, most int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[key] {
		return true
	}
	p.waiting[key] = since
	if !slices.Contains(p.next(most), key) {
		return false
	}
	p.hold(key)
	return true
}

// next are those that wait and whose turn it is. The caller holds mu.
func (p *places) next(most int) []client.ObjectKey {
	keys := make([]client.ObjectKey, 0, len(p.waiting))
	for key := range p.waiting {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b client.ObjectKey) int {
		return cmp.Or(p.waiting[a].Compare(p.waiting[b]), cmp.Compare(a.String(), b.String()))
	})
	return keys[:min(len(keys), max(0, most-len(p.taken)))]
}

func (p *places) hold(key client.ObjectKey) {
	delete(p.waiting, key)
	p.taken[key] = true
}

// begun notes a drill that runs, whoever let it.
func (p *places) begun(key client.ObjectKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold(key)
}

// leave frees the place of a drill that is over or gone, and wakes whose turn it is.
func (p *places) leave(key client.ObjectKey, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, waited := p.waiting[key]
	if !p.taken[key] && !waited {
		return
	}
	delete(p.taken, key)
	delete(p.waiting, key)
	for _, turn := range p.next(most) {
		o := &api.Restore{}
		o.Namespace, o.Name = turn.Namespace, turn.Name
		select {
		case p.wake <- event.GenericEvent{Object: o}:
		default: // it comes back by itself, later
		}
	}
}

// lookAgain is how soon a drill that waits for its place comes back by itself.
const lookAgain = 5 * time.Minute

// place makes a drill wait for its turn.
func (r *Reconciler) place(restore *api.Restore) error {
	if r.ParallelDrills == 0 || r.drills.take(client.ObjectKeyFromObject(restore), restore.CreationTimestamp.Time, r.ParallelDrills) {
		return nil
	}
	return later{notYet{fmt.Errorf("waiting for its turn: %d drills run in the cluster, which is as many as may at once (the controller's setting parallel-drills)", r.ParallelDrills)}, lookAgain}
}

// placeTaken notes that a drill has begun.
func (r *Reconciler) placeTaken(restore *api.Restore) {
	if r.ParallelDrills > 0 {
		r.drills.begun(client.ObjectKeyFromObject(restore))
	}
}

// placeLeft notes that a restore, perhaps a drill, is over or gone.
func (r *Reconciler) placeLeft(key client.ObjectKey) {
	if r.ParallelDrills > 0 {
		r.drills.leave(key, r.ParallelDrills)
	}
}
