package retention

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// at reads a time; the zone stands in it.
func at(t testing.TB, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// goods makes good backups, named a, b, c …, as the times are given.
func goods(t testing.TB, times ...string) []Backup {
	t.Helper()
	var all []Backup
	for i, text := range times {
		all = append(all, Backup{Name: string(rune('a' + i)), Time: at(t, text), State: Good})
	}
	return all
}

// shape writes a plan as "a: why, why" and "b: - why", newest first.
func shape(plan []Decision) string {
	var lines []string
	for _, d := range plan {
		mark := ""
		if !d.Keep {
			mark = "- "
		}
		lines = append(lines, d.Name+": "+mark+d.Reason())
	}
	return strings.Join(lines, "\n")
}

func TestPlan(t *testing.T) {
	const now = "2026-11-25T12:00:00Z"
	days := []string{"2026-11-25T02:00:00Z", "2026-11-24T02:00:00Z", "2026-11-23T14:00:00Z", "2026-11-23T02:00:00Z", "2026-11-22T02:00:00Z", "2026-10-31T02:00:00Z", "2025-12-31T02:00:00Z"}
	change := func(i int, change func(*Backup)) func([]Backup) {
		return func(all []Backup) { change(&all[i]) }
	}
	for _, c := range []struct {
		name, zone string
		policy     Policy
		times      []string
		change     func([]Backup)
		want       string
	}{
		{"nothing", "Etc/UTC", Policy{Last: 1}, nil, nil, ""},
		{"last", "Etc/UTC", Policy{Last: 2}, days[:3], nil, `
a: newest good, last 1 of 2
b: last 2 of 2
c: - older than what the rules keep`},
		{"daily", "Etc/UTC", Policy{Daily: 3}, days[:5], nil, `
a: newest good, daily 2026-11-25
b: daily 2026-11-24
c: daily 2026-11-23
d: - daily 2026-11-23 is c
e: - older than what the rules keep`},
		{"weekly, monthly and yearly each look at all", "Etc/UTC", Policy{Weekly: 2, Monthly: 2, Yearly: 2}, days, nil, `
a: newest good, weekly 2026-W48, monthly 2026-11, yearly 2026
b: - weekly 2026-W48 is a
c: - weekly 2026-W48 is a
d: - weekly 2026-W48 is a
e: weekly 2026-W47
f: monthly 2026-10
g: yearly 2025`},
		{"the days of a zone", "Asia/Kathmandu", Policy{Daily: 9}, []string{"2026-11-24T18:20:00Z", "2026-11-24T18:10:00Z", "2026-11-23T18:15:00Z"}, nil, `
a: newest good, daily 2026-11-25
b: daily 2026-11-24
c: - daily 2026-11-24 is b`},
		{"the year of a week is not that of its days", "Etc/UTC", Policy{Weekly: 3}, []string{"2025-01-01T02:00:00Z", "2024-12-30T02:00:00Z", "2024-12-29T02:00:00Z"}, nil, `
a: newest good, weekly 2025-W01
b: - weekly 2025-W01 is a
c: weekly 2024-W52`},
		{"within", "Etc/UTC", Policy{Within: Span{Days: 1}}, days[:4], nil, `
a: newest good, within 1d
b: within 1d
c: - older than what the rules keep
d: - older than what the rules keep`},
		{"within does not age by itself", "Etc/UTC", Policy{Within: Span{Days: 3}}, days[4:], nil, `
a: newest good, within 3d
b: - older than what the rules keep
c: - older than what the rules keep`},
		{"within goes by the clocks of the zone", "Europe/Paris", Policy{Within: Span{Days: 2}}, []string{"2026-03-30T01:00:00Z", "2026-03-28T02:00:00Z", "2026-03-28T01:59:00Z"}, nil, `
a: newest good, within 2d
b: within 2d
c: - older than what the rules keep`},
		{"of two at one time the greater name is the newer", "Etc/UTC", Policy{Last: 1}, []string{days[0], days[0]}, nil, `
b: newest good, last 1 of 1
a: - older than what the rules keep`},
		{"of two in one second the later is the newer", "Etc/UTC", Policy{Last: 1}, []string{"2026-11-25T02:00:00.2Z", "2026-11-25T02:00:00.1Z"}, nil, `
a: newest good, last 1 of 1
b: - older than what the rules keep`},
		{"the newest verified one", "Etc/UTC", Policy{Last: 1}, days[:3], change(2, func(b *Backup) { b.Verified = true }), `
a: newest good, last 1 of 1
b: - older than what the rules keep
c: newest verified`},
		{"failed ones are not counted", "Etc/UTC", Policy{Last: 1, FailedLast: 1, FailedWithin: Span{Days: 30}}, days[:3], func(all []Backup) { all[0].State, all[1].State = Failed, Failed }, `
a: failed 1 of 1
b: - failed, beyond the newest 1
c: newest good, last 1 of 1`},
		{"failed ones that are old", "Etc/UTC", Policy{Last: 1, FailedLast: 9, FailedWithin: Span{Hours: 34}}, days[:3], func(all []Backup) { all[0].State, all[1].State, all[2].State = Failed, Failed, Failed }, `
a: failed 1 of 9
b: failed 2 of 9
c: - failed, older than 34h`},
		{"a disproved one is not counted, and goes by when that was found", "Etc/UTC", Policy{Last: 1, FailedLast: 9, FailedWithin: Span{Days: 7}}, days[:6], func(all []Backup) {
			all[0].State, all[0].Disproved = Disproved, all[0].Time.Add(time.Hour)
			all[5].State, all[5].Disproved = Disproved, all[0].Time
			all[4].State, all[4].Disproved = Disproved, all[4].Time.AddDate(0, 0, -5)
		}, `
a: disproved 1 of 9
b: newest good, last 1 of 1
c: - older than what the rules keep
d: - older than what the rules keep
e: - disproved, older than 7d
f: disproved 2 of 9`},
		{"the last disproved one, where there is no good one", "Etc/UTC", Policy{Last: 1}, days[4:7], func(all []Backup) { all[0].State, all[1].State, all[2].State = Failed, Disproved, Disproved }, `
a: - failed, beyond the newest 0
b: disproved, but no good one is left
c: - disproved, beyond the newest 0`},
		{"unfinished ones", "Etc/UTC", Policy{Last: 1}, days[:2], change(0, func(b *Backup) { b.State = Unfinished }), `
a: unfinished
b: newest good, last 1 of 1`},
		{"one that is being deleted protects no other", "Etc/UTC", Policy{Last: 1}, days[:3], change(0, func(b *Backup) { b.State, b.Held = Deleting, "audit" }), `
a: - is being deleted
b: newest good, last 1 of 1
c: - older than what the rules keep`},
		{"held, in use, locked", "Etc/UTC", Policy{Last: 1}, days[:5], func(all []Backup) {
			all[1].Held, all[2].InUse, all[3].LockedUntil, all[4].LockedUntil = "audit", "restore medic/r", at(t, "2026-11-25T12:00:01Z"), at(t, now)
		}, `
a: newest good, last 1 of 1
b: held: audit
c: in use by restore medic/r
d: locked until 2026-11-25T12:00:01Z
e: - older than what the rules keep`},
		{"of others", "Etc/UTC", Policy{Last: 1}, days[:3], func(all []Backup) { all[0].Foreign, all[2].Foreign = "manual", "of schedule hourly" }, `
a: manual: not of this schedule
b: newest good, last 1 of 1
c: of schedule hourly: not of this schedule`},
		{"ahead of the clock", "Africa/Nairobi", Policy{Last: 1, Within: Span{Days: 9}}, []string{"2036-01-01T00:00:00Z", days[0], days[1]}, nil, `
a: ahead of the clock, at 2036-01-01T03:00:00+03:00: not counted before then
b: newest good, last 1 of 1, within 9d
c: within 9d`},
		{"no retention", "Etc/UTC", Policy{Unlimited: true}, days[:2], change(1, func(b *Backup) { b.State = Failed }), `
a: newest good, no retention: all are kept
b: no retention: all are kept`},
		{"autumn: two hours between one and two", "Europe/Paris", Policy{Hourly: 9}, []string{"2026-10-25T02:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T00:30:00Z", "2026-10-24T23:30:00Z"}, nil, `
a: newest good, hourly 2026-10-25 03:00+01:00
b: hourly 2026-10-25 02:00+01:00
c: - hourly 2026-10-25 02:00+01:00 is b
d: hourly 2026-10-25 02:00+02:00
e: hourly 2026-10-25 01:00+02:00`},
		{"a day of 25 hours", "Europe/Paris", Policy{Daily: 9}, []string{"2026-10-25T22:59:00Z", "2026-10-24T22:00:00Z", "2026-10-24T21:59:00Z"}, nil, `
a: newest good, daily 2026-10-25
b: - daily 2026-10-25 is a
c: daily 2026-10-24`},
		{"a day of 23 hours", "Europe/Paris", Policy{Daily: 9}, []string{"2026-03-29T21:59:00Z", "2026-03-28T23:00:00Z", "2026-03-28T22:59:00Z"}, nil, `
a: newest good, daily 2026-03-29
b: - daily 2026-03-29 is a
c: daily 2026-03-28`},
		// At a minute past midnight clocks went back to a minute past eleven: the new
		// day had begun, and began again an hour later.
		{"a day that begins twice", "America/St_Johns", Policy{Daily: 2}, []string{"2010-11-07T03:40:00Z", "2010-11-07T03:20:00Z", "2010-11-07T02:30:30Z", "2010-11-07T02:20:00Z", "2010-11-06T02:20:00Z"}, nil, `
a: newest good, daily 2010-11-07
b: daily 2010-11-06
c: - daily 2010-11-07 is a
d: - daily 2010-11-06 is b
e: - older than what the rules keep`},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := goods(t, c.times...)
			if c.change != nil {
				c.change(all)
			}
			if got, want := shape(Plan(c.policy, zoneOf(t, c.zone), at(t, now), all)), strings.TrimPrefix(c.want, "\n"); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// TestPlanOfYears is what the documentation shows.
func TestPlanOfYears(t *testing.T) {
	zone := zoneOf(t, "Africa/Nairobi")
	var all []Backup
	for cut := time.Date(2025, 1, 1, 2, 0, 0, 0, zone); cut.Before(time.Date(2026, 11, 26, 0, 0, 0, 0, zone)); cut = cut.AddDate(0, 0, 1) {
		all = append(all, Backup{Name: cut.Format(time.DateOnly), Time: cut, State: Good})
	}
	kept := names(keptOf(Plan(Policy{Daily: 7, Weekly: 4, Monthly: 6, Yearly: 2}, zone, all[len(all)-1].Time, all)))
	want := []string{"2025-12-31", "2026-06-30", "2026-07-31", "2026-08-31", "2026-09-30", "2026-10-31", "2026-11-08", "2026-11-15", "2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24", "2026-11-25"}
	if !slices.Equal(kept, want) {
		t.Errorf("kept %v", kept)
	}
}

func BenchmarkPlan(b *testing.B) {
	zone := zoneOf(b, "Europe/Paris")
	policy := Policy{Last: 10, Hourly: 48, Daily: 30, Weekly: 52, Monthly: 60, Yearly: 20, Within: Span{Days: 7}, FailedLast: 10, FailedWithin: Span{Days: 30}}
	wide := Policy{Hourly: 100_000, Daily: 100_000, Weekly: 100_000, Monthly: 100_000, Yearly: 100_000}
	var first [2]float64
	for i, p := range []Policy{policy, wide} {
		for _, many := range []int{1_000, 10_000, 100_000, 1_000_000} {
			backups := hourlies(many)
			b.Run(fmt.Sprintf("%s/%d", []string{"usual", "keeps 100000 of each"}[i], many), func(b *testing.B) {
				for b.Loop() {
					if plan := Plan(p, zone, backups[0].Time, backups); len(plan) != many {
						b.Fatal(len(plan))
					}
				}
				each := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(many)
				if many == 1_000 {
					first[i] = each
				}
				b.ReportMetric(each, "ns/backup")
				if first[i] > 0 { // 0 where -bench leaves the first out
					b.ReportMetric(each/first[i], "growth")
				}
			})
		}
	}
}

// hourlies are backups of every hour back from now, some failed and some verified, in
// no order.
func hourlies(many int) []Backup {
	newest := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	all := make([]Backup, many)
	for i := range all {
		ago := (i * 7919) % many // 7919 is prime: each once, in no order
		all[i] = Backup{Name: fmt.Sprintf("b%07d", many-ago), Time: newest.Add(-time.Duration(ago) * time.Hour), State: Good, Verified: ago%24 == 5}
		if ago%17 == 3 {
			all[i].State, all[i].Verified = Failed, false
		}
	}
	return all
}
