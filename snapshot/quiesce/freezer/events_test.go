package freezer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing/synctest"
	"time"
)

// world is one history.
type world struct {
	config
	stall    time.Duration
	began    time.Time
	tick     int
	left     int // faults that may still happen
	replaced bool
	nodes    []*node
	sessions []*session
}

func newWorld(c config) *world {
	w := &world{config: c, stall: modelStall, began: time.Now(), left: c.faults}
	if c.slow == "controller" {
		w.stall = time.Hour
	}
	for i := range c.nodes {
		n := &node{world: w, name: fmt.Sprint(i + 1), bound: modelStall - step}
		if c.slow == "node" && i == 0 {
			n.bound = 3 * modelStall
		}
		w.nodes = append(w.nodes, n)
	}
	w.begin()
	return w
}

// event is something that may happen now. One with a "!" is a fault.
type event struct {
	name string
	do   func()
}

func (w *world) possible() (all []event) {
	if !slices.ContainsFunc(w.sessions, (*session).goesOn) && (!w.replaced || len(w.sessions) == 2) {
		return nil
	}
	add := func(when bool, name string, do func()) {
		if fault := strings.Contains(name, "!"); when && (!fault || w.left > 0) {
			all = append(all, event{name, func() {
				if fault {
					w.left--
				}
				do()
			}})
		}
	}
	for k, s := range w.sessions {
		for i, p := range s.pods {
			w.ofPod(s, p, fmt.Sprintf("%d.%d ", k+1, i+1), add)
		}
		by := fmt.Sprintf("controller %d ", k+1)
		add(s.cutting && s.given == "", by+"cut made", func() { s.given = "made"; s.answer <- nil })
		add(s.cutting && s.given == "", by+"cut fails!", func() { s.given = "failed"; s.answer <- errCut })
		add(k == 0 && !s.over && !w.replaced, by+"killed!", func() {
			w.replaced, s.dead = true, true
			for _, p := range s.pods {
				p.down.ended, p.down.discard = true, true
			}
		})
		add(k == 0 && !s.over && !w.replaced, by+"replaced!", func() { w.replaced = true })
	}
	remains := slices.ContainsFunc(w.sessions[0].pods, func(p *pod) bool { return !p.gone })
	add(w.replaced && len(w.sessions) == 1 && (w.hasty || !remains), "next attempt", w.begin)
	add(w.tick < w.ticks, "tick", func() { w.tick++; time.Sleep(step) })
	return all
}

func (w *world) ofPod(s *session, p *pod, at string, add func(bool, string, func())) {
	n, h := p.node, p.hold
	add(p.up.pending() && !s.over && !s.dead, at+"heard", p.up.deliver)
	if p.gone {
		return
	}
	tell := func() {
		if len(p.down.sent) > 0 && p.asked.IsZero() {
			p.asked = time.Now()
		}
		p.down.deliver()
	}
	add(p.down.pending() && !h.dead && h.hung == nil, at+"told", tell)
	add(p.down.pending() && !h.dead && p.asked.IsZero(), at+"told, and freezes slowly!", func() { h.slow = true; tell() })
	freeze := func(err error) func() {
		return func() {
			h.gate <- err
			synctest.Wait()
			if h.dead {
				p.endHold()
			}
		}
	}
	add(h.gate != nil, at+"frozen", freeze(nil))
	add(h.gate != nil, at+"freeze fails!", freeze(syscall.EIO))
	add(h.hung != nil, at+"wakes", func() { close(h.hung); h.hung = nil })
	add(p.guard.dead && h.gate == nil, at+"freezer starts", p.startGuard)
	add(p.dog.dead, at+"watchdog starts", p.startDog)
	// The controller has the volume thawed first, by a command in the container freezer: so
	// no pod is deleted while neither container lives, of which nobody would thaw.
	add(w.replaced && s == w.sessions[0] && h.gate == nil && !p.guard.dead, at+"deleted", func() {
		_ = Thaw(p.guard)
		p.stopGuard() // SIGTERM
		synctest.Wait()
		p.killFreezer()
		synctest.Wait()
		p.killDog()
		p.gone = true
	})
	if h.dead {
		return
	}
	add(!p.up.ended, at+"stream cut!", func() {
		p.down.sent, p.down.ended = nil, true
		p.up.sent, p.up.ended = nil, true
	})
	add(!p.guard.dead, at+"freezer killed!", p.killFreezer)
	add(!p.dog.dead, at+"watchdog killed!", p.killDog)
	add(!p.guard.dead && !p.dog.dead, at+"both killed!", func() { p.killFreezer(); p.killDog() })
	add(n.frozen, at+"thawed by hand!", n.thaw)
	add(h.hung == nil && !p.asked.IsZero(), at+"hangs!", func() { h.hung = make(chan struct{}) })
}

