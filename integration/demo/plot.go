package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/medic/cht-backup/integration/cht/load"
)

const (
	plotColumns = 70
	plotRows    = 8
	plotLabel   = 10 // columns of the scale on the left
	// idle marks a bucket in which no request was open.
	idle = time.Duration(-1)
)

// window is the part of time that a plot shows.
type window struct {
	from   time.Time
	bucket time.Duration
	n      int
}

// around places a stall a third into the window, and makes it wide enough to show
// what was before and after.
func around(start, end time.Time) window {
	total := max(7*time.Second, 3*end.Sub(start))
	bucket := (total/plotColumns + 49*time.Millisecond).Truncate(50 * time.Millisecond)
	return window{from: start.Add(-bucket * plotColumns / 3), bucket: bucket, n: plotColumns}
}

func (w window) column(t time.Time) int { return int(t.Sub(w.from) / w.bucket) }

// waits gives for each bucket the longest wait among the requests that were open
// in it, so that a stall is as wide as it lasted.
func waits(writes []load.Write, w window) []time.Duration {
	values := slices.Repeat([]time.Duration{idle}, w.n)
	for _, one := range writes {
		if one.End < w.from.UnixNano() {
			continue
		}
		first, last := max(0, w.column(time.Unix(0, one.Start))), min(w.n-1, w.column(time.Unix(0, one.End)))
		for i := first; i <= last; i++ {
			values[i] = max(values[i], time.Duration(one.End-one.Start))
		}
	}
	return values
}

var eighths = []rune(" ▁▂▃▄▅▆▇█")

// drawWaits draws one column a value. Anything above zero is seen, however small.
func drawWaits(values []time.Duration, rows int) []string {
	top := scale(slices.Max(values))
	var lines []string
	for row := rows - 1; row >= 0; row-- {
		label := ""
		switch row {
		case rows - 1:
			label = milliseconds(top)
		case rows/2 - 1:
			label = milliseconds(top / 2)
		}
		var line strings.Builder
		fmt.Fprintf(&line, "%*s │", plotLabel-2, label)
		for _, v := range values {
			filled := 0
			if v > 0 {
				filled = max(1, int(int64(v)*int64(rows)*8/int64(top)))
			}
			line.WriteRune(eighths[min(8, max(0, filled-8*row))])
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return append(lines, fmt.Sprintf("%*s └%s", plotLabel-2, "0", strings.Repeat("─", len(values))))
}

// scale is the next of 1, 2, 4, 5 times a power of ten milliseconds.
func scale(most time.Duration) time.Duration {
	for unit := 10 * time.Millisecond; ; unit *= 10 {
		for _, k := range []time.Duration{1, 2, 4, 5} {
			if k*unit >= most {
				return k * unit
			}
		}
	}
}

// drawMark draws a bracket under the time from start to end, with text beside it
// where there is room.
func drawMark(w window, start, end time.Time, text string) string {
	first := min(w.n-1, max(0, w.column(start)))
	last := min(w.n-1, max(first, w.column(end)))
	mark := "┴"
	if last > first {
		mark = "├" + strings.Repeat("─", last-first-1) + "┤"
	}
	if length := utf8.RuneCountInString(text); last+2+length <= w.n || first-1-length < 0 {
		return strings.Repeat(" ", plotLabel+first) + mark + " " + text
	}
	return strings.Repeat(" ", plotLabel+first-1-utf8.RuneCountInString(text)) + text + " " + mark
}

// drawSeconds writes the time before and after zero under the axis, as often as
// there is room.
func drawSeconds(w window, zero time.Time) string {
	line := []rune(strings.Repeat(" ", plotLabel+w.n+8))
	step := (12*w.bucket + time.Second - 1).Truncate(time.Second) // a label has at most 8 letters
	for at := zero.Add(-zero.Sub(w.from).Truncate(step)); w.column(at) < w.n; at = at.Add(step) {
		text := fmt.Sprintf("%+d s", int(at.Sub(zero)/time.Second))
		if at.Equal(zero) {
			text = "0"
		}
		copy(line[plotLabel+w.column(at):], []rune(text))
	}
	return strings.TrimRight(string(line), " ")
}

// spread is how long requests took: the middle one and the longest.
func spread(writes []load.Write, keep func(load.Write) bool) (median, most time.Duration) {
	var all []time.Duration
	for _, w := range writes {
		if keep(w) {
			all = append(all, time.Duration(w.End-w.Start))
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)-1]
}
