package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

// sim is a store whose every call waits until the one who schedules lets it happen, or
// not happen, or happen later, or happen without an answer. Time is the bubble's.
type sim struct {
	random  *rand.Rand
	objects map[string]stored
	// skew of the store's clock.
	skew time.Duration
	// faults are how many of 1000 calls have no good answer, crashes how many end their
	// caller.
	faults, crashes int
	// lockedFor is how long some objects cannot be deleted.
	lockedFor time.Duration
	lockedOf  uint64
	page      int
	// sticky is how often, in percent, the one goes on who did something last.
	sticky int
	last   *actor
	log    []string
	// done counts what happened.
	done map[string]int

	lock    sync.Mutex
	pending []*call
	running int

	late []late
	// onPut and onDelete are told of what changes.
	onPut, onDelete func(key string)
}

type call struct {
	by  *actor
	op  string
	key string
	do  func() error
	at  time.Time
	// answer to the caller.
	answer chan error
}

// late is a call that was given up and happens later.
type late struct {
	call
	at time.Time
}

// actor is somebody who uses the store.
type actor struct {
	sim  *sim
	name string
	dead bool
}

var (
	errFault = errors.New("no answer")
	errDead  = errors.New("the caller has died")
)

func (s *sim) say(format string, args ...any) { s.log = append(s.log, fmt.Sprintf(format, args...)) }

// begin waits for the first turn: none does anything beside another.
func (a *actor) begin() { _ = a.ask("begin", "", nil) }

// ask waits until it is this call's turn.
func (a *actor) ask(op, key string, do func() error) error {
	c := &call{by: a, op: op, key: key, do: do, at: time.Now(), answer: make(chan error, 1)}
	a.sim.lock.Lock()
	a.sim.pending = append(a.sim.pending, c)
	a.sim.lock.Unlock()
	return <-c.answer
}

func (a *actor) Put(_ context.Context, key string, data []byte) error {
	return a.ask("put", key, func() error { return a.sim.put(key, data) })
}

func (a *actor) Get(_ context.Context, key string, offset, length int64) (data []byte, err error) {
	err = a.ask("get", key, func() error {
		o, ok := a.sim.objects[key]
		if !ok {
			return ErrNotFound
		}
		from := min(offset, int64(len(o.data)))
		data = slices.Clone(o.data[from:min(from+length, int64(len(o.data)))])
		return nil
	})
	return data, err
}

