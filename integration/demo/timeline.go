package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const timelineBar = 32

type moment struct {
	at   time.Time
	what string
}

// moments are what happened in a backup, in order of time.
func moments(b *api.Backup) []moment {
	t := b.Status.Timeline
	verb := map[api.Quiesce][3]string{
		api.QuiesceFreeze: {"freeze: asked of all nodes at once", "quiesced: all nodes hold still, writes wait", "thaw: all nodes run again, writes go on"},
		api.QuiescePause:  {"pause: asked of all nodes at once", "quiesced: all nodes hold still, requests wait", "resume: all nodes run again, requests go on"},
	}[b.Status.QuiesceMode]
	if verb[0] == "" {
		verb = [3]string{"start: nothing is held back in mode None", "", "end"}
	}
	all := []moment{{t.QuiesceStart.Time, verb[0]}}
	if verb[1] != "" {
		all = append(all, moment{t.Quiesced.Time, verb[1]})
	}
	for _, v := range b.Status.Volumes {
		if v.CutTime != nil {
			all = append(all, moment{v.CutTime.Time, "cut: volume of " + v.Node})
		}
	}
	all = append(all, moment{t.Cut.Time, "the storage has confirmed every cut"}, moment{t.Released.Time, verb[2]})
	if t.Ready != nil {
		all = append(all, moment{t.Ready.Time, "ready: a restore can be made from the copy"})
	}
	slices.SortStableFunc(all, func(a, b moment) int { return a.at.Compare(b.at) })
	return all
}

// drawTimeline puts each moment on a bar from start to end; what lies outside has
// an arrow.
func drawTimeline(all []moment, start, end time.Time) []string {
	var lines []string
	for _, m := range all {
		bar := []rune(strings.Repeat("·", timelineBar))
		switch {
		case m.at.Before(start):
			bar[0] = '◂'
		case m.at.After(end):
			bar[timelineBar-1] = '▸'
		default:
			at := 0
			if end.After(start) {
				at = int(int64(timelineBar-1) * int64(m.at.Sub(start)) / int64(end.Sub(start)))
			}
			bar[at] = '●'
		}
		lines = append(lines, fmt.Sprintf("%s %+7d ms  %s  %s", m.at.UTC().Format("15:04:05.000"), m.at.Sub(start).Milliseconds(), string(bar), m.what))
	}
	return lines
}

// outsideHold names the volumes that were not cut while all nodes were held.
func outsideHold(b *api.Backup) []string {
	var bad []string
	// The driver's clock may be coarser than the controller's.
	const coarse = time.Millisecond
	t := b.Status.Timeline
	for _, v := range b.Status.Volumes {
		switch {
		case v.CutTime == nil:
			bad = append(bad, v.Node+": the time of its cut is not known")
		case v.CutTime.Time.Before(t.Quiesced.Add(-coarse)) || v.CutTime.After(t.Released.Time):
			bad = append(bad, fmt.Sprintf("%s was cut at %s, the nodes held still from %s to %s", v.Node, stamp(v.CutTime.Time), stamp(t.Quiesced.Time), stamp(t.Released.Time)))
		}
	}
	return bad
}

func stamp(t time.Time) string { return t.UTC().Format("15:04:05.000") }
