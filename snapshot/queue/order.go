package queue

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// admit lets run whom it can, in the order of the line. Whose driver has no place
// left is passed over, so that it blocks nobody of another driver. asked is the
// backup that is told anyway and need not be woken.
func (q *Queue) admit(asked types.NamespacedName) {
	taken := reserve{}
	for i := 0; i < len(q.line) && q.running < q.limits.Cluster; {
		e := q.line[i]
		if !q.fits(e, taken) {
			taken.blocked(e)
			i++
			continue
		}
		q.unline(e)
		q.hold(e, running, e.drivers)
		if e.NamespacedName != asked && q.wake != nil {
			q.wake(e.NamespacedName)
		}
	}
}

// reserve counts the drivers' places that are spoken for by those ahead in line.
type reserve struct {
	places map[string]int
	done   bool
}

func (r *reserve) take(e *entry) {
	if r.places == nil {
		r.places = map[string]int{}
	}
	for _, d := range e.drivers {
		r.places[d]++
	}
}

// blocked keeps places for the first who waits for a driver: one that cuts with two
// drivers would otherwise find one of them taken, by turns, for ever. The others
// behind it are the first one day.
func (r *reserve) blocked(e *entry) {
	if !r.done && len(e.drivers) > 1 {
		r.take(e)
	}
	r.done = true
}

// ahead counts what those who wait ahead of e will take.
func (q *Queue) ahead(e *entry) reserve {
	taken := reserve{}
	for _, other := range q.line {
		if other.before(e.Backup) >= 0 {
			break
		}
		if q.fits(other, taken) {
			taken.take(other)
		} else {
			taken.blocked(other)
		}
	}
	return taken
}

// fits tells whether all drivers of e have a place that is not spoken for. One whose
// drivers are not known fits: it learns them when it has a place in the cluster.
func (q *Queue) fits(e *entry, taken reserve) bool { return q.full(e, taken) == "" }

func (q *Queue) full(e *entry, taken reserve) (driver string) {
	for _, d := range e.drivers {
		if q.used[d]+taken.places[d] >= q.limits.of(d) {
			return d
		}
	}
	return ""
}

// hold takes the places of a state for e, which holds none.
func (q *Queue) hold(e *entry, s state, drivers []string) {
	e.state, e.drivers = s, drivers
	if s == running {
		q.running++
	}
	for _, d := range drivers {
		q.used[d]++
	}
}

// release gives back what e holds.
func (q *Queue) release(e *entry) {
	if e.state == waiting {
		return
	}
	if e.state == running {
		q.running--
	}
	for _, d := range e.drivers {
		if q.used[d]--; q.used[d] == 0 {
			delete(q.used, d)
		}
	}
	e.state = waiting
}

func (q *Queue) enline(e *entry) {
	at, there := q.search(e)
	if !there {
		q.line = slices.Insert(q.line, at, e)
	}
}

func (q *Queue) unline(e *entry) {
	if at, there := q.search(e); there {
		q.line = slices.Delete(q.line, at, at+1)
	}
}

func (q *Queue) search(e *entry) (at int, there bool) {
	return slices.BinarySearchFunc(q.line, e, func(a, b *entry) int { return a.before(b.Backup) })
}
