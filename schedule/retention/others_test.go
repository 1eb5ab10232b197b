package retention

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Models of what borg prune and restic forget say of themselves, made from their
// documentation: the manual of borg 1.2 to 1.4, and restic's chapter "Removing
// snapshots according to a policy". They are given what both can have: good backups
// only, no two in one second.

// others are the rules as both take them. -1, all of a kind, is not modelled: we have
// no such count.
func others(p Policy) []struct {
	name   string
	count  int
	period func(time.Time) string
} {
	layout := func(layout string) func(time.Time) string {
		return func(t time.Time) string { return t.Format(layout) }
	}
	return []struct {
		name   string
		count  int
		period func(time.Time) string
	}{
		{"last", p.Last, layout(time.DateTime)},
		{"hourly", p.Hourly, layout("2006-01-02 15")},
		{"daily", p.Daily, layout(time.DateOnly)},
		{"weekly", p.Weekly, func(t time.Time) string { year, week := t.ISOWeek(); return fmt.Sprint(year, "-", week) }},
		{"monthly", p.Monthly, layout("2006-01")},
		{"yearly", p.Yearly, layout("2006")},
	}
}

// model is what one of the others keeps, by time, the newest first: the rules, where
// "oldest" is the one that is kept because a rule has counts left.
type model map[time.Time][]string

func (m model) onlyOldest(t time.Time) bool {
	return len(m[t]) > 0 && !slices.ContainsFunc(m[t], func(why string) bool { return why != "oldest" })
}

// restic: each rule by itself; a rule that has counts left keeps the oldest too; within
// is counted from the newest snapshot that is not in the future, and must be younger.
func restic(p Policy, zone *time.Location, now time.Time, times []time.Time) model {
	kept := model{}
	for _, rule := range others(p) {
		left, last := rule.count, ""
		for i, t := range times {
			if left == 0 {
				break
			}
			period := rule.period(t.In(zone))
			if period == last && i < len(times)-1 {
				continue
			}
			if period == last {
				kept[t] = append(kept[t], "oldest")
			} else {
				kept[t] = append(kept[t], rule.name)
			}
			last = period
			left--
		}
	}
	if p.Within.IsZero() {
		return kept
	}
	latest := slices.IndexFunc(times, func(t time.Time) bool { return t.Before(now) })
	bound := times[latest].In(zone).AddDate(-p.Within.Years, -p.Within.Months, -p.Within.Days).Add(-time.Duration(p.Within.Hours) * time.Hour)
	for _, t := range times {
		if t.After(bound) {
			kept[t] = append(kept[t], "within")
		}
	}
	return kept
}

// borg: from the finest rule to the coarsest; what a finer rule keeps is passed over
// and does not count; a rule that does not reach its number keeps the oldest.
func borg(p Policy, zone *time.Location, times []time.Time) model {
	kept := model{}
	for _, rule := range others(p) {
		count, last := 0, ""
		for _, t := range times {
			if period := rule.period(t.In(zone)); count < rule.count && period != last {
				last = period
				if len(kept[t]) == 0 {
					kept[t] = []string{rule.name}
					count++
				}
			}
		}
		if oldest := times[len(times)-1]; count < rule.count && len(kept[oldest]) == 0 {
			kept[oldest] = []string{"oldest"}
		}
	}
	return kept
}

// ours gives what Plan keeps of good backups of these times.
func ours(p Policy, zone *time.Location, now time.Time, times []time.Time) map[time.Time]bool {
	var backups []Backup
	for i, t := range times {
		backups = append(backups, Backup{Name: fmt.Sprint("b", i), Time: t, State: Good})
	}
	kept := map[time.Time]bool{}
	for _, b := range keptOf(Plan(p, zone, now, backups)) {
		kept[b.Time] = true
	}
	return kept
}

// steady are zones whose clocks are never changed.
func steady(t *testing.T) []*time.Location {
	return []*time.Location{zoneOf(t, "Etc/UTC"), zoneOf(t, "Africa/Nairobi"), zoneOf(t, "Asia/Kathmandu")}
}

// distinct are the times of a history, each once, the newest first.
func distinct(times []time.Time) []time.Time {
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	return slices.CompactFunc(times, time.Time.Equal)
}

