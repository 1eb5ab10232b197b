package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/medic/cht-backup/integration/bench/page"
)

// The targets: of cp's rate, and of memory in MB.
const (
	targetShare = 0.7
	targetPeak  = 200.0
)

// fastest is the turn that the machine's other work held up least.
func fastest(turns []answer) answer {
	return slices.MinFunc(turns, func(a, b answer) int { return int(a.Took - b.Took) })
}

func rate(mib int64, took time.Duration) float64 { return float64(mib) / took.Seconds() }

func megabytes(kb int64) float64 { return float64(kb) * 1024 / 1e6 }

// report prints what was measured.
func (r *run) report(out io.Writer) {
	for _, s := range r.sizes {
		_, _ = fmt.Fprintf(out, "\n%d MiB in %d files; the fastest of all turns\n", s.mib, shards)
		cp, synced := s.turns[ways[0].name], s.turns[ways[1].name]
		t := page.NewTable(out, "way", "turns", "took", "MiB/s", "of cp", "of cp with sync", "CPU s", "written MiB", "peak MB")
		for _, w := range ways {
			turns := s.turns[w.name]
			if len(turns) == 0 || len(cp) == 0 || len(synced) == 0 {
				continue
			}
			a := fastest(turns)
			written, peak := "-", "-"
			if !w.cp {
				written, peak = fmt.Sprintf("%.0f", float64(a.Sent)/(1<<20)), fmt.Sprintf("%.0f", megabytes(a.PeakKB))
			}
			t.Row(w.name, fmt.Sprint(len(turns)), a.Took.Round(10*time.Millisecond).String(), fmt.Sprintf("%.0f", rate(s.mib, a.Took)),
				share(a, fastest(cp)), share(a, fastest(synced)), fmt.Sprintf("%.1f", a.CPU.Seconds()), written, peak)
			if w.restore {
				t.Row("the way back", fmt.Sprint(len(turns)), a.Restored.Round(10*time.Millisecond).String(), fmt.Sprintf("%.0f", rate(s.mib, a.Restored)), "", "", "", "", "")
			}
		}
		t.End()
	}
	_, _ = fmt.Fprintln(out, "\ncp -r leaves what it copied in the page cache. The repository has each object on the disk before it goes on, as cp -r has all at the end with the sync.")
	_, _ = fmt.Fprintln(out, "\nTargets")
	for _, line := range targets(r.sizes) {
		_, _ = fmt.Fprintln(out, "  "+line)
	}
}

func share(a, of answer) string { return fmt.Sprintf("%.2f", of.Took.Seconds()/a.Took.Seconds()) }

// targets says what was measured and whether it is met.
func targets(sizes []size) (lines []string) {
	for _, s := range sizes {
		bare, cp, synced := s.turns[ways[2].name], s.turns[ways[0].name], s.turns[ways[1].name]
		if len(bare) == 0 || len(cp) == 0 || len(synced) == 0 {
			continue
		}
		for _, against := range []struct {
			name  string
			turns []answer
		}{{ways[0].name, cp}, {ways[1].name, synced}} {
			got := fastest(against.turns).Took.Seconds() / fastest(bare).Took.Seconds()
			lines = append(lines, fmt.Sprintf("%d MiB, neither compressed nor sealed: at least %.2f of %s: %.2f: %s", s.mib, targetShare, against.name, got, page.Met(got >= targetShare)))
		}
	}
	peak, most := int64(0), int64(0)
	for _, s := range sizes {
		for _, w := range ways {
			for _, a := range s.turns[w.name] {
				if !w.cp && a.PeakKB > peak {
					peak, most = a.PeakKB, s.mib
				}
			}
		}
	}
	return append(lines, fmt.Sprintf("memory at most %.0f MB, of node and repository in one process: %.0f MB with %d MiB: %s", targetPeak, megabytes(peak), most, page.Met(megabytes(peak) <= targetPeak)))
}
