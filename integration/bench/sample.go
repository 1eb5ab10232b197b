package main

import (
	"time"

	"github.com/medic/cht-backup/integration/cht/load"
)

// sample is one set of snapshots, by whichever way it was taken.
type sample struct {
	nodes       int
	driver, way string
	began, done time.Time // from the request until all was ready and tidy
	// The moments of the stall. In way None nothing is held: it begins with the
	// first snapshot asked for, and released is the last cut.
	start, quiesced, cut, released time.Time
	holds                          []hold // waySeries: one for each node
	err                            error
	used                           *usage // the product's ways, where it could be told
	seen                           view
	// Of wayFile: files and bytes at the cut, bytes that were sent to the repository,
	// and what each copier, and the controller, took at most.
	files, bytes, sent int64
	copiers            peaks
	controller         peaks
}

// hold is one node's turn in the series.
type hold struct {
	start, held time.Time // freeze asked for, confirmed
	named       time.Time // the snapshot has its point in time and handle
	ready       time.Time // the snapshot is ready to use
	released    time.Time
}

func (s sample) stall() time.Duration { return s.released.Sub(s.start) }

// quiesceTime, cutTime and releaseTime are the parts of the stall; in the series the sums
// over all nodes.
func (s sample) quiesceTime() time.Duration {
	return s.sum(s.quiesced.Sub(s.start), func(h hold) time.Duration { return h.held.Sub(h.start) })
}

func (s sample) cutTime() time.Duration {
	return s.sum(s.cut.Sub(s.quiesced), func(h hold) time.Duration { return h.ready.Sub(h.held) })
}

func (s sample) releaseTime() time.Duration {
	return s.sum(s.released.Sub(s.cut), func(h hold) time.Duration { return h.released.Sub(h.ready) })
}

func (s sample) sum(whole time.Duration, of func(hold) time.Duration) time.Duration {
	if s.way != waySeries {
		return whole
	}
	var total time.Duration
	for _, h := range s.holds {
		total += of(h)
	}
	return total
}

// longestHold is the longest that one node was held.
func (s sample) longestHold() time.Duration {
	longest := time.Duration(0)
	if s.way != waySeries && s.way != wayNone {
		longest = s.stall()
	}
	for _, h := range s.holds {
		longest = max(longest, h.released.Sub(h.start))
	}
	return longest
}

// shortSeries is what the series' stall would have been, had each node been let go
// as soon as its snapshot had a handle and not when it was ready: the least that
// any tool can do that goes node by node.
func (s sample) shortSeries() time.Duration {
	short := s.stall()
	for _, h := range s.holds {
		short -= h.ready.Sub(h.named)
	}
	return short
}

// overhead is by how much the stall is longer than the slowest of its own cuts.
func (s sample) overhead() time.Duration { return s.stall() - s.cutTime() }

// view is what the writer saw of one sample.
type view struct {
	writes  int           // that overlap the stall or follow it closely
	slowest time.Duration // of these
	failed  int           // from the sample's beginning to its end
}

// aftermath is for how long after the stall its effects on writes are looked for
// (requests queued, a proxy that took a node for dead).
const aftermath = time.Second

// see finds what the writer saw of a sample.
func see(s sample, writes []load.Write) view {
	var v view
	from, to := s.start, s.released.Add(aftermath)
	if s.err != nil {
		from, to = s.began, s.done
	}
	for _, w := range writes {
		if !w.Acknowledged() && overlaps(w, s.began, s.done) {
			v.failed++
		}
		if overlaps(w, from, to) {
			v.writes++
			v.slowest = max(v.slowest, time.Duration(w.End-w.Start))
		}
	}
	return v
}

// between gives the latencies of the writes that touch no sample, in milliseconds,
// and how many of those failed.
func between(samples []sample, writes []load.Write) (latencies []float64, failed int) {
	for _, w := range writes {
		touched := false
		for _, s := range samples {
			touched = touched || overlaps(w, s.began, s.done)
		}
		switch {
		case touched:
		case !w.Acknowledged():
			failed++
		default:
			latencies = append(latencies, inMillis(time.Duration(w.End-w.Start)))
		}
	}
	return latencies, failed
}

func overlaps(w load.Write, from, to time.Time) bool {
	return w.End >= from.UnixNano() && w.Start <= to.UnixNano()
}
