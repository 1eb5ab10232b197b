package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// outcome is what became of a trial.
type outcome struct {
	trial
	how    string
	struck []fault
	points []point
	err    error
	took   time.Duration
}

func (o outcome) line() string {
	mark := "ok  "
	if o.err != nil {
		mark = "FAIL"
	}
	s := fmt.Sprintf("%s %s (%d of %d came) %s, %s", mark, o.trial, len(o.struck), len(o.faults), o.how, o.took.Round(100*time.Millisecond))
	if o.err != nil {
		s += "\n     " + strings.ReplaceAll(o.err.Error(), "\n", "\n     ")
	}
	return s
}

// report sums up, and fails if a promise was broken.
func report(o options, all []outcome) error {
	known, _ := parsePoints(pointsText) // it was read before
	if o.record {
		var found []point
		slices.SortStableFunc(all, func(a, b outcome) int { return a.n - b.n })
		for _, out := range all {
			if out.err != nil {
				return fmt.Errorf("%s, with nothing broken: %w", out.op, out.err)
			}
			found = append(found, out.points...)
		}
		return os.WriteFile(pointsFile, []byte(formatPoints(found)), 0o644) //nolint:gosec // source
	}
	ends, hit, faults, bad, late := map[string]int{}, map[string]bool{}, 0, 0, map[string]bool{}
	for _, out := range all {
		ends[out.op+": "+out.how]++
		faults += len(out.struck)
		for _, f := range out.struck {
			hit[out.op+"\t"+f.at] = true
		}
		for _, p := range out.points {
			if !slices.ContainsFunc(known, func(k point) bool { return k.op == p.op && k.name == p.name }) {
				late[p.op+"\t"+p.name] = true
			}
		}
		if out.err != nil {
			bad++
		}
	}
	var spared []string
	for _, p := range known {
		if !hit[p.op+"\t"+p.name] {
			spared = append(spared, p.op+" "+p.name)
		}
	}
	fmt.Printf("\n%d trials, %d faults, at %d of %d crash points; seed %d\n", len(all), faults, len(known)-len(spared), len(known), o.seed)
	for _, how := range slices.Sorted(maps.Keys(ends)) {
		fmt.Printf("  %4d %s\n", ends[how], how)
	}
	for _, name := range slices.Sorted(maps.Keys(late)) {
		fmt.Println("  only when something is broken:", strings.ReplaceAll(name, "\t", " "))
	}
	if o.op == "" && len(all) >= len(known) { // each had its turn
		for _, name := range spared {
			fmt.Println("  nothing came at:", name)
		}
	}
	if bad == 0 {
		return nil
	}
	var which []string
	for _, out := range all {
		if out.err != nil {
			which = append(which, fmt.Sprintf("go run ./integration/crash --seed %d --n %d --only %d", o.seed, o.n, out.n))
		}
	}
	return fmt.Errorf("%d of %d trials broke a promise; one by one:\n  %s", bad, len(all), strings.Join(which, "\n  "))
}
