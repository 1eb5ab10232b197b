package queue

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const backups = 200

// history plays a random day against the queue and checks after each step what must
// hold, from what the test itself knows: who was told to run, and with what.
type history struct {
	*testing.T
	random *rand.Rand
	q      *Queue
	limits Limits
	at     time.Time
	// choices of drivers that backups have
	choices [][]string
	// spare is how many places of a driver may be kept for one that needs another
	// driver, too.
	spare int
	// what the test knows of every backup that has not ended
	known map[types.NamespacedName]*one
	made  int
	ended int
}

type one struct {
	Backup
	drivers []string
	// told to run; began; cut: its own view, as a reconciler has it.
	told, began, cut bool
	learned          bool // its drivers are known to the queue
}

func (h *history) start() {
	h.q = New(h.limits, func(key types.NamespacedName) {
		o := h.known[key]
		switch {
		case o == nil:
			h.Fatalf("woke %s, which is gone", key)
		case o.told:
			h.Fatalf("woke %s twice", key)
		}
		h.grant(o)
	})
}

// grant notes that o may run, and checks that nobody ahead of it could.
func (h *history) grant(o *one) {
	for _, other := range h.known {
		if other == o || other.told || other.cut || other.before(o.Backup) > 0 || !h.inLine(other) {
			continue
		}
		if !other.learned {
			h.Fatalf("%s overtook %s, which waits for no driver", o.Name, other.Name)
		}
		if !h.blocked(other, h.spare) {
			h.Fatalf("%s overtook %s, whose driver %v has room", o.Name, other.Name, other.drivers)
		}
	}
	o.told = true
}

func (h *history) inLine(o *one) bool {
	e := h.q.entries[o.NamespacedName]
	return e != nil && e.state == waiting
}

// blocked tells whether a driver of o has at most spare places left, by the test's
// own count.
func (h *history) blocked(o *one, spare int) bool {
	for _, d := range o.drivers {
		if h.holding(d) >= h.limits.of(d)-spare {
			return true
		}
	}
	return false
}

func (h *history) holding(driver string) (n int) {
	for _, o := range h.known {
		for _, d := range o.drivers {
			if d == driver && (o.cut || o.began || o.told && o.learned) {
				n++
			}
		}
	}
	return n
}

func (h *history) check() {
	running := 0
	for _, o := range h.known {
		if o.told {
			running++
		}
	}
	if running > h.limits.Cluster {
		h.Fatalf("%d run, of %d", running, h.limits.Cluster)
	}
	for _, d := range []string{"a", "b", "c"} {
		if n := h.holding(d); n > h.limits.of(d) {
			h.Fatalf("%d load driver %s, of %d", n, d, h.limits.of(d))
		}
	}
	// Nobody stands in line for nothing: there is no lost wake-up to be had otherwise.
	for _, o := range h.known {
		if running < h.limits.Cluster && h.inLine(o) && !o.told && (!o.learned || !h.blocked(o, h.spare)) {
			h.Fatalf("%s waits (drivers %v, known %t), and %d of %d run", o.Name, o.drivers, o.learned, running, h.limits.Cluster)
		}
	}
}

func (h *history) step() {
	h.at = h.at.Add(time.Second)
	if h.made < backups && h.random.IntN(3) == 0 {
		b := backup(fmt.Sprint("b", h.made), h.random.IntN(50))
		b.Urgent = h.random.IntN(20) == 0
		h.made++
		o := &one{Backup: b, drivers: h.choices[h.random.IntN(len(h.choices))]}
		h.known[b.NamespacedName] = o
		h.enter(o)
		return
	}
	if h.random.IntN(60) == 0 {
		h.restart()
		return
	}
	for _, o := range h.known { // one of them, by the map's whim
		h.forward(o)
		return
	}
}

func (h *history) enter(o *one) {
	if h.q.Enter(o.Backup, h.at).Runs && !o.told {
		h.grant(o)
	}
}