// TestAgainstRestic: where no clock is changed and spans are in days and hours, there
// are two differences. Restic's rule that has counts left keeps the oldest, ours does
// not; what is exactly as old as the span is within ours, not within restic's.
func TestAgainstRestic(t *testing.T) {
	seed, random := seeded(t)
	same, oldest, edge := 0, 0, 0
	for round := range 3000 {
		policy, zone := somePolicy(random), steady(t)[random.IntN(3)]
		policy.Unlimited, policy.Within.Years, policy.Within.Months = false, 0, 0
		if policy.keepsNothing() {
			continue
		}
		times := distinct(someTimes(random, 1+random.IntN(50)))
		if age := times[0].Sub(times[random.IntN(len(times))]); random.IntN(4) == 0 && age > 0 && age%time.Hour == 0 {
			policy.Within = Span{Hours: int(age / time.Hour)} // to the very backup
		}
		now := times[0].Add(time.Hour)
		theirs, we := restic(policy, zone, now, times), ours(policy, zone, now, times)
		differs := false
		for _, at := range times {
			r, o := len(theirs[at]) > 0, we[at]
			exactly := !policy.Within.IsZero() && at.Equal(times[0].AddDate(0, 0, -policy.Within.Days).Add(-time.Duration(policy.Within.Hours)*time.Hour))
			switch {
			case exactly && o && (!r || theirs.onlyOldest(at)):
				edge++
				differs = true
			case theirs.onlyOldest(at) && !o && at.Equal(times[len(times)-1]):
				oldest++
				differs = true
			case theirs.onlyOldest(at) || r != o || exactly && !o:
				t.Fatalf("seed %d round %d: policy %+v zone %s: %s: restic keeps it for %q, we: %v", seed, round, policy, zone, at, theirs[at], o)
			}
		}
		if !differs {
			same++
		}
	}
	t.Logf("the same in %d; the oldest in %d, exactly as old in %d", same, oldest, edge)
	if same < 300 || oldest < 300 || edge < 20 {
		t.Error("one of the cases hardly occurs: the comparison lost its sense")
	}
}

// TestAgainstBorg: borg's counts are of those that no finer rule keeps. With each count
// raised by the periods that borg passes over, we keep the same but for the oldest.
func TestAgainstBorg(t *testing.T) {
	seed, random := seeded(t)
	same, more, oldest := 0, 0, 0
	for round := range 3000 {
		policy, zone := somePolicy(random), steady(t)[random.IntN(3)]
		policy.Unlimited, policy.Within = false, Span{}
		if policy.keepsNothing() {
			continue
		}
		times := distinct(someTimes(random, 1+random.IntN(50)))
		theirs := borg(policy, zone, times)
		raised := ours(raise(policy, zone, times), zone, times[0], times)
		we := ours(policy, zone, times[0], times)
		extra, first := 0, false
		for _, at := range times {
			b := len(theirs[at]) > 0
			// The oldest of a finer rule may also be the newest of a coarser rule's period.
			if first = theirs.onlyOldest(at) && !raised[at]; first {
				oldest++
			}
			if b != raised[at] && (!first || at != times[len(times)-1]) {
				t.Fatalf("seed %d round %d: policy %+v zone %s: %s: borg %q, we with the counts raised: %v", seed, round, policy, zone, at, theirs[at], raised[at])
			}
			if we[at] && !b {
				t.Fatalf("seed %d round %d: policy %+v: we keep %s, borg does not", seed, round, policy, at)
			}
			if b && !we[at] && !first {
				extra++
			}
		}
		switch {
		case extra > 0:
			more++
		case !first:
			same++
		}
	}
	t.Logf("the same in %d; more with borg in %d, the oldest in %d", same, more, oldest)
	if same < 200 || more < 200 || oldest < 200 {
		t.Error("one of the cases hardly occurs: the comparison lost its sense")
	}
}

// raise gives the counts with which each rule reaches as far as borg's.
func raise(p Policy, zone *time.Location, times []time.Time) Policy {
	raised := p
	for i, count := range []*int{&raised.Last, &raised.Hourly, &raised.Daily, &raised.Weekly, &raised.Monthly, &raised.Yearly} {
		// What the finer rules keep, and nothing else.
		finer := p
		for _, coarser := range []*int{&finer.Last, &finer.Hourly, &finer.Daily, &finer.Weekly, &finer.Monthly, &finer.Yearly}[i:] {
			*coarser = 0
		}
		kept := borg(finer, zone, times)
		rule := others(p)[i]
		missing, last := rule.count, ""
		for _, t := range times {
			period := rule.period(t.In(zone))
			if period == last || missing == 0 {
				continue
			}
			last = period
			if len(kept[t]) > 0 {
				*count++
			} else {
				missing--
			}
		}
	}
	return raised
}

