package retention

import (
	"fmt"
	"time"
)

// calendar are the rules that keep the newest of each period.
var calendar = []struct {
	name  string
	count func(Policy) int
	key   func(moment) int64
	label func(time.Time) string
}{
	{"hourly", func(p Policy) int { return p.Hourly }, moment.hour, func(t time.Time) string { return t.Format("2006-01-02 15:00-07:00") }},
	{"daily", func(p Policy) int { return p.Daily }, moment.day, func(t time.Time) string { return t.Format(time.DateOnly) }},
	{"weekly", func(p Policy) int { return p.Weekly }, moment.week, func(t time.Time) string {
		year, week := t.ISOWeek()
		return fmt.Sprintf("%d-W%02d", year, week)
	}},
	{"monthly", func(p Policy) int { return p.Monthly }, moment.month, func(t time.Time) string { return t.Format("2006-01") }},
	{"yearly", func(p Policy) int { return p.Yearly }, moment.year, func(t time.Time) string { return t.Format("2006") }},
}

// moment is an instant taken apart once for all rules, in a zone.
type moment struct {
	wall   int64 // seconds since 1970 that the zone's clocks show
	offset int64
	date   int64 // months since year 0
}

func momentOf(t time.Time, zone *time.Location) moment {
	t = t.In(zone)
	_, offset := t.Zone()
	year, month, _ := t.Date()
	return moment{wall: t.Unix() + int64(offset), offset: int64(offset), date: int64(year)*12 + int64(month) - 1}
}

// hour: where the clock is put back, the hour that comes twice is two hours. The
// offset tells them apart; it has less than 18 bits.
func (m moment) hour() int64  { return floor(m.wall, 3600)<<18 + m.offset }
func (m moment) day() int64   { return floor(m.wall, 86400) }
func (m moment) week() int64  { return floor(m.day()+3, 7) } // 1970 began on a Thursday
func (m moment) month() int64 { return m.date }
func (m moment) year() int64  { return floor(m.date, 12) }

// floor divides downwards: days before 1970 are days too.
func floor(n, by int64) int64 {
	q := n / by
	if n%by < 0 {
		q--
	}
	return q
}
