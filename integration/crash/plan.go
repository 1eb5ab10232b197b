package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// when a fault comes, seen from the request that it is tied to.
type when string

const (
	before when = "before" // it is not passed on
	after  when = "after"  // it had its effect, and the controller does not hear of it
	later  when = "later"  // some time after the answer
)

// What can be broken.
const (
	controllerKill = "controller" // SIGKILL
	answerLost     = "answer"     // the connection, instead of the answer
	streamsCut     = "streams"    // every exec stream
	apiAway        = "api"        // all connections, and none is accepted for a while
	bucketAway     = "bucket"     // it answers with 503 for a while
	podKill        = "pod"        // all processes of one pod of ours
	kubeletKill    = "kubelet"    // this and the next are of the testbed's one node: they hit all runs beside
	driverKill     = "csi-driver"
	serverKill     = "apiserver"
)

// anywhere is the name that any crash point has.
const anywhere = "*"

// fault is one thing that goes wrong.
type fault struct {
	what  string
	at    string // the name of a crash point, or anywhere
	nth   int    // which of that name, counted from the fault before, from 1
	when  when
	wait  time.Duration // later: how long after
	lasts time.Duration // how long it is away, or until the controller starts again
}

func (f fault) String() string {
	s := fmt.Sprintf("%s %s %s#%d", f.what, f.when, strings.ReplaceAll(f.at, " ", "_"), f.nth)
	if f.wait > 0 {
		s += "+" + f.wait.String()
	}
	if f.lasts > 0 {
		s += " for " + f.lasts.String()
	}
	return s
}

// trial is one run: an operation, and what goes wrong in it, in this order.
type trial struct {
	n      int
	op     string
	faults []fault
}

func (t trial) String() string {
	var all []string
	for _, f := range t.faults {
		all = append(all, f.String())
	}
	return fmt.Sprintf("%d %s: %s", t.n, t.op, strings.Join(all, ", then "))
}

// draw makes n trials. Each begins with another point, until all have had their turn: the
// same seed, number and points make the same trials. shared lets parts of the node die.
func draw(seed uint64, n int, points []point, shared bool) (all []trial) {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated, not to be secret
	var deck []point
	for i := range n {
		if len(deck) == 0 {
			deck = append(deck, points...)
			r.Shuffle(len(deck), func(a, b int) { deck[a], deck[b] = deck[b], deck[a] })
		}
		p := deck[0]
		deck = deck[1:]
		t := trial{n: i + 1, op: p.op}
		t.faults = append(t.faults, drawFault(r, p, controllerKill))
		if r.IntN(5) == 0 {
			t.faults[0] = drawFault(r, p, others[r.IntN(len(others))])
		}
		for r.IntN(2) == 0 && len(t.faults) < 4 {
			what := controllerKill
			if r.IntN(2) == 0 {
				what = others[r.IntN(len(others))]
			}
			t.faults = append(t.faults, drawFault(r, point{p.op, anywhere, 6}, what))
		}
		if shared && r.IntN(8) == 0 {
			t.faults = append(t.faults, drawFault(r, point{p.op, anywhere, 6}, ofNode[r.IntN(len(ofNode))]))
		}
		all = append(all, t)
	}
	return all
}

var (
	others = []string{answerLost, streamsCut, apiAway, bucketAway, podKill}
	ofNode = []string{kubeletKill, driverKill, serverKill}
)

func drawFault(r *rand.Rand, p point, what string) fault {
	f := fault{what: what, at: p.name, nth: 1 + r.IntN(p.count), when: []when{before, after, later}[r.IntN(3)]}
	if f.when == later {
		f.wait = time.Duration(r.IntN(1500)) * time.Millisecond
	}
	switch what {
	case controllerKill:
		f.lasts = time.Duration(r.IntN(1000)) * time.Millisecond
		if r.IntN(6) == 0 {
			f.lasts += stall + slack // whoever is held must be let go without it
		}
	case apiAway, bucketAway, kubeletKill, driverKill, serverKill:
		f.lasts = time.Duration(200+r.IntN(3000)) * time.Millisecond
	case answerLost:
		f.when, f.wait = after, 0
	}
	return f
}
