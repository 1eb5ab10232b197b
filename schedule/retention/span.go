package retention

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Span is a length of calendar time. How long it is depends on where it ends and on
// the zone: a month has 28 to 31 days, a day 23 to 25 hours.
type Span struct{ Years, Months, Days, Hours int }

var errSpan = errors.New("not a span of time; give years, months, days and hours in this order, such as 14d, 3m (months), 1y6m or 48h")

// ParseSpan reads a span such as 14d, 3m (months), 1y6m or 48h.
func ParseSpan(text string) (Span, error) {
	var s Span
	rest := text
	for _, unit := range []struct {
		letter string
		digits int // the API's pattern has as many; all of them fit a time.Duration
		into   *int
	}{{"y", 5, &s.Years}, {"m", 5, &s.Months}, {"d", 5, &s.Days}, {"h", 6, &s.Hours}} {
		number := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		if number == "" || !strings.HasPrefix(rest[len(number):], unit.letter) {
			continue
		}
		if len(number) > unit.digits {
			return Span{}, fmt.Errorf("%q is too long: more than %d digits before %s", text, unit.digits, unit.letter)
		}
		for _, digit := range number {
			*unit.into = *unit.into*10 + int(digit-'0')
		}
		rest = rest[len(number)+1:]
	}
	if text == "" || rest != "" {
		return Span{}, fmt.Errorf("%q: %w", text, errSpan)
	}
	return s, nil
}

// IsZero tells whether the span has no length.
func (s Span) IsZero() bool { return s == Span{} }

func (s Span) String() string {
	if s.IsZero() {
		return "0d"
	}
	text := ""
	for _, unit := range []struct {
		letter string
		n      int
	}{{"y", s.Years}, {"m", s.Months}, {"d", s.Days}, {"h", s.Hours}} {
		if unit.n != 0 {
			text += fmt.Sprint(unit.n, unit.letter)
		}
	}
	return text
}

// Before gives the instant that lies the span before t. Years, months and days go by
// the zone's calendar, to the same time of day; hours are hours that pass. A day that
// the month does not have is the end of that month: a month before 31 March is the
// end of February, not, as time.AddDate has it, 3 March. So a later t never has an
// earlier answer but for the hour that autumn repeats.
func (s Span) Before(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	first := time.Date(year-s.Years, month-time.Month(s.Months), 1, 0, 0, 0, 0, time.UTC)
	nanosecond := t.Nanosecond()
	if next := first.AddDate(0, 1, 0); first.AddDate(0, 0, day-1).Before(next) {
		first = first.AddDate(0, 0, day-1)
	} else {
		first, hour, minute, second, nanosecond = next, 0, 0, 0, 0
	}
	first = first.AddDate(0, 0, -s.Days)
	wall := time.Date(first.Year(), first.Month(), first.Day(), hour, minute, second, nanosecond, time.UTC)
	return shown(wall, zone).Add(-time.Duration(s.Hours) * time.Hour)
}

// shown is the first instant at which the zone's clocks show a time, or the one at
// which they jump over it. The time is given as if it were UTC.
func shown(wall time.Time, zone *time.Location) time.Time {
	// time.Date takes either of two offsets where the clock changes, and does not say
	// which.
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), zone)
	start, end := t.ZoneBounds()
	switch reads := asUTC(t); {
	case reads.After(wall): // jumped over; t lies behind the jump
		return start
	case reads.Before(wall): // jumped over; t lies before it
		return end
	case start.IsZero():
		return t
	}
	_, now := t.Zone()
	_, before := start.Add(-1).Zone()
	if earlier := t.Add(time.Duration(now-before) * time.Second); earlier.Before(start) && asUTC(earlier).Equal(wall) {
		return earlier
	}
	return t
}

// asUTC is what a clock shows, as if it were UTC.
func asUTC(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// After gives the instant that lies the span after t, as time.AddDate counts.
func (s Span) After(t time.Time, zone *time.Location) time.Time {
	return t.In(zone).AddDate(s.Years, s.Months, s.Days).Add(time.Duration(s.Hours) * time.Hour)
}