// goesOn tells whether anything can still come of a session.
func (s *session) goesOn() bool {
	return !s.over && !s.dead || slices.ContainsFunc(s.pods, func(p *pod) bool { return !p.hold.dead || p.hold.gate != nil })
}

// key names the state: two histories with one key go on alike.
func (w *world) key() string {
	since := func(at time.Time) int { return int(at.Sub(w.began) / step) }
	var nodes []string
	for _, n := range w.nodes {
		key := fmt.Sprint(n.bound, n.frozen)
		if n.frozen {
			key += fmt.Sprint(since(n.since))
		}
		for i, p := range n.pods {
			key += fmt.Sprintf("|%v %v %v %v %v %v %v ", p.gone, p.guard.dead, p.dog.dead, p.lost, p.hold.dead, p.hold.hung != nil, p.hold.gate != nil)
			if !p.hold.dead || p.hold.gate != nil {
				key += fmt.Sprint(p.down, since(p.asked))
			}
			if s := w.sessions[i]; !s.over && !s.dead {
				key += fmt.Sprint(p.up)
			}
		}
		nodes = append(nodes, key)
	}
	slices.Sort(nodes)
	key := fmt.Sprint(w.tick, w.left, w.replaced, nodes)
	for _, s := range w.sessions {
		key += fmt.Sprint(s.cutting, s.broken, s.over, s.dead, s.given, s.err != nil)
	}
	return key
}

// wrong says what must not be in the state after an event.
func (w *world) wrong(after string) string {
	for i, s := range w.sessions {
		if s.over && s.err == nil && !s.dead && (s.given != "made" || s.broken) {
			return fmt.Sprintf("session %d is called consistent, and was not held throughout", i+1)
		}
	}
	for _, n := range w.nodes {
		if !n.frozen {
			continue
		}
		last := n.pods[len(n.pods)-1]
		for _, p := range n.pods {
			if p.hold.hung == nil && !p.hold.dead && (p.down.closed || p.lost) && p == last {
				return "node " + n.name + " stays frozen after its stream ended or its watchdog was lost"
			}
		}
		if at, _, _ := strings.Cut(after, " "); strings.HasSuffix(after, "starts") && strings.HasSuffix(at, "."+n.name) {
			return "node " + n.name + " is frozen after a container's start"
		}
		h, asked := last.hold, time.Since(last.asked)
		if h.hung == nil && !h.dead && asked >= n.bound {
			return "node " + n.name + " is frozen after its deadline"
		}
		if h.dead && h.gate == nil && !last.lost {
			return "node " + n.name + " stays frozen though its watchdog saw the hold end"
		}
		if !last.lost && asked > n.bound+step && time.Since(n.since) > 0 {
			return "node " + n.name + " is frozen after its watchdog's deadline"
		}
	}
	return ""
}

// end lets nothing arrive any more: what is frozen has to thaw by itself. Kubelet starts
// what was killed. Then all else ends, too.
func (w *world) end(wrong string) string {
	each := func(do func(*pod)) {
		for _, n := range w.nodes {
			for _, p := range n.pods {
				do(p)
				synctest.Wait()
			}
		}
	}
	each(func(p *pod) {
		if p.hold.gate != nil {
			p.hold.gate <- nil
			synctest.Wait()
			if p.hold.dead {
				p.endHold()
			}
		}
		if p.guard.dead && !p.gone {
			p.startGuard()
		}
		if p.dog.dead && !p.gone {
			p.startDog()
		}
	})
	time.Sleep(4*modelStall + time.Second)
	for _, n := range w.nodes {
		if n.frozen && wrong == "" {
			wrong = "node " + n.name + " is frozen for ever"
		}
	}
	each(func(p *pod) {
		if p.hold.hung != nil {
			close(p.hold.hung)
			p.hold.hung = nil
		}
		p.killFreezer()
		p.killDog()
		for _, line := range []*wire{p.down, p.up} {
			if !line.closed {
				line.sent, line.ended = nil, true
				line.deliver()
			}
		}
	})
	for _, s := range w.sessions {
		s.answer <- errors.New("over")
	}
	time.Sleep(time.Hour)
	return wrong
}