// TestDocumentedExamples: the models say what the examples of both manuals say, and
// the differences are those of our documentation.
func TestDocumentedExamples(t *testing.T) {
	day := func(year, month, day, hour int) time.Time {
		return time.Date(year, time.Month(month), day, hour, 0, 0, 0, time.UTC)
	}
	written := func(times []time.Time, kept func(time.Time) bool) []string {
		var all []string
		for _, at := range times {
			if kept(at) {
				all = append(all, at.Format(time.DateOnly))
			}
		}
		return all
	}
	check := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}

	// borg: a backup of every day of 2015 but 19 December; 14 daily, 6 monthly, 1 yearly.
	var year []time.Time
	for at := day(2015, 12, 31, 1); at.Year() == 2015; at = at.AddDate(0, 0, -1) {
		if at != day(2015, 12, 19, 1) {
			year = append(year, at)
		}
	}
	policy := Policy{Daily: 14, Monthly: 6, Yearly: 1}
	theirs, we := borg(policy, time.UTC, year), ours(policy, time.UTC, year[0], year)
	check("borg's own", written(year, func(at time.Time) bool { return len(theirs[at]) > 0 && at.Before(day(2015, 12, 18, 0)) }),
		"2015-12-17", "2015-11-30", "2015-10-31", "2015-09-30", "2015-08-31", "2015-07-31", "2015-06-30", "2015-01-01")
	check("borg keeps, we do not", written(year, func(at time.Time) bool { return len(theirs[at]) > 0 && !we[at] }), "2015-06-30", "2015-01-01")
	check("we keep, borg does not", written(year, func(at time.Time) bool { return len(theirs[at]) == 0 && we[at] }))

	// restic: working days of two weeks but one, on Fridays twice; 5 daily, within 7 days.
	weeks := []time.Time{day(2025, 5, 2, 23), day(2025, 5, 2, 11), day(2025, 5, 1, 11), day(2025, 4, 29, 11), day(2025, 4, 28, 11), day(2025, 4, 25, 23), day(2025, 4, 25, 11),
		day(2025, 4, 24, 11), day(2025, 4, 23, 11), day(2025, 4, 22, 11), day(2025, 4, 21, 11)}
	now := day(2025, 5, 3, 0)
	fifth := []string{"2025-05-02", "2025-05-01", "2025-04-29", "2025-04-28", "2025-04-25"}
	theirs, we = restic(Policy{Daily: 5}, time.UTC, now, weeks), ours(Policy{Daily: 5}, time.UTC, now, weeks)
	check("restic's own", written(weeks, func(at time.Time) bool { return len(theirs[at]) > 0 }), fifth...)
	check("ours of it", written(weeks, func(at time.Time) bool { return we[at] }), fifth...)

	// A span to the last hour: what is exactly as old is within ours.
	theirs, we = restic(Policy{Within: Span{Days: 7}}, time.UTC, now, weeks), ours(Policy{Within: Span{Days: 7}}, time.UTC, now, weeks)
	check("exactly as old", written(weeks, func(at time.Time) bool { return len(theirs[at]) == 0 && we[at] }), "2025-04-25")
	// A month before 31 March: restic's begins on 3 March.
	march := []time.Time{day(2026, 3, 31, 12), day(2026, 3, 3, 13), day(2026, 3, 3, 11), day(2026, 3, 1, 0), day(2026, 2, 28, 23)}
	theirs, we = restic(Policy{Within: Span{Months: 1}}, time.UTC, day(2026, 4, 1, 0), march), ours(Policy{Within: Span{Months: 1}}, time.UTC, day(2026, 4, 1, 0), march)
	check("restic's month", written(march, func(at time.Time) bool { return len(theirs[at]) > 0 }), "2026-03-31", "2026-03-03")
	check("our month", written(march, func(at time.Time) bool { return we[at] }), "2026-03-31", "2026-03-03", "2026-03-03", "2026-03-01")
	// One that lies ahead of the clock takes restic's place of the last.
	ahead := []time.Time{day(2036, 1, 1, 0), day(2026, 3, 2, 0), day(2026, 3, 1, 0)}
	theirs, we = restic(Policy{Last: 1}, time.UTC, day(2026, 3, 2, 1), ahead), ours(Policy{Last: 1}, time.UTC, day(2026, 3, 2, 1), ahead)
	check("restic, ahead", written(ahead, func(at time.Time) bool { return len(theirs[at]) > 0 }), "2036-01-01")
	check("ours, ahead", written(ahead, func(at time.Time) bool { return we[at] }), "2036-01-01", "2026-03-02")
	// The hour that autumn repeats is one hour to both of them, and two to us.
	paris := zoneOf(t, "Europe/Paris")
	autumn := []time.Time{day(2026, 10, 25, 1).Add(30 * time.Minute), day(2026, 10, 25, 0).Add(30 * time.Minute), day(2026, 10, 24, 23)}
	theirs, we = restic(Policy{Hourly: 2}, paris, day(2026, 10, 25, 2), autumn), ours(Policy{Hourly: 2}, paris, day(2026, 10, 25, 2), autumn)
	if b := borg(Policy{Hourly: 2}, paris, autumn); len(theirs[autumn[1]])+len(b[autumn[1]]) > 0 || !we[autumn[1]] {
		t.Errorf("the hour that comes twice: restic %v, borg %v, we %v", theirs, b, we)
	}
}
