package when

import (
	"testing"
	"time"
)

var fuzzedZones = []string{"Etc/UTC", "Africa/Nairobi", "America/New_York", "Europe/London", "Europe/Dublin", "Australia/Lord_Howe", "Africa/Cairo", "Africa/Casablanca", "Asia/Kathmandu", "Asia/Kolkata",
	"America/Santiago", "America/Nuuk", "America/Havana", "Pacific/Apia", "Pacific/Chatham", "Pacific/Kwajalein", "Asia/Pyongyang", "America/Caracas", "Antarctica/Troll"}

// FuzzNext: of any expression that is taken, in any zone, from any time, what comes next
// comes after, in order, with nothing between, and where the clock on the wall shows it or
// jumps over it.
func FuzzNext(f *testing.F) {
	for i, expression := range []string{"0 2 * * *", "30 1 * * SUN", "*/20 * * * *", "15 2 29 2 *", "@daily", "@every 90m", "0 0 1,15 * 1-5", "59 23 31 12 *", "0 0-23 * * *", "5 0 * * MON#1"} {
		f.Add(expression, uint8(i), int64(1774745999+i*4000000), uint16(i*700)) //nolint:gosec // few
	}
	f.Fuzz(func(t *testing.T, expression string, zone uint8, unix int64, later uint16) {
		const from, until = 157766400, 4102444800                  // 1975 to 2100
		now := time.Unix(from+int64(uint64(unix)%(until-from)), 0) //nolint:gosec // a remainder
		c, err := Parse(expression, fuzzedZones[int(zone)%len(fuzzedZones)], now.Add(-time.Hour))
		if err != nil {
			return
		}
		next := c.Next(now)
		if next.IsZero() {
			return // none within five years
		}
		if !next.After(now) {
			t.Fatalf("%q in %s: after %s comes %s", expression, c.zone, now.In(c.zone), next)
		}
		between := now.Add(time.Duration(later) * time.Minute)
		if after := c.Next(between); between.Before(next) && !after.Equal(next) || !after.IsZero() && after.Before(next) {
			t.Fatalf("%q in %s: after %s comes %s, but after %s comes %s", expression, c.zone, now.In(c.zone), next, between.In(c.zone), after)
		}
		if just := c.Next(next.Add(-time.Nanosecond)); !just.Equal(next) {
			t.Fatalf("%q in %s: after the moment before %s comes %s", expression, c.zone, next, just)
		}
		if c.cron == nil {
			if next.Sub(c.anchor)%c.every != 0 || next.Sub(now) > c.every {
				t.Fatalf("%q from %s: after %s comes %s", expression, c.anchor, now, next)
			}
			return
		}
		shown := wallOf(next)
		if start, _ := next.ZoneBounds(); c.cron.Next(shown.Add(-time.Second)) != shown && !start.Equal(next) {
			t.Fatalf("%q in %s: at %s the clock shows no such time, and has not jumped", expression, c.zone, next)
		}
		if next.Sub(now) < 48*time.Hour {
			hour := "some"
			if c.hourly {
				hour = "*"
			}
			if want := everyMinute(c, hour, now, next.Add(time.Minute)); len(want) == 0 || !want[0].Equal(next) {
				t.Fatalf("%q in %s: after %s comes %s; who looks every minute sees %v", expression, c.zone, now.In(c.zone), next, want)
			}
		}
	})
}
