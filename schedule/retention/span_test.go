package retention

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func zoneOf(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]Span{
		"14d": {Days: 14}, "3m": {Months: 3}, "1y6m": {Years: 1, Months: 6}, "48h": {Hours: 48}, "1y2m3d4h": {1, 2, 3, 4},
		"0d": {}, "007d": {Days: 7}, "99999y": {Years: 99999}, "999999h": {Hours: 999999},
	} {
		got, err := ParseSpan(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if again, err := ParseSpan(got.String()); err != nil || again != got {
			t.Errorf("%s is written as %s, which reads as %v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "d", "14", "14x", "3m1y", "1d1d", "-1d", "+1d", "1 d", "1.5d", "1w", "100000y", "1000000h", "14D", "1d ", "٣d", "99999999999999999999d"} {
		if got, err := ParseSpan(text); err == nil || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: %v, error %v", text, got, err)
		}
	}
}

func TestSpanBefore(t *testing.T) {
	for _, c := range []struct{ name, zone, at, span, want string }{
		{"days", "Etc/UTC", "2026-03-15T10:00:00Z", "14d", "2026-03-01T10:00:00Z"},
		{"a month", "Etc/UTC", "2026-03-28T10:00:00Z", "1m", "2026-02-28T10:00:00Z"},
		{"a month that is shorter", "Etc/UTC", "2026-03-31T10:00:00Z", "1m", "2026-03-01T00:00:00Z"},
		{"a month in a leap year", "Etc/UTC", "2028-03-29T10:00:00Z", "1m", "2028-02-29T10:00:00Z"},
		{"a year before a leap day", "Etc/UTC", "2028-02-29T10:00:00Z", "1y", "2027-03-01T00:00:00Z"},
		{"over the new year", "Etc/UTC", "2026-01-31T00:00:00Z", "1y2m", "2024-12-01T00:00:00Z"},
		{"days after the month", "Etc/UTC", "2026-03-31T10:00:00Z", "1m1d", "2026-02-28T00:00:00Z"},
		{"a day of 23 hours", "Europe/Paris", "2026-03-30T01:00:00Z", "1d", "2026-03-29T01:00:00Z"},
		{"a day of 25 hours", "Europe/Paris", "2026-10-26T02:00:00Z", "2d", "2026-10-24T01:00:00Z"},
		{"hours pass whatever the clock does", "Europe/Paris", "2026-03-30T01:00:00Z", "48h", "2026-03-28T01:00:00Z"},
		{"a time that was jumped over", "Europe/Paris", "2026-03-30T00:30:00Z", "1d", "2026-03-29T01:00:00Z"},
		{"a time that came twice: the first", "Europe/Paris", "2026-10-26T01:30:00Z", "1d", "2026-10-25T00:30:00Z"},
		{"just before it came twice", "Europe/Paris", "2026-10-26T00:59:59Z", "1d", "2026-10-24T23:59:59Z"},
		{"just after it came twice", "Europe/Paris", "2026-10-26T02:00:00Z", "1d", "2026-10-25T02:00:00Z"},
		{"a clock put back by half an hour", "Australia/Lord_Howe", "2026-04-05T15:15:00Z", "1d", "2026-04-04T14:45:00Z"},
		{"a day that never was", "Pacific/Apia", "2011-12-31T12:00:00Z", "2d", "2011-12-30T10:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			span, err := ParseSpan(c.span)
			if err != nil {
				t.Fatal(err)
			}
			at, _ := time.Parse(time.RFC3339, c.at)
			if got := span.Before(at, zoneOf(t, c.zone)).UTC().Format(time.RFC3339); got != c.want {
				t.Errorf("%s before %s in %s is %s, want %s", c.span, c.at, c.zone, got, c.want)
			}
		})
	}
}

// TestSpanBeforeNeverGoesBack: a span that reached less far a day later would remove
// what it should have kept a day earlier.
func TestSpanBeforeNeverGoesBack(t *testing.T) {
	seed, random := seeded(t)
	for range 20_000 {
		zone := zones(t)[random.IntN(len(zones(t)))]
		span := Span{Years: random.IntN(3), Months: random.IntN(14), Days: random.IntN(40), Hours: random.IntN(50)}
		a := time.Unix(1_750_000_000+random.Int64N(100_000_000), 0)
		b := a.Add(time.Duration(1+random.Int64N(int64(72*time.Hour))) / time.Second * time.Second)
		if asUTC(b.In(zone)).Before(asUTC(a.In(zone))) {
			continue // the hour that comes twice
		}
		if x, y := span.Before(a, zone), span.Before(b, zone); y.Before(x) {
			t.Fatalf("seed %d: %s before %s in %s is %s, before %s it is %s", seed, span, a.UTC(), zone, x.UTC(), b.UTC(), y.UTC())
		}
	}
}

// seeded gives random numbers that a failure can be repeated with.
func seeded(t *testing.T) (uint64, *rand.Rand) {
	t.Helper()
	seed := rand.Uint64()
	if again := repeat(t); again != 0 {
		seed = again
	}
	t.Logf("seed %d (RETENTION_SEED=%d repeats it)", seed, seed)
	return seed, rand.New(rand.NewPCG(seed, 0))
}
