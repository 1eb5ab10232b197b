package main

import (
	"fmt"
	"io"

	"github.com/medic/cht-backup/integration/bench/page"
)

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// report prints what was measured.
func (r *run) report(out io.Writer) {
	page.Line(out, "cluster", "CouchDB %s, %d nodes (%s), 12 shards a database", r.version, r.o.nodes, r.kind)
	page.Line(out, "documents", "%d, then %d at a time", r.o.docs, r.o.some())
	for i, s := range r.steps {
		_, _ = fmt.Fprintf(out, "\n%d. %s: %s", i+1, s.name, mib(s.costs[0].bytes))
		if i > 0 {
			_, _ = fmt.Fprintf(out, ", %+.1f MiB", float64(s.grown)/(1<<20))
		}
		_, _ = fmt.Fprintln(out)
		t := page.NewTable(out, "way", "new bytes", "of all", "new chunks")
		for k, w := range r.ways {
			t.Row(w.name, mib(s.costs[k].fresh), fmt.Sprintf("%.1f%%", s.costs[k].share()), fmt.Sprint(s.costs[k].chunks))
		}
		t.End()
		_, _ = fmt.Fprintf(out, "the product sent %s, compressed and sealed: %.1f%% of what the first backup sent\n", mib(s.product.Sent), r.ofFirst(s))
	}
	_, _ = fmt.Fprintln(out, "\nTargets")
	for _, line := range r.targets() {
		_, _ = fmt.Fprintln(out, "  "+line)
	}
	if len(r.levels) == 0 {
		return
	}
	_, _ = fmt.Fprintln(out, "\nzstd, 1 MiB at a time, per second of one processor")
	t := page.NewTable(out, "files", "level", "MiB", "left", "MiB/s")
	for _, l := range r.levels {
		t.Row(l.kind, l.name, fmt.Sprintf("%.0f", float64(l.in)/(1<<20)), fmt.Sprintf("%.1f%%", 100*l.ratio()), fmt.Sprintf("%.0f", l.rate()))
	}
	t.End()
}

// target is what an increment without compaction may send of what the first backup sent,
// in percent.
const target = 3.0

func (r *run) ofFirst(s step) float64 {
	if first := r.steps[0].product.Sent; first > 0 {
		return 100 * float64(s.product.Sent) / float64(first)
	}
	return 0
}

// targets are of the steps that only add documents: the second and the third.
func (r *run) targets() (lines []string) {
	for i, s := range r.steps {
		if i == 1 || i == 2 {
			lines = append(lines, fmt.Sprintf("%s: at most %g%% of the first backup's bytes sent: %.1f%%: %s", s.name, target, r.ofFirst(s), page.Met(r.ofFirst(s) <= target)))
		}
	}
	return lines
}
