package retention

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Decision is what a plan says of one backup.
type Decision struct {
	Backup
	// Keep is false for what is to be removed, and for what is being removed.
	Keep bool
	// Why names every rule that keeps it, or tells why none does.
	Why []string
}

// Plan decides over backups, in whatever order they come; the newest comes first out
// of it, and of two of one time the one whose name is greater counts as the newer.
//
// Every rule looks at all good backups, whatever the others keep. A backup whose time
// lies ahead of now is kept and not counted: a clock that ran ahead for a while must
// not age all others.
func Plan(p Policy, zone *time.Location, now time.Time, backups []Backup) []Decision {
	plan := make([]Decision, len(backups))
	for i, at := range newestFirst(backups) {
		plan[i].Backup = backups[at]
	}
	var good, bad []*Decision
	for i := range plan {
		switch d := &plan[i]; {
		case d.State == Deleting:
			d.Why = []string{"is being deleted"}
		case d.Foreign != "":
			d.keep(d.Foreign + ": not of this schedule")
		case d.State == Unfinished:
			d.keep("unfinished")
		case d.ended().After(now):
			d.keep("ahead of the clock, at " + d.ended().In(zone).Format(time.RFC3339) + ": not counted before then")
		case d.State == Good:
			good = append(good, d)
		default:
			bad = append(bad, d)
		}
	}
	guard(plan, good, bad, now)
	if p.Unlimited {
		for i := range plan {
			if plan[i].State != Deleting {
				plan[i].keep("no retention: all are kept")
			}
		}
		return plan
	}
	p.overGood(good, zone)
	p.overFailed(bad, zone, now)
	return plan
}

// newestFirst gives the order of backups. Not they are sorted, of which a million
// would be moved about, but their places.
func newestFirst(backups []Backup) []int {
	type place struct {
		seconds     int64
		nanoseconds int
		at          int
	}
	places := make([]place, len(backups))
	for i, b := range backups {
		places[i] = place{b.Time.Unix(), b.Time.Nanosecond(), i}
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.seconds != b.seconds {
			return cmp.Compare(b.seconds, a.seconds)
		}
		return cmp.Or(cmp.Compare(b.nanoseconds, a.nanoseconds), cmp.Compare(backups[b.at].Name, backups[a.at].Name))
	})
	order := make([]int, len(places))
	for i, p := range places {
		order[i] = p.at
	}
	return order
}

func (d *Decision) keep(why string) {
	d.Keep = true
	d.Why = append(d.Why, why)
}

// guard keeps what no policy may remove.
func guard(plan []Decision, good, bad []*Decision, now time.Time) {
	if len(good) > 0 {
		good[0].keep("newest good")
	}
	if i := slices.IndexFunc(good, func(d *Decision) bool { return d.Verified }); i >= 0 {
		good[i].keep("newest verified")
	}
	// Better a backup with a hole than none.
	if i := slices.IndexFunc(bad, func(d *Decision) bool { return d.State == Disproved }); i >= 0 && len(good) == 0 {
		bad[i].keep("disproved, but no good one is left")
	}
	for i := range plan {
		d := &plan[i]
		if d.State == Deleting {
			continue
		}
		if d.Held != "" {
			d.keep("held: " + d.Held)
		}
		if d.InUse != "" {
			d.keep("in use by " + d.InUse)
		}
		if d.LockedUntil.After(now) {
			d.keep("locked until " + d.LockedUntil.UTC().Format(time.RFC3339))
		}
	}
}

// overGood applies the keep rules to the good ones, newest first.
func (p Policy) overGood(good []*Decision, zone *time.Location) {
	if len(good) == 0 {
		return
	}
	for i, d := range good[:min(p.Last, len(good))] {
		d.keep(fmt.Sprintf("last %d of %d", i+1, p.Last))
	}
	moments := make([]moment, len(good))
	for i, d := range good {
		moments[i] = momentOf(d.Time, zone)
	}
	// replaced tells, of those that are not kept, which newer one has their period.
	replaced := make([][]string, len(good))
	for _, rule := range calendar {
		n := rule.count(p)
		if n == 0 {
			continue
		}
		// Not only the period before is remembered: clocks that are put back over
		// midnight come to one day twice.
		seen := map[int64][]string{}
		for i, d := range good {
			key := rule.key(moments[i])
			if newer, there := seen[key]; there {
				if replaced[i] == nil {
					replaced[i] = newer
				}
				continue
			}
			if len(seen) == n {
				break
			}
			period := rule.name + " " + rule.label(d.Time.In(zone))
			seen[key] = []string{period + " is " + d.Name}
			d.keep(period)
		}
	}
	if !p.Within.IsZero() {
		within := "within " + p.Within.String()
		for since := p.Within.Before(good[0].Time, zone); len(good) > 0 && !good[0].Time.Before(since); good = good[1:] {
			good[0].keep(within)
		}
		replaced = replaced[len(replaced)-len(good):]
	}
	older := []string{"older than what the rules keep"}
	for i, d := range good {
		switch {
		case d.Keep:
		case replaced[i] != nil:
			d.Why = replaced[i]
		default:
			d.Why = older
		}
	}
}

// overFailed applies the rule for failed ones, of which the disproved are counted by
// when they were found out.
func (p Policy) overFailed(bad []*Decision, zone *time.Location, now time.Time) {
	slices.SortStableFunc(bad, func(a, b *Decision) int { return b.ended().Compare(a.ended()) })
	since := p.FailedWithin.Before(now, zone)
	for i, d := range bad {
		switch {
		case i < p.FailedLast && !d.ended().Before(since):
			d.keep(fmt.Sprintf("%s %d of %d", d.State, i+1, p.FailedLast))
		case d.Keep:
		case i >= p.FailedLast:
			d.Why = []string{fmt.Sprintf("%s, beyond the newest %d", d.State, p.FailedLast)}
		default:
			d.Why = []string{fmt.Sprintf("%s, older than %s", d.State, p.FailedWithin)}
		}
	}
}

// Reason is Why in one line.
func (d Decision) Reason() string { return strings.Join(d.Why, ", ") }
