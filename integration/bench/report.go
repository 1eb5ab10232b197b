package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/bench/page"
)

// The targets of `make bench`.
const (
	targetNodes    = 3
	targetOverhead = 500.0 // milliseconds above the slowest cut
	targetShare    = 1.0 / 3
	// Of method File, in milliseconds.
	targetFile     = 60.0
	targetFileTail = 200.0
)

// busyIdle is more calls a second than the renewal of a lease makes.
const busyIdle = 2.0

// report prints all that was found.
func report(out io.Writer, o options, results []result) {
	var all []sample
	for _, r := range results {
		all = append(all, r.samples...)
	}
	for _, driver := range o.drivers {
		_, _ = fmt.Fprintf(out, "\n%s\n", driverTitle(o, driver))
		stallTable(out, o, driver, pick(all, func(s sample) bool { return s.driver == driver }))
		if driver == driverLocal {
			fileTable(out, o, all)
		}
	}
	_, _ = fmt.Fprintln(out, "\nRatios of the stalls above, p50 / p99 (below 1: the product holds writes for less time)")
	ratioTable(out, o, all)
	_, _ = fmt.Fprintln(out, "\nTargets")
	for _, line := range targets(o, all) {
		_, _ = fmt.Fprintln(out, "  "+line)
	}
	_, _ = fmt.Fprintln(out, "\nWriter, whole run")
	writerTable(out, results)
	_, _ = fmt.Fprintln(out, "\nController, per backup (its background, measured while idle, taken out of calls and CPU; exec streams, one a node, are not among the calls)")
	usageTable(out, o, results)
	failures(out, all)
}

func driverTitle(o options, driver string) string {
	if driver == driverLocal {
		return fmt.Sprintf("No driver: directories of the node's own disk (class %s); milliseconds, p50 / p99", o.fileClass)
	}
	if driver == driverCloud {
		return fmt.Sprintf("Driver as slow as a cloud's (cut %s, ready %s later); milliseconds, p50 / p99", o.cutLatency, o.readyLatency)
	}
	return "Driver as it is; milliseconds, p50 / p99"
}

func wayTitle(way string) string {
	switch way {
	case wayNone:
		return "cut only, nothing held"
	case waySeries:
		return "node by node, until ready"
	case wayFile:
		return "File, Pause"
	case wayStop:
		return "stop, copy, start"
	}
	return way
}

// pick gives the good samples that are wanted.
func pick(samples []sample, wanted func(sample) bool) []sample {
	return slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.err != nil || !wanted(s) })
}

func kind(samples []sample, nodes int, driver, way string) []sample {
	return pick(samples, func(s sample) bool { return s.nodes == nodes && s.driver == driver && s.way == way })
}

func stalls(samples []sample) spread { return spreadOf(milliseconds(samples, sample.stall)) }

func stallTable(out io.Writer, o options, driver string, samples []sample) {
	t := page.NewTable(out, "nodes", "way", "n", "quiesce", "cut", "release", "stall", "longest hold of a node", "slowest write p50 / max", "failed writes")
	for _, nodes := range o.nodes {
		for _, way := range o.ways(driver) {
			some := pick(samples, func(s sample) bool { return s.nodes == nodes && s.way == way })
			cells := []string{fmt.Sprint(nodes), wayTitle(way), fmt.Sprint(len(some))}
			held := func(of func(sample) time.Duration) string { return pair(spreadOf(milliseconds(some, of)), millis) }
			if way == wayNone {
				cells = append(cells, "-", held(sample.cutTime), "-", "-", "-")
			} else {
				cells = append(cells, held(sample.quiesceTime), held(sample.cutTime), held(sample.releaseTime), held(sample.stall), held(sample.longestHold))
			}
			slow, failed := milliseconds(some, func(s sample) time.Duration { return s.seen.slowest }), 0
			for _, s := range some {
				failed += s.seen.failed
			}
			t.Row(append(cells, pair(spread{percentile(slow, 50), percentile(slow, 100)}, millis), fmt.Sprint(failed))...)
		}
	}
	t.End()
}

