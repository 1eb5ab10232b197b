package when

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func clock(t *testing.T, expression, zone string) Clock {
	t.Helper()
	c, err := Parse(expression, zone, time.Date(2026, 1, 1, 0, 0, 30, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// The instants around changes of the clock, told by hand.
func TestNext(t *testing.T) {
	for _, tt := range []struct {
		name, expression, zone, from string
		want                         []string
	}{
		{"an ordinary night", "30 2 * * *", "Africa/Nairobi", "2026-05-01T00:00:00Z", []string{"2026-05-02T02:30:00+03:00", "2026-05-03T02:30:00+03:00"}},
		{"strictly after", "0 2 * * *", "Etc/UTC", "2026-05-01T02:00:00Z", []string{"2026-05-02T02:00:00Z"}},
		{"a fraction of a second later", "0 2 * * *", "Etc/UTC", "2026-05-01T01:59:59.9Z", []string{"2026-05-01T02:00:00Z"}},
		{"jumped over: the first instant after", "30 2 * * *", "America/New_York", "2026-03-07T12:00:00-05:00", []string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"}},
		{"several jumped over: one run", "0,15,30,45 2 * * *", "America/New_York", "2026-03-08T00:00:00-05:00", []string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:00:00-04:00"}},
		{"jumped over, and the hour after it: one run", "30 2,3 * * *", "America/New_York", "2026-03-08T00:00:00-05:00", []string{"2026-03-08T03:00:00-04:00", "2026-03-08T03:30:00-04:00", "2026-03-09T02:30:00-04:00"}},
		{"jumped over onto another's time: one run", "0 2,3 * * *", "America/New_York", "2026-03-08T00:00:00-05:00", []string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:00:00-04:00"}},
		{"twice: the first", "30 1 * * *", "America/New_York", "2026-10-31T12:00:00-04:00", []string{"2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"}},
		{"between the two", "30 1 * * *", "America/New_York", "2026-11-01T01:30:00-04:00", []string{"2026-11-02T01:30:00-05:00"}},
		{"in the second pass", "45 1 * * *", "America/New_York", "2026-11-01T01:10:00-05:00", []string{"2026-11-02T01:45:00-05:00"}},
		{"London in spring", "30 1 * * *", "Europe/London", "2026-03-28T12:00:00Z", []string{"2026-03-29T02:00:00+01:00", "2026-03-30T01:30:00+01:00"}},
		{"London in autumn", "30 1 * * *", "Europe/London", "2026-10-24T12:00:00Z", []string{"2026-10-25T01:30:00+01:00", "2026-10-26T01:30:00Z"}},
		{"half an hour's change in spring", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"half an hour's change in autumn", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", []string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
		{"a day that does not exist", "0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", []string{"2011-12-31T00:00:00+14:00", "2012-12-30T12:00:00+14:00"}},
		{"midnight jumped over", "0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", []string{"2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"}},
		{"every hour in spring", "0 * * * *", "America/New_York", "2026-03-08T00:30:00-05:00", []string{"2026-03-08T01:00:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-08T04:00:00-04:00"}},
		{"every hour in autumn: each that passes", "30 * * * *", "America/New_York", "2026-11-01T00:45:00-04:00", []string{"2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00", "2026-11-01T02:30:00-05:00"}},
		{"every quarter in spring", "*/15 * * * *", "America/New_York", "2026-03-08T01:40:00-05:00", []string{"2026-03-08T01:45:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-08T03:15:00-04:00"}},
		{"every hour, half an hour's change", "0 * * * *", "Australia/Lord_Howe", "2026-04-05T00:30:00+11:00", []string{"2026-04-05T01:00:00+11:00", "2026-04-05T02:00:00+10:30", "2026-04-05T03:00:00+10:30"}},
		{"every hour of an odd zone", "@hourly", "Asia/Kathmandu", "2026-05-01T00:00:00Z", []string{"2026-05-01T06:00:00+05:45", "2026-05-01T07:00:00+05:45"}},
		{"every hour of Sundays", "0 * * * 0", "America/New_York", "2026-03-08T01:30:00-05:00", []string{"2026-03-08T03:00:00-04:00"}},
		{"the 29th of February", "0 3 29 2 *", "Etc/UTC", "2026-05-01T00:00:00Z", []string{"2028-02-29T03:00:00Z"}},
		{"either day field", "0 3 1 * MON", "Etc/UTC", "2026-05-01T03:00:00Z", []string{"2026-05-04T03:00:00Z", "2026-05-11T03:00:00Z", "2026-05-18T03:00:00Z", "2026-05-25T03:00:00Z", "2026-06-01T03:00:00Z"}},
		{"a descriptor", "@weekly", "Africa/Kampala", "2026-05-01T00:00:00Z", []string{"2026-05-03T00:00:00+03:00"}},
		{"counted from the creation", "@every 6h", "Etc/UTC", "2026-01-01T12:00:30Z", []string{"2026-01-01T18:00:30Z", "2026-01-02T00:00:30Z"}},
		{"before the creation", "@every 6h", "Etc/UTC", "2025-12-31T23:59:30Z", []string{"2026-01-01T00:00:30Z"}},
		{"on an instant before the creation", "@every 6h", "Etc/UTC", "2025-12-31T12:00:30Z", []string{"2025-12-31T18:00:30Z"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := clock(t, tt.expression, tt.zone)
			from := at(t, tt.from)
			for _, want := range tt.want {
				got := c.Next(from)
				if s := got.Format(time.RFC3339); s != want {
					t.Fatalf("after %s: %s, want %s", from.In(c.zone).Format(time.RFC3339), s, want)
				}
				from = got
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ expression, zone, says string }{
		{"0 30 2 * * *", "Etc/UTC", "five fields"},
		{"30 2 * *", "Etc/UTC", "five fields"},
		{"61 2 * * *", "Etc/UTC", "61"},
		{"0 0 30 2 *", "Etc/UTC", "never due"},
		{"CRON_TZ=Asia/Tokyo 0 0 * * *", "Etc/UTC", "timeZone"},
		{"@reboot", "Etc/UTC", "@reboot"},
		{"@every 10s", "Etc/UTC", "shorter than 1m"},
		{"@every -1h", "Etc/UTC", "shorter than 1m"},
		{"", "Etc/UTC", "five fields"},
		{"0 0 * * *", "Africa/Atlantis", "Africa/Atlantis"},
		{"0 0 * * *", "Local", "IANA"},
		{"0 0 * * *", "", "IANA"},
		{"0 0 * * *", "../../etc/passwd", "IANA"},
	} {
		if _, err := Parse(tt.expression, tt.zone, time.Unix(0, 0)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q in %q: %v, want an error with %q", tt.expression, tt.zone, err, tt.says)
		}
	}
}

// Over random expressions, zones and years, the instants are those that one finds
// by looking at the clock on the wall every minute.
func TestNextAgainstEveryMinute(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	zones := []string{"Etc/UTC", "Africa/Nairobi", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Africa/Cairo", "Africa/Casablanca", "Asia/Kathmandu", "America/Santiago", "Pacific/Apia"}
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	for range 60 {
		zone := pick(zones)
		minute := pick([]string{"0", "30", "*/20", "7", "15,45"})
		hour := pick([]string{"*", "2", "1,2,3", "0", "*/6", "23", "0-23"})
		expression := minute + " " + hour + " " + pick([]string{"* * *", "* * SUN", "1,15 * *"})
		c := clock(t, expression, zone)
		from := time.Date(2026, time.Month(1+random.IntN(12)), 1+random.IntN(28), random.IntN(24), random.IntN(60), random.IntN(60), 0, time.UTC)
		if random.IntN(2) == 0 { // near a change of the clock, if the zone has one
			if _, end := from.In(c.zone).ZoneBounds(); !end.IsZero() && end.Before(from.AddDate(1, 0, 0)) {
				from = end.Add(-time.Duration(random.IntN(30*60)) * time.Minute)
			}
		}
		until := from.Add(4 * 24 * time.Hour)
		want := everyMinute(c, hour, from, until)
		var got []time.Time
		for next := c.Next(from); !next.IsZero() && !next.After(until); next = c.Next(next) {
			got = append(got, next)
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Fatalf("%q in %s from %s:\ngot  %v\nwant %v", expression, zone, from, got, want)
		}
		if due := c.Due(from, until); !slices.EqualFunc(due, want, time.Time.Equal) {
			t.Fatalf("%q in %s: due %v, want %v", expression, zone, due, want)
		}
	}
}

// everyMinute looks at the wall minute by minute: what it shows for the first time
// is due if the expression has it; what it jumped over is due at the jump.
func everyMinute(c Clock, hour string, from, until time.Time) []time.Time {
	passing := hour == "*" || hour == "0-23"
	matches := func(wall time.Time) bool { return c.cron.Next(wall.Add(-time.Minute)).Equal(wall) }
	var due []time.Time
	shown := map[time.Time]bool{}
	last := time.Time{}
	for t := from.Add(-2 * 24 * time.Hour).Truncate(time.Minute); !t.After(until); t = t.Add(time.Minute) {
		wall := wallOf(t.In(c.zone))
		is := matches(wall) && (passing || !shown[wall])
		if !passing && !last.IsZero() {
			for skipped := last.Add(time.Minute); skipped.Before(wall); skipped = skipped.Add(time.Minute) {
				is = is || matches(skipped) && !shown[skipped]
				shown[skipped] = true
			}
		}
		shown[wall] = true
		last = wall
		if is && t.After(from) {
			due = append(due, t)
		}
	}
	return due
}

func TestDue(t *testing.T) {
	c := clock(t, "* * * * *", "Etc/UTC")
	now := at(t, "2026-05-01T00:00:00Z")
	due := c.Due(now.AddDate(0, -1, 0), now) // 43,200 minutes
	if len(due) != counted || !due[counted-1].Equal(now) || !due[0].Equal(now.Add(-(counted-1)*time.Minute)) {
		t.Errorf("%d instants, %s to %s", len(due), due[0], due[len(due)-1])
	}
	if due := c.Due(now, now.Add(59*time.Second)); len(due) != 0 {
		t.Errorf("due %v", due)
	}
	if due := c.Due(now.Add(time.Hour), now); len(due) != 0 {
		t.Errorf("a clock set back: due %v", due)
	}
}

func TestDelay(t *testing.T) {
	const objects, jitter = 2000, 10 * time.Minute
	tenths := make([]int, 10)
	for i := range objects {
		d := Delay(jitter, fmt.Sprintf("cht-%d", i), "nightly")
		if d < 0 || d > jitter || d%time.Second != 0 {
			t.Fatalf("a delay of %s", d)
		}
		if again := Delay(jitter, fmt.Sprintf("cht-%d", i), "nightly"); again != d {
			t.Fatalf("%s, then %s", d, again)
		}
		tenths[min(9, int(d*10/jitter))]++
	}
	for i, n := range tenths {
		if n < objects/10/2 || n > objects/10*2 {
			t.Errorf("%d of %d begin in tenth %d: %v", n, objects, i, tenths)
		}
	}
	for _, none := range []time.Duration{0, -time.Minute, time.Millisecond} {
		if d := Delay(none, "a", "b"); d != 0 {
			t.Errorf("jitter %s gives %s", none, d)
		}
	}
}