// List is a page at a time: what happens between two pages may be seen or not.
func (a *actor) List(_ context.Context, prefix string, each func(Object) error) error {
	after := ""
	for {
		var page []Object
		err := a.ask("list", prefix+" after "+after, func() error {
			page = nil
			for _, key := range slices.Sorted(maps.Keys(a.sim.objects)) {
				if strings.HasPrefix(key, prefix) && key > after && len(page) < a.sim.page {
					page = append(page, Object{key, int64(len(a.sim.objects[key].data)), a.sim.objects[key].at})
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, o := range page {
			if err := each(o); err != nil {
				return err
			}
			after = o.Key
		}
		if len(page) < a.sim.page {
			return nil
		}
	}
}

func (a *actor) Delete(_ context.Context, key string) error {
	return a.ask("delete", key, func() error { return a.sim.delete(key) })
}

func (s *sim) put(key string, data []byte) error {
	if _, ok := s.objects[key]; ok {
		return ErrExists
	}
	// Whole seconds, as S3 has.
	s.objects[key] = stored{slices.Clone(data), time.Now().Add(s.skew).Truncate(time.Second)}
	s.onPut(key)
	s.count("put", key)
	return nil
}

func (s *sim) delete(key string) error {
	o, ok := s.objects[key]
	if !ok {
		return nil
	}
	if s.lockedFor > 0 && uint64(len(key)+int(key[len(key)-1]))%3 < s.lockedOf && time.Now().Add(s.skew).Sub(o.at) < s.lockedFor { //nolint:gosec // small
		return ErrKept
	}
	delete(s.objects, key)
	s.onDelete(key)
	s.count("delete", key)
	return nil
}

func (s *sim) count(op, key string) {
	if parts := strings.Split(key, "/"); len(parts) > 3 {
		s.done[op+" "+parts[3]]++
	}
}

// run schedules until all have ended that go was called for. False if they do not.
func (s *sim) run() bool {
	for steps := 0; steps < 200_000; steps++ {
		synctest.Wait()
		s.lock.Lock()
		running, pending := s.running, s.pending
		s.pending = nil
		s.lock.Unlock()
		if running == 0 && len(pending) == 0 {
			return true
		}
		s.land()
		if len(pending) == 0 {
			time.Sleep(time.Second)
			continue
		}
		slices.SortStableFunc(pending, func(a, b *call) int {
			return cmp.Or(cmp.Compare(a.by.name, b.by.name), cmp.Compare(a.op, b.op))
		})
		// Some time passes, now and then much.
		switch s.random.IntN(400) {
		case 0:
			time.Sleep(time.Duration(s.random.IntN(90)) * time.Minute)
		case 1:
			if s.random.IntN(10) == 0 {
				time.Sleep(8 * 24 * time.Hour)
			}
		case 2, 3, 4, 5, 6, 7, 8, 9:
			time.Sleep(time.Duration(s.random.IntN(3000)) * time.Millisecond)
		}
		i := s.random.IntN(len(pending))
		if s.random.IntN(100) < s.sticky { // one does much while another does nothing
			if same := slices.IndexFunc(pending, func(c *call) bool { return c.by == s.last }); same >= 0 {
				i = same
			}
		}
		c := pending[i]
		s.last = c.by
		s.lock.Lock()
		s.pending = append(s.pending, append(pending[:i:i], pending[i+1:]...)...)
		s.lock.Unlock()
		s.happen(c)
	}
	return false
}

// happen lets a call happen, or not.
func (s *sim) happen(c *call) {
	if c.by.dead {
		c.answer <- errDead
		return
	}
	if c.op == "begin" {
		c.answer <- nil
		return
	}
	if time.Since(c.at) > 20*time.Hour { // nothing is under way that long
		s.say("%s %s %s took too long", c.by.name, c.op, c.key)
		c.answer <- errFault
		return
	}
	switch n := s.random.IntN(1000); {
	case n < s.crashes:
		if s.random.IntN(2) == 0 {
			err := c.do()
			s.say("%s %s %s, and dies: %v", c.by.name, c.op, c.key, err)
		} else {
			s.say("%s dies before %s %s", c.by.name, c.op, c.key)
		}
		c.by.dead = true
		c.answer <- errDead
	case n < s.crashes+s.faults:
		switch s.random.IntN(3) {
		case 0:
			s.say("%s %s %s fails", c.by.name, c.op, c.key)
		case 1:
			err := c.do()
			s.say("%s %s %s, and no answer comes: %v", c.by.name, c.op, c.key, err)
		case 2:
			if c.op == "put" || c.op == "delete" {
				s.late = append(s.late, late{*c, time.Now().Add(time.Duration(s.random.IntN(7200)) * time.Second)})
			}
			s.say("%s %s %s is late", c.by.name, c.op, c.key)
		}
		c.answer <- errFault
	default:
		err := c.do()
		s.say("%s %s %s: %v", c.by.name, c.op, c.key, err)
		c.answer <- err
	}
}

// land lets happen what is late and due.
func (s *sim) land() {
	left := s.late[:0]
	for _, l := range s.late {
		if time.Now().Before(l.at) {
			left = append(left, l)
			continue
		}
		err := l.do()
		s.say("late: %s %s %s: %v", l.by.name, l.op, l.key, err)
	}
	s.late = left
}

// begin lets somebody do something beside the others.
func (s *sim) begin(do func()) {
	s.running++
	go func() {
		do()
		s.lock.Lock()
		s.running--
		s.lock.Unlock()
	}()
}