// fileTable shows what the copy of the files was besides its stall.
func fileTable(out io.Writer, o options, samples []sample) {
	_, _ = fmt.Fprintln(out, "\nFiles copied from descriptors that were opened in the stall, while the CHT went on")
	t := page.NewTable(out, "nodes", "n", "files p50", "MiB p50", "sent MiB p50 / max", "request to complete s p50 / p99", "a copier's MiB max", "a copier's descriptors max", "controller's MiB max")
	for _, nodes := range o.nodes {
		some := kind(samples, nodes, driverLocal, wayFile)
		each := func(of func(sample) float64) (all []float64) {
			for _, s := range some {
				all = append(all, of(s))
			}
			return all
		}
		sent := each(func(s sample) float64 { return mebibytes(s.sent) })
		took := each(func(s sample) float64 { return s.done.Sub(s.began).Seconds() })
		t.Row(fmt.Sprint(nodes), fmt.Sprint(len(some)), millis(percentile(each(func(s sample) float64 { return float64(s.files) }), 50)),
			millis(percentile(each(func(s sample) float64 { return mebibytes(s.bytes) }), 50)),
			pair(spread{percentile(sent, 50), percentile(sent, 100)}, millis), pair(spreadOf(took), millis),
			millis(percentile(each(func(s sample) float64 { return mebibytes(s.copiers.resident) }), 100)),
			millis(percentile(each(func(s sample) float64 { return float64(s.copiers.descriptors) }), 100)),
			millis(percentile(each(func(s sample) float64 { return mebibytes(s.controller.resident) }), 100)))
	}
	t.End()
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

func ratioTable(out io.Writer, o options, samples []sample) {
	t := page.NewTable(out, "driver", "nodes", "mode", "stall ÷ cut with nothing held", "stall ÷ series", "stall ÷ series that waits for the handle only")
	for _, driver := range o.drivers {
		for _, nodes := range o.nodes {
			if driver == driverLocal {
				continue
			}
			bare, series := kind(samples, nodes, driver, wayNone), kind(samples, nodes, driver, waySeries)
			for _, mode := range o.modes {
				stall := stalls(kind(samples, nodes, driver, mode))
				t.Row(driver, fmt.Sprint(nodes), mode, pair(stall.over(stalls(bare)), hundredths), pair(stall.over(stalls(series)), hundredths),
					pair(stall.over(spreadOf(milliseconds(series, sample.shortSeries))), hundredths))
			}
		}
	}
	t.End()
	if !slices.Contains(o.drivers, driverLocal) {
		return
	}
	files := page.NewTable(out, "nodes", "File ÷ stop, copy, start", "File ÷ Freeze with snapshots, driver as it is")
	for _, nodes := range o.nodes {
		stall := stalls(kind(samples, nodes, driverLocal, wayFile))
		files.Row(fmt.Sprint(nodes), pair(stall.over(stalls(kind(samples, nodes, driverLocal, wayStop))), thousandths),
			pair(stall.over(stalls(kind(samples, nodes, driverPlain, string(api.QuiesceFreeze)))), hundredths))
	}
	files.End()
}

// targets says, for each driver and mode, what was measured and whether it is met.
// The stall is held against two readings of "slowest cut": that of the same backup,
// and that of a cut for which nothing was held.
func targets(o options, samples []sample) []string {
	if !slices.Contains(o.nodes, targetNodes) {
		return []string{fmt.Sprintf("are set for %d nodes, which were not measured", targetNodes)}
	}
	var lines []string
	for _, driver := range o.drivers {
		if driver == driverLocal {
			stall := stalls(kind(samples, targetNodes, driver, wayFile))
			lines = append(lines, fmt.Sprintf("File, %d nodes: stall p50 ≤ %g ms, p99 ≤ %g ms: %s ms: %s", targetNodes, targetFile, targetFileTail,
				pair(stall, millis), page.Met(stall.p50 <= targetFile && stall.p99 <= targetFileTail)))
			continue
		}
		bare, series := stalls(kind(samples, targetNodes, driver, wayNone)), stalls(kind(samples, targetNodes, driver, waySeries))
		for _, mode := range o.modes {
			some := kind(samples, targetNodes, driver, mode)
			stall, name := stalls(some), fmt.Sprintf("%s, %s, %d nodes: ", driver, mode, targetNodes)
			own, above, share := spreadOf(milliseconds(some, sample.overhead)), stall.minus(bare), stall.over(series)
			lines = append(lines,
				name+fmt.Sprintf("stall ≤ slowest cut + %g ms: above its own slowest cut %s ms: %s", targetOverhead, pair(own, millis), page.Met(own.within(targetOverhead))),
				name+fmt.Sprintf("stall ≤ slowest cut + %g ms: above the cut with nothing held %s ms: %s", targetOverhead, pair(above, millis), page.Met(above.within(targetOverhead))),
				name+fmt.Sprintf("stall ≤ a third of the series: %s of it: %s", pair(share, hundredths), page.Met(share.within(targetShare))))
		}
	}
	return lines
}

func writerTable(out io.Writer, results []result) {
	t := page.NewTable(out, "nodes", "sent", "skipped (all requests waiting)", "between samples: n", "ms p50 / p99", "failed")
	for _, r := range results {
		t.Row(r.title(), fmt.Sprint(r.sent), fmt.Sprint(r.skipped), fmt.Sprint(len(r.quiet)), pair(spreadOf(r.quiet), millis), fmt.Sprint(r.quietFailed))
	}
	t.End()
}

func usageTable(out io.Writer, o options, results []result) {
	verbs := []string{"GET", "POST", "PUT", "PATCH", "DELETE"}
	t := page.NewTable(out, append([]string{"nodes", "mode", "n", "API calls p50 / p99"}, append(verbs, "CPU ms p50", "resident MiB p50 / max", "idle calls/s")...)...)
	for _, r := range results {
		background := "?"
		if r.idle != nil {
			background = fmt.Sprintf("%.1f", r.idle.total()/r.idle.took.Seconds())
		}
		modes := append(slices.Clone(o.modes), wayNone)
		if r.class != "" {
			modes = []string{wayFile}
		}
		for _, mode := range modes {
			var calls, cpu, resident []float64
			byVerb := map[string][]float64{}
			for _, s := range r.samples {
				if s.way != mode || s.err != nil || s.used == nil {
					continue
				}
				u := s.used.without(r.idle)
				calls, cpu, resident = append(calls, u.total()), append(cpu, 1000*u.cpu), append(resident, u.resident/(1<<20))
				for _, verb := range verbs {
					byVerb[verb] = append(byVerb[verb], u.calls[verb])
				}
			}
			cells := []string{r.title(), mode, fmt.Sprint(len(calls)), pair(spreadOf(calls), millis)}
			for _, verb := range verbs {
				cells = append(cells, millis(percentile(byVerb[verb], 50)))
			}
			t.Row(append(cells, millis(percentile(cpu, 50)), pair(spread{percentile(resident, 50), percentile(resident, 100)}, millis), background)...)
		}
	}
	t.End()
	for _, r := range results {
		if r.idle != nil && r.idle.total()/r.idle.took.Seconds() > busyIdle {
			_, _ = fmt.Fprintf(out, "  %s: the controller was not idle while its background was measured; somebody else uses it, and its figures are not to be relied on\n", r.title())
		}
	}
}

func (r result) title() string {
	if r.class == "" {
		return fmt.Sprint(r.nodes)
	}
	return fmt.Sprintf("%d, %s", r.nodes, r.class)
}

func failures(out io.Writer, samples []sample) {
	n := 0
	for _, s := range samples {
		if s.err == nil {
			continue
		}
		if n++; n == 1 {
			_, _ = fmt.Fprintln(out, "\nFailed, and in no figure above")
		}
		_, _ = fmt.Fprintf(out, "  %d nodes, %s, %s, at %s: %s; failed writes: %d\n", s.nodes, s.driver, wayTitle(s.way), s.began.Format("15:04:05"),
			strings.ReplaceAll(s.err.Error(), "\n", "; "), s.seen.failed)
	}
}

func pair(s spread, format func(float64) string) string {
	if math.IsNaN(s.p50) {
		return "?"
	}
	return format(s.p50) + " / " + format(s.p99)
}

// millis keeps a digit of what is short.
func millis(v float64) string {
	switch {
	case math.IsNaN(v):
		return "?"
	case math.Abs(v) < 10 && v != math.Trunc(v):
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func thousandths(v float64) string {
	if math.IsNaN(v) {
		return "?"
	}
	return fmt.Sprintf("%.3f", v)
}

func hundredths(v float64) string {
	if math.IsNaN(v) {
		return "?"
	}
	return fmt.Sprintf("%.2f", v)
}
