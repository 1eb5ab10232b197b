package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/medic/cht-backup/integration/bench/page"
)

// The targets.
const (
	targetPeak  = 150.0 // megabytes of 10^6 bytes, resident at most
	targetRatio = 1.25  // of the peaks: 20 bytes kept of each document would be above it, the garbage collector's moods are not
)

// report prints what was measured.
func (r *run) report(out io.Writer) {
	var databases []string
	for i, share := range shares {
		databases = append(databases, fmt.Sprintf("%s %d", share.name, r.have[i]))
	}
	page.Line(out, "cluster", "CouchDB %s, %d nodes (%s), databases: %s", r.version, len(r.cluster.URLs), r.cluster.Kind, strings.Join(databases, ", "))
	_, _ = fmt.Fprintln(out, "\nEach in a process of its own; the peak is of its resident memory")
	t := page.NewTable(out, "documents", "work", "took", "documents/s", "peak MB")
	for _, s := range r.sizes {
		row := func(work string, a answer) {
			t.Row(fmt.Sprint(s.documents), work, a.Took.Round(10*time.Millisecond).String(), fmt.Sprintf("%.0f", float64(s.documents)/a.Took.Seconds()), fmt.Sprintf("%.1f", megabytes(a)))
		}
		row("fingerprint of a backup", s.fingerprint)
		row("verification, Full", s.verified)
		row("the same, one document changed", s.damaged)
	}
	t.End()
	_, _ = fmt.Fprintln(out, "\nCorrect: every document and attachment that was written was verified, and the one changed document was found each time")
	_, _ = fmt.Fprintln(out, "\nTargets")
	for _, line := range targets(r.sizes) {
		_, _ = fmt.Fprintln(out, "  "+line)
	}
}

func megabytes(a answer) float64 { return float64(a.PeakKB) * 1024 / 1e6 }

// targets says what was measured of the verification, and whether it is met.
func targets(sizes []size) []string {
	if len(sizes) < 2 {
		return nil
	}
	small, large := sizes[0], sizes[len(sizes)-1]
	peak := max(megabytes(large.verified), megabytes(large.damaged))
	ratio := peak / max(megabytes(small.verified), megabytes(small.damaged))
	return []string{
		fmt.Sprintf("memory at most %.0f MB with %d documents: %.1f MB: %s", targetPeak, large.documents, peak, page.Met(peak <= targetPeak)),
		fmt.Sprintf("memory independent of the number: %.2f times that with %d, for %.0f times the documents (at most %.2f): %s",
			ratio, small.documents, float64(large.documents)/float64(small.documents), targetRatio, page.Met(ratio <= targetRatio)),
	}
}
