package after

import (
	"cmp"
	"slices"
	"sync"
	"time"

	ktypes "k8s.io/apimachinery/pkg/types"
)

// slots bound how many copies are made at once in each place, over all backups, and
// give them out by the age of the cut.
type slots struct {
	limit int
	wake  func(ktypes.NamespacedName)

	mutex   sync.Mutex
	running map[Place]map[slot]string  // the copy's handle, "" while it is being started
	waiting map[Place]map[slot]waiting //
	fullTo  map[Place]time.Time        // EC2 itself makes no more until then
	refused map[Place]int
}

// slot is one volume's copy.
type slot struct {
	uid        ktypes.UID
	copy, node string
}

type waiting struct {
	backup ktypes.NamespacedName
	cut    time.Time
}

// take asks for a slot. Without one it gives how many are taken, and until when EC2 is
// known to be full.
func (s *slots) take(p Place, k slot, w waiting, now time.Time) (ok bool, taken int, until time.Time) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.make(p)
	if _, has := s.running[p][k]; has {
		return true, 0, time.Time{}
	}
	s.waiting[p][k] = w
	free := s.limit - len(s.running[p])
	if s.fullTo[p].After(now) {
		free = 0
	}
	if s.ahead(p, k) >= free {
		return false, len(s.running[p]), s.fullTo[p]
	}
	delete(s.waiting[p], k)
	s.running[p][k] = ""
	return true, 0, time.Time{}
}

// ahead counts who waits and is older.
func (s *slots) ahead(p Place, k slot) (n int) {
	mine := s.waiting[p][k]
	for other, w := range s.waiting[p] {
		if other != k && before(w, other, mine, k) {
			n++
		}
	}
	return n
}

func before(a waiting, ak slot, b waiting, bk slot) bool {
	return cmp.Or(a.cut.Compare(b.cut), cmp.Compare(ak.uid, bk.uid), cmp.Compare(ak.copy, bk.copy), cmp.Compare(ak.node, bk.node)) < 0
}

func (s *slots) make(p Place) {
	if s.running == nil {
		s.running, s.waiting, s.fullTo, s.refused = map[Place]map[slot]string{}, map[Place]map[slot]waiting{}, map[Place]time.Time{}, map[Place]int{}
	}
	if s.running[p] == nil {
		s.running[p], s.waiting[p] = map[slot]string{}, map[slot]waiting{}
	}
}

// runs notes a copy that is being made, whether a slot was free or not.
func (s *slots) runs(p Place, k slot, handle string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.make(p)
	delete(s.waiting[p], k)
	s.running[p][k] = handle
	s.refused[p] = 0
}

// free gives a slot back and wakes whose turn it is.
func (s *slots) free(p Place, k slot) {
	s.mutex.Lock()
	s.make(p)
	_, had := s.running[p][k]
	delete(s.running[p], k)
	delete(s.waiting[p], k)
	var next *waiting
	var nextKey slot
	for other, w := range s.waiting[p] {
		if next == nil || before(w, other, *next, nextKey) {
			next, nextKey = &w, other
		}
	}
	s.mutex.Unlock()
	if had && next != nil && s.wake != nil {
		s.wake(next.backup)
	}
}

// full notes that EC2 makes no more copies there for now.
func (s *slots) full(p Place, k slot, w waiting, now time.Time) time.Duration {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.make(p)
	delete(s.running[p], k)
	s.waiting[p][k] = w // it keeps its place in the order
	s.refused[p]++
	d := pause(full, s.refused[p])
	s.fullTo[p] = now.Add(d)
	return d
}

// leave forgets all of a backup.
func (s *slots) leave(uid ktypes.UID) {
	type at struct {
		p Place
		k slot
	}
	var all []at
	s.mutex.Lock()
	for p := range s.running {
		for k := range s.running[p] {
			if k.uid == uid {
				all = append(all, at{p, k})
			}
		}
		for k := range s.waiting[p] {
			if k.uid == uid {
				all = append(all, at{p, k})
			}
		}
	}
	s.mutex.Unlock()
	for _, a := range all {
		s.free(a.p, a.k)
	}
}

// handles are the copies being made in a place, at most n.
func (s *slots) handles(p Place, n int) []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var all []string
	for _, h := range s.running[p] {
		if h != "" {
			all = append(all, h)
		}
	}
	slices.Sort(all)
	return all[:min(n, len(all))]
}
