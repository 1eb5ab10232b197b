package retention

import (
	"strconv"
	"time"
)

// Simulation is what a policy would do over time.
type Simulation struct {
	Runs []Run
	// Left is what remains after the last run, newest first.
	Left []Decision
	// Most is how many there are at once at the most, and MostAt when that is first.
	Most   int
	MostAt time.Time
}

// Run is one backup of a simulation.
type Run struct {
	Time time.Time
	// Kept counts the backups there are once it is taken and before the plan that
	// follows removes any: what the storage must hold.
	Kept int
	// Left counts what the plan leaves.
	Left int
}

// Simulate takes a backup at each instant that next gives after start, up to and with
// end, and follows each with a plan. All are good, and none is verified, held, locked
// or in use. next gives the zero time when there is none any more.
func Simulate(p Policy, zone *time.Location, next func(time.Time) time.Time, start, end time.Time) Simulation {
	var s Simulation
	for t := next(start); !t.IsZero() && !t.After(end); {
		s.Runs = append(s.Runs, Run{Time: t})
		if t = next(t); !t.After(s.Runs[len(s.Runs)-1].Time) {
			break
		}
	}
	if len(s.Runs) == 0 {
		return s
	}
	gone := p.removals(s.Runs, zone)
	removed := make([]int, len(s.Runs)+1)
	for _, at := range gone {
		removed[at]++
	}
	kept := 0
	var left []Backup
	for i := range s.Runs {
		kept++
		s.Runs[i].Kept, s.Runs[i].Left = kept, kept-removed[i]
		if kept > s.Most {
			s.Most, s.MostAt = kept, s.Runs[i].Time
		}
		if gone[i] == len(s.Runs) {
			left = append(left, Backup{Name: "run-" + strconv.Itoa(i+1), Time: s.Runs[i].Time, State: Good})
		}
		kept = s.Runs[i].Left
	}
	s.Left = Plan(p, zone, s.Runs[len(s.Runs)-1].Time, left)
	return s
}

// removals tells, for each run, after which run its backup goes; the number of runs
// where it stays. What it finds is what a Plan after each run would do, at a cost that
// does not grow with what is kept: a rule lets go of a backup when a newer one of its
// period comes, or so many newer periods, and never takes it up again.
func (p Policy) removals(runs []Run, zone *time.Location) []int {
	gone := make([]int, len(runs))
	stays := func(i, until int) { gone[i] = max(gone[i], until) }
	for i := range runs {
		stays(i, min(i+max(p.Last, 1), len(runs))) // the newest good one always stays
		if p.Unlimited {
			stays(i, len(runs))
		}
	}
	for _, rule := range calendar {
		n := rule.count(p)
		if n == 0 {
			continue
		}
		var holders []int // the newest of each of the newest periods
		latest := int64(0)
		for i, run := range runs {
			key := rule.key(momentOf(run.Time, zone))
			if len(holders) > 0 && key == latest {
				holders[len(holders)-1] = i // the run before stayed as the newest good one
			} else {
				holders = append(holders, i)
			}
			latest = key
			if len(holders) > n {
				stays(holders[0], i)
				holders = holders[1:]
			}
		}
		for _, i := range holders {
			stays(i, len(runs))
		}
	}
	if p.Within.IsZero() {
		return gone
	}
	oldest := 0
	for i, run := range runs {
		for since := p.Within.Before(run.Time, zone); runs[oldest].Time.Before(since); oldest++ {
			stays(oldest, i)
		}
	}
	for i := oldest; i < len(runs); i++ {
		stays(i, len(runs))
	}
	return gone
}
