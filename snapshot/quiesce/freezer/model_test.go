package freezer

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// TestModel walks through all orders of events of a freeze, up to a number of faults,
// with the code that ships on both sides: quiesce.Stall on the controller's, hold, watch
// and Guard on the nodes'. Every message may be late or lost, every process killed and
// started again, every system call slow, every cut refused, and the clock may stand
// between any two of them. Checked in every state: what is called consistent was held on
// all nodes from before the first cut until after the last, and every freeze ends.
//
// A machine that pauses is one whose clock is slow: timers run on the monotonic clock,
// and nobody reads another. So a pause is a bound that is longer than it should be.
// Nodes are alike, and of states that differ in their order only one is looked at.

// A hold that is asked for at once has its deadline at the third tick and its watchdog's
// at the fourth. The end of a history goes on without ticks for as long as it takes.
var (
	modelFaults = flag.Int("model.faults", 0, "faults in one history of TestModel; 0 for the few that take seconds")
	modelTicks  = flag.Int("model.ticks", 5, "ticks of a quarter stall in one history of TestModel, with -model.faults")
)

type config struct {
	name   string
	nodes  int
	faults int // in one history, at most
	ticks  int // and so many of the clock
	// slow is a machine that pauses: "controller" or "node".
	slow string
	// hasty controllers do not wait until the pods of the attempt before are gone.
	hasty bool
}

func TestModel(t *testing.T) {
	for _, c := range []config{
		{name: "1 node", nodes: 1, faults: 1, ticks: 5},
		{name: "2 nodes", nodes: 2, faults: 1, ticks: 2},
		{name: "3 nodes", nodes: 3, faults: 0, ticks: 5},
		{name: "2 nodes, the controller's machine pauses", nodes: 2, faults: 0, ticks: 5, slow: "controller"},
		{name: "2 nodes, a node pauses", nodes: 2, faults: 0, ticks: 5, slow: "node"},
	} {
		if *modelFaults > 0 {
			c.faults, c.ticks = *modelFaults, *modelTicks
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := explore(c)
				t.Logf("%d faults at most: %d states, %d events in %d histories", c.faults, len(e.seen), e.events, e.runs)
				if e.violation != "" {
					t.Error(e.violation)
				}
				if e.consistent == 0 {
					t.Error("no history ends in a consistent set: the model shows nothing")
				}
			})
		})
	}
}

// TestModelBites: a second attempt that begins before the pods of the first are gone is
// one that the code never makes; were it made, the model would say so.
func TestModelBites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := explore(config{nodes: 1, faults: 1, ticks: 5, hasty: true})
		t.Log(e.violation)
		if e.violation == "" {
			t.Error("nothing was found in a world without the wait for the pods of the attempt before")
		}
	})
}

// explorer goes depth first. The real parts cannot be copied, so a branch is reached by
// going its way again from the beginning.
type explorer struct {
	seen                     map[string]bool
	runs, events, consistent int
	violation                string
}

func explore(c config) *explorer {
	e := &explorer{seen: map[string]bool{}}
	for ways := [][]string{nil}; len(ways) > 0 && e.violation == ""; e.runs++ {
		way := ways[len(ways)-1]
		ways = ways[:len(ways)-1]
		w := newWorld(c)
		var wrong string
		for i := 0; wrong == ""; i++ {
			possible := w.possible()
			if i >= len(way) {
				key := w.key()
				known := e.seen[key]
				if e.seen[key] = true; known || len(possible) == 0 {
					break
				}
				for _, other := range possible[1:] {
					ways = append(ways, append(slices.Clone(way), other.name))
				}
				way = append(slices.Clone(way), possible[0].name)
			}
			at := slices.IndexFunc(possible, func(ev event) bool { return ev.name == way[i] })
			if at < 0 {
				break // the code chose by chance between two things that were both true
			}
			possible[at].do()
			synctest.Wait()
			e.events++
			wrong = w.wrong(way[i])
		}
		wrong = w.end(wrong)
		for _, s := range w.sessions {
			if s.over && s.err == nil && !s.dead {
				e.consistent++
			}
		}
		if wrong != "" {
			e.violation = fmt.Sprintf("%s, after: %s", wrong, strings.Join(way, ", "))
		}
	}
	return e
}
