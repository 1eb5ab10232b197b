package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/medic/cht-backup/integration/bench/page"
)

// The targets.
const (
	targetPeak = 150.0 // megabytes of 10^6 bytes, resident at most
	// targetGrowth of the cost of one backup, from the least to the most instances: a
	// cost that grew with the number would be several times as high.
	targetGrowth = 1.1
)

func (r figures) totalCalls() (n float64) {
	for _, calls := range r.calls {
		n += calls
	}
	return n
}

func (r figures) perMinute() float64 { return float64(r.instances) / r.took.Minutes() }

// words are the figures in one line, for a run that is broken off.
func (r figures) words() string {
	return fmt.Sprintf("%.0f backups/min, %.1f ms of CPU and %.1f calls a backup, peak %.1f MB", r.perMinute(), 1000*r.cpu, r.totalCalls(), r.peak/1e6)
}

func report(out io.Writer, all []figures) {
	if len(all) == 0 {
		return
	}
	_, _ = fmt.Fprintln(out, "\nEach number of instances with a controller process of its own; of one backup, but for memory")
	t := page.NewTable(out, "instances", "took", "backups/min", "CPU ms", "calls", "peak MB", "heap MB", "in line median", "max", "stall ms median", "max")
	for _, r := range all {
		t.Row(fmt.Sprint(r.instances), r.took.Round(100*time.Millisecond).String(), fmt.Sprintf("%.0f", r.perMinute()), fmt.Sprintf("%.1f", 1000*r.cpu), fmt.Sprintf("%.1f", r.totalCalls()),
			fmt.Sprintf("%.1f", r.peak/1e6), fmt.Sprintf("%.1f", r.heap/1e6), seconds(median(r.waited)), seconds(largest(r.waited)),
			fmt.Sprint(median(r.stalls).Milliseconds()), fmt.Sprint(largest(r.stalls).Milliseconds()))
	}
	t.End()
	_, _ = fmt.Fprintln(out, "\nCalls of the Kubernetes API of one backup (one exec stream besides)")
	var methods []string
	for _, r := range all {
		methods = append(methods, slices.Collect(maps.Keys(r.calls))...)
	}
	slices.Sort(methods)
	methods = slices.Compact(methods)
	t = page.NewTable(out, append([]string{"instances"}, methods...)...)
	for _, r := range all {
		row := []string{fmt.Sprint(r.instances)}
		for _, m := range methods {
			row = append(row, fmt.Sprintf("%.1f", r.calls[m]))
		}
		t.Row(row...)
	}
	t.End()
	_, _ = fmt.Fprintln(out, "\nCorrect: every backup is Consistent, and every cut lies inside a hold of its instance")
	_, _ = fmt.Fprintln(out, "\nTargets")
	_, _ = fmt.Fprintln(out, "  "+strings.Join(targets(all), "\n  "))
}

// targets says what was measured, and whether it is met.
func targets(all []figures) []string {
	least, top := all[0], all[0]
	for _, r := range all {
		if r.instances < least.instances {
			least = r
		}
		if r.instances > top.instances {
			top = r
		}
	}
	lines := []string{fmt.Sprintf("memory at most %.0f MB with %d instances: %.1f MB: %s", targetPeak, top.instances, top.peak/1e6, page.Met(top.peak/1e6 <= targetPeak))}
	if least.instances == top.instances {
		return lines
	}
	growth := func(what string, of func(figures) float64) {
		ratio := of(top) / of(least)
		lines = append(lines, fmt.Sprintf("%s of a backup does not grow: with %d instances %.2f times that with %d (at most %.2f): %s",
			what, top.instances, ratio, least.instances, targetGrowth, page.Met(ratio <= targetGrowth)))
	}
	growth("CPU", func(r figures) float64 { return r.cpu })
	growth("calls", figures.totalCalls)
	return lines
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[len(d)/2]
}

func largest(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[len(d)-1]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
