package retention

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// The oracle answers for one backup at a time, from the words of the rules, by
// looking at every other backup. It shares nothing with Plan but the types.

func newer(a, b Backup) bool {
	return a.Time.After(b.Time) || a.Time.Equal(b.Time) && a.Name > b.Name
}

func countable(b Backup, now time.Time) bool {
	return b.State == Good && b.Foreign == "" && !b.Time.After(now)
}

func since(b Backup) time.Time {
	if b.State == Disproved {
		return b.Disproved
	}
	return b.Time
}

// labels of the periods that an instant lies in.
func labels(t time.Time) map[string]string {
	year, week := t.ISOWeek()
	return map[string]string{
		"hourly":  t.Format("2006-01-02 15") + ":00" + t.Format("-07:00"),
		"daily":   fmt.Sprintf("%04d-%02d-%02d", t.Year(), t.Month(), t.Day()),
		"weekly":  fmt.Sprintf("%d-W%02d", year, week),
		"monthly": fmt.Sprintf("%04d-%02d", t.Year(), t.Month()),
		"yearly":  fmt.Sprint(t.Year()),
	}
}

// step is what the times of histories are multiples of, and every change of a clock.
const step = 10 * time.Minute

// spanStart looks for the first instant at which the zone's clocks show the time that
// lies the span before.
func spanStart(s Span, t time.Time, zone *time.Location) time.Time {
	local := t.In(zone)
	year, month, day, clock := local.Year()-s.Years, int(local.Month()), local.Day(), local.Format("15:04:05")
	for range s.Months {
		if month--; month == 0 {
			year, month = year-1, 12
		}
	}
	days := []int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[month-1]
	if month == 2 && (year%4 == 0 && year%100 != 0 || year%400 == 0) {
		days = 29
	}
	if day > days {
		day, clock = 1, "00:00:00"
		if month++; month == 13 {
			year, month = year+1, 1
		}
	}
	noon := time.Date(year, time.Month(month), day, 12, 0, 0, 0, time.UTC)
	for range s.Days {
		noon = noon.Add(-24 * time.Hour)
	}
	target := noon.Format(time.DateOnly) + " " + clock
	u := noon.Add(-30 * time.Hour)
	for u.In(zone).Format(time.DateTime) < target {
		u = u.Add(step)
	}
	return u.Add(-time.Duration(s.Hours) * time.Hour)
}

// oracle gives the reasons to keep b; none means that it goes.
func oracle(p Policy, zone *time.Location, now time.Time, all []Backup, b Backup) []string {
	var why []string
	if b.State == Deleting {
		return nil
	}
	if b.Foreign != "" {
		why = append(why, b.Foreign+": not of this schedule")
	} else if b.State == Unfinished {
		why = append(why, "unfinished")
	} else if since(b).After(now) {
		why = append(why, "ahead of the clock, at "+since(b).In(zone).Format(time.RFC3339)+": not counted before then")
	}
	if b.Held != "" {
		why = append(why, "held: "+b.Held)
	}
	if b.InUse != "" {
		why = append(why, "in use by "+b.InUse)
	}
	if b.LockedUntil.After(now) {
		why = append(why, "locked until "+b.LockedUntil.UTC().Format(time.RFC3339))
	}
	if p.Unlimited {
		why = append(why, "no retention: all are kept")
	}
	if countable(b, now) {
		why = append(why, oracleGood(p, zone, now, all, b)...)
	} else if b.Foreign == "" && (b.State == Failed || b.State == Disproved) && !since(b).After(now) {
		why = append(why, oracleFailed(p, zone, now, all, b)...)
	}
	return why
}

func oracleGood(p Policy, zone *time.Location, now time.Time, all []Backup, b Backup) []string {
	var why []string
	var before []Backup // the counted ones that are newer
	for _, o := range all {
		if countable(o, now) && newer(o, b) {
			before = append(before, o)
		}
	}
	if len(before) == 0 {
		why = append(why, "newest good")
	}
	if b.Verified && !slices.ContainsFunc(before, func(o Backup) bool { return o.Verified }) {
		why = append(why, "newest verified")
	}
	if p.Unlimited {
		return why
	}
	if len(before) < p.Last {
		why = append(why, fmt.Sprintf("last %d of %d", len(before)+1, p.Last))
	}
	mine := labels(b.Time.In(zone))
	for rule, count := range map[string]int{"hourly": p.Hourly, "daily": p.Daily, "weekly": p.Weekly, "monthly": p.Monthly, "yearly": p.Yearly} {
		periods := map[string]bool{}
		for _, o := range before {
			periods[labels(o.Time.In(zone))[rule]] = true
		}
		if !periods[mine[rule]] && len(periods) < count {
			why = append(why, rule+" "+mine[rule])
		}
	}
	if !p.Within.IsZero() {
		newest := b
		for _, o := range before {
			if newer(o, newest) {
				newest = o
			}
		}
		if !b.Time.Before(spanStart(p.Within, newest.Time, zone)) {
			why = append(why, "within "+p.Within.String())
		}
	}
	return why
}

func oracleFailed(p Policy, zone *time.Location, now time.Time, all []Backup, b Backup) []string {
	var why []string
	position, anyGood, last := 1, false, true
	for _, o := range all {
		if countable(o, now) {
			anyGood = true
		}
		if o.Foreign != "" || o.State != Failed && o.State != Disproved || since(o).After(now) {
			continue
		}
		if since(o).After(since(b)) || since(o).Equal(since(b)) && newer(o, b) {
			position++
		}
		if o.State == Disproved && newer(o, b) {
			last = false
		}
	}
	if b.State == Disproved && !anyGood && last {
		why = append(why, "disproved, but no good one is left")
	}
	if !p.Unlimited && position <= p.FailedLast && !since(b).Before(spanStart(p.FailedWithin, now, zone)) {
		why = append(why, fmt.Sprintf("%s %d of %d", b.State, position, p.FailedLast))
	}
	return why
}

func TestPlanAgreesWithTheOracle(t *testing.T) {
	seed, random := seeded(t)
	kept, removed := map[string]int{}, 0
	for round := range 2000 {
		h := someHistory(random, zones(t))
		for _, d := range Plan(h.policy, h.zone, h.now, h.backups) {
			want := oracle(h.policy, h.zone, h.now, h.backups, d.Backup)
			if d.Keep != (len(want) > 0) {
				t.Fatalf("seed %d round %d: %s\n%+v: kept %v %q, the oracle says %q", seed, round, h, d.Backup, d.Keep, d.Why, want)
			}
			if !d.Keep {
				removed++
				if len(d.Why) != 1 || d.Why[0] == "" {
					t.Fatalf("seed %d round %d: %s goes without a reason: %q", seed, round, d.Name, d.Why)
				}
				continue
			}
			got := slices.Sorted(slices.Values(d.Why))
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d round %d: %s\n%+v: kept for %q, the oracle says %q", seed, round, h, d.Backup, got, want)
			}
			for _, why := range got {
				kept[firstWord(why)]++
			}
		}
	}
	t.Logf("removed %d; kept: %v", removed, kept)
	// A comparison over histories in which nothing happens says nothing.
	for _, word := range []string{"unfinished", "ahead", "held", "in", "locked", "no", "newest", "last", "hourly", "daily", "weekly", "monthly", "yearly", "within", "failed", "disproved", "manual"} {
		if kept[word] < 100 {
			t.Errorf("only %d were kept for a reason that begins with %q", kept[word], word)
		}
	}
	if removed < 1000 {
		t.Errorf("only %d were removed", removed)
	}
}
