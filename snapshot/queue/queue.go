package queue

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// tellEvery is how often a backup that waits hears anew where it stands: a place
// in a line of hundreds changes all the time, and each word is a write.
const tellEvery = 5 * time.Minute

// Limits are how many backups may run at once.
type Limits struct {
	// Cluster bounds the attempts, from the look at the instance to the release.
	Cluster int
	// Driver bounds the backups whose snapshots one driver makes, until they are
	// ready: the copying is what loads a storage.
	Driver int
	// Drivers are other bounds than Driver, by the driver's name.
	Drivers map[string]int
}

func (l Limits) of(driver string) int {
	if n, named := l.Drivers[driver]; named {
		return n
	}
	return l.Driver
}

// Backup is what the line must know of one.
type Backup struct {
	types.NamespacedName
	UID types.UID
	// Due orders the line.
	Due time.Time
	// Urgent ones go before all others: a person waits.
	Urgent bool
}

func (b Backup) before(other Backup) int {
	switch {
	case b.Urgent != other.Urgent && b.Urgent:
		return -1
	case b.Urgent != other.Urgent:
		return 1
	case !b.Due.Equal(other.Due):
		return b.Due.Compare(other.Due)
	case b.Namespace != other.Namespace && b.Namespace < other.Namespace || b.Namespace == other.Namespace && b.Name < other.Name:
		return -1
	case b.NamespacedName == other.NamespacedName:
		return 0
	}
	return 1
}

// state of a backup in the queue.
type state int

const (
	// waiting: it holds nothing.
	waiting state = iota
	// running: it holds a place of the cluster, and of its drivers once it named them.
	running
	// copying: it holds a place of each of its drivers only.
	copying
)

type entry struct {
	Backup
	state
	// drivers it cuts with; nil while they are not known.
	drivers []string
	told    time.Time
}

// Queue of the backups of a cluster. All methods may be called at once.
type Queue struct {
	limits Limits
	// wake is called, under the lock, with a backup that waited and may run now.
	wake func(types.NamespacedName)

	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
	line    []*entry // those that wait, in order
	running int
	used    map[string]int // by driver: running and copying
}

// New makes an empty queue. wake must not block and not call the queue.
func New(limits Limits, wake func(types.NamespacedName)) *Queue {
	return &Queue{limits: limits, wake: wake, entries: map[types.NamespacedName]*entry{}, used: map[string]int{}}
}

// Known is a backup that a controller finds when it starts.
type Known struct {
	Backup
	// Copying: its snapshots are cut and not ready yet, by these drivers. Else it waits.
	Copying bool
	Drivers []string
}

// Start fills the queue with all there is before it lets anybody run, or those that
// are seen first would overtake those that are due first.
func (q *Queue) Start(all []Known) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, k := range all {
		e := q.add(k.Backup)
		if k.Copying {
			q.unline(e)
			q.hold(e, copying, k.Drivers)
		}
	}
	q.admit(types.NamespacedName{})
}

// Enter puts a backup into the line unless it is in the queue, and tells whether it
// may run.
func (q *Queue) Enter(b Backup, now time.Time) Place {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.add(b)
	if e.state == copying { // another attempt: the last one's cut is given up
		q.release(e)
		q.enline(e)
	}
	q.admit(b.NamespacedName)
	return q.place(e, now)
}

// Begin names the drivers of a backup that may run and takes a place of each. If one
// has none left, the backup gives its place in the cluster to the next and waits on.
func (q *Queue) Begin(key types.NamespacedName, drivers []string, now time.Time) Place {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[key]
	if e == nil || e.state != running {
		return Place{} // not let in; Enter comes first
	}
	drivers = slices.Compact(slices.Sorted(slices.Values(drivers)))
	if !slices.Equal(drivers, e.drivers) {
		q.release(e)
		if e.drivers = drivers; q.fits(e, q.ahead(e)) {
			q.hold(e, running, drivers)
		} else {
			q.enline(e)
		}
		q.admit(key)
	}
	return q.place(e, now)
}

// Copying notes that a backup is cut: it holds its drivers until Leave.
func (q *Queue) Copying(b Backup, drivers []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.add(b)
	if e.state == copying {
		return
	}
	q.unline(e)
	q.release(e)
	q.hold(e, copying, slices.Compact(slices.Sorted(slices.Values(drivers))))
	q.admit(types.NamespacedName{})
}

// Leave takes a backup out of the queue, wherever it is in it: it ended, its attempt
// did, or it is gone. A backup that is not there is none's concern.
func (q *Queue) Leave(key types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[key]
	if e == nil {
		return
	}
	q.remove(e)
	q.admit(types.NamespacedName{})
}

// Yield takes a backup that waits or runs out of the queue after an error: it comes
// again by itself, and nobody shall wait for that. What is being copied is.
func (q *Queue) Yield(key types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.entries[key]; e != nil && e.state != copying {
		q.remove(e)
		q.admit(types.NamespacedName{})
	}
}

func (q *Queue) add(b Backup) *entry {
	if e := q.entries[b.NamespacedName]; e != nil {
		if e.UID == b.UID {
			return e
		}
		q.remove(e) // made again under the name of one that is gone
	}
	e := &entry{Backup: b}
	q.entries[b.NamespacedName] = e
	q.enline(e)
	return e
}

func (q *Queue) remove(e *entry) {
	q.unline(e)
	q.release(e)
	delete(q.entries, e.NamespacedName)
}