// forward does what a reconcile would.
func (h *history) forward(o *one) {
	key := o.NamespacedName
	switch {
	case h.random.IntN(30) == 0: // it is deleted, or fails for good
		h.end(o)
	case h.random.IntN(30) == 0 && !o.cut: // an error: it comes again
		o.told, o.began, o.learned = false, false, false
		h.q.Yield(key)
	case o.cut:
		h.end(o)
	case !o.told:
		h.enter(o)
	case !o.began:
		wasLearned := o.learned
		o.learned, o.told = true, false
		e := h.q.entries[key]
		if !wasLearned && e != nil { // the queue may let others run meanwhile
			if !h.q.Begin(key, o.drivers, h.at).Runs {
				return
			}
		} else if !h.q.Begin(key, o.drivers, h.at).Runs {
			h.Fatalf("%s was told to run, and then not", o.Name)
		}
		o.told, o.began = true, true
	case h.random.IntN(5) == 0: // the attempt failed, and will be tried again
		o.told, o.began, o.learned = false, false, false
		h.q.Leave(key)
	default:
		o.told, o.began, o.cut = false, false, true
		h.q.Copying(o.Backup, o.drivers)
	}
}

func (h *history) end(o *one) {
	delete(h.known, o.NamespacedName)
	h.ended++
	h.q.Leave(o.NamespacedName)
}

// restart makes a new queue of what is stored: who waits, and who copies.
func (h *history) restart() {
	h.start()
	var all []Known
	for _, o := range h.known {
		o.told, o.began, o.learned = false, false, false
		all = append(all, Known{Backup: o.Backup, Copying: o.cut, Drivers: o.drivers})
	}
	h.q.Start(all)
}

func TestRandomHistories(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 4))
			h := &history{T: t, random: random, at: noon, known: map[types.NamespacedName]*one{},
				limits: Limits{Cluster: 1 + random.IntN(8), Driver: 1 + random.IntN(4), Drivers: map[string]int{"c": 1 + random.IntN(6)}}}
			h.choices = [][]string{{"a"}, {"b"}, {"c"}}
			if seed%2 == 1 {
				h.choices, h.spare = append(h.choices, []string{"a", "b"}, []string{"b", "c"}), 1
			}
			h.start()
			for h.made < backups || len(h.known) > 0 {
				if h.at.Sub(noon) > 100_000*time.Second {
					t.Fatalf("%d of %d never ended", len(h.known), h.made)
				}
				h.step()
				h.check()
			}
			if len(h.q.entries) != 0 || len(h.q.line) != 0 || h.q.running != 0 || len(h.q.used) != 0 {
				t.Errorf("places left behind: %d running, %v", h.q.running, h.q.used)
			}
		})
	}
}

// Every backup is a goroutine of its own that sleeps until it is woken: a wake-up
// that is lost leaves it asleep, and the test does not end.
func TestNoWakeUpIsLost(t *testing.T) {
	limits := Limits{Cluster: 4, Driver: 3, Drivers: map[string]int{"c": 1}}
	const count = 500
	var wake [count]chan struct{}
	index := map[types.NamespacedName]int{}
	for i := range wake {
		wake[i] = make(chan struct{}, 100)
		index[backup(fmt.Sprint("b", i), 0).NamespacedName] = i
	}
	q := New(limits, func(key types.NamespacedName) { wake[index[key]] <- struct{}{} })
	var running atomic.Int64
	copying := map[string]*atomic.Int64{"a": {}, "b": {}, "c": {}}
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 7)) //nolint:gosec // an index
			b, driver := backup(fmt.Sprint("b", i), random.IntN(60)), string("abc"[random.IntN(3)])
			for {
				place := q.Enter(b, noon)
				if place.Runs {
					place = q.Begin(b.NamespacedName, []string{driver}, noon)
				}
				if !place.Runs {
					<-wake[i]
					continue
				}
				if n := running.Add(1); n > int64(limits.Cluster) {
					t.Errorf("%d run", n)
				}
				if n := copying[driver].Add(1); n > int64(limits.of(driver)) {
					t.Errorf("%d load driver %s", n, driver)
				}
				time.Sleep(time.Duration(random.IntN(200)) * time.Microsecond)
				running.Add(-1)
				if random.IntN(10) == 0 {
					copying[driver].Add(-1)
					q.Yield(b.NamespacedName)
					continue
				}
				q.Copying(b, []string{driver})
				time.Sleep(time.Duration(random.IntN(200)) * time.Microsecond)
				copying[driver].Add(-1)
				q.Leave(b.NamespacedName)
				return
			}
		})
	}
	all.Wait()
}
