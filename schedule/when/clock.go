package when

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // an image or a laptop may have no zones of its own

	"github.com/robfig/cron/v3"
)

// shortest interval of an @every schedule: a backup takes seconds itself.
const shortest = time.Minute

// Clock gives the instants of one schedule.
type Clock struct {
	zone *time.Location
	// cron runs over wall-clock times, written as if they were UTC: robfig's own
	// treatment of a zone skips what the clock jumps over and repeats what it repeats.
	cron *cron.SpecSchedule
	// hourly: every hour is in the expression, so that it speaks of time that passes
	// and not of a time of day.
	hourly bool
	// every and anchor are those of an @every schedule.
	every  time.Duration
	anchor time.Time
}

// Parse reads a cron expression of five fields or a descriptor, and the name of an
// IANA zone. created is what @every counts from. The error names what is wrong and
// what would be right.
func Parse(expression, zone string, created time.Time) (Clock, error) {
	c := Clock{anchor: created.Truncate(time.Second)}
	var err error
	if c.zone, err = Zone(zone); err != nil {
		return Clock{}, err
	}
	if strings.Contains(expression, "TZ=") {
		return Clock{}, fmt.Errorf("schedule %q: the time zone stands in timeZone, not in the expression", expression)
	}
	parsed, err := cron.ParseStandard(expression)
	if err != nil {
		return Clock{}, fmt.Errorf("schedule %q is no cron expression of five fields (minute, hour, day of the month, month, day of the week) and no descriptor such as @daily: %w", expression, err)
	}
	switch s := parsed.(type) {
	case *cron.SpecSchedule:
		s.Location = time.UTC
		c.cron = s
		const hours = 1<<24 - 1
		c.hourly = s.Hour&hours == hours
		if s.Next(created.UTC()).IsZero() {
			return Clock{}, fmt.Errorf("schedule %q is never due: there is no such date", expression)
		}
	case cron.ConstantDelaySchedule:
		if s.Delay < shortest {
			return Clock{}, fmt.Errorf("schedule %q: the interval is shorter than %s", expression, shortest)
		}
		c.every = s.Delay
	default:
		return Clock{}, fmt.Errorf("schedule %q is of a kind that is not supported (%T)", expression, parsed)
	}
	return c, nil
}

// Zone is the location of that name in the IANA database, as of Go's copy of it
// where the machine has none.
func Zone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("timeZone %q is not the name of a zone; use one of the IANA database, such as Africa/Nairobi or Etc/UTC", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("timeZone %q is not in the IANA database, or not in this version of it; use a name such as Africa/Nairobi or Etc/UTC", name)
	}
	return zone, nil
}

// Zone is the clock's own.
func (c Clock) Zone() *time.Location { return c.zone }

// Next is the first instant after t, in the clock's zone; zero when there is none
// within five years.
//
// A time of day that the clock jumps over is due at the first instant after the
// jump; one that occurs twice is due the first time. A schedule of every hour is
// due whenever the wall clock shows one of its minutes, twice over where it does so
// twice.
func (c Clock) Next(t time.Time) time.Time {
	switch {
	case c.every > 0:
		passed := t.Sub(c.anchor)
		n := passed / c.every
		if passed < 0 {
			n-- // division rounds towards zero
			if passed%c.every == 0 {
				n++
			}
		}
		return c.anchor.Add((n + 1) * c.every).In(c.zone)
	case c.hourly:
		return c.nextPassing(t)
	}
	for wall := wallOf(t.In(c.zone)); ; {
		if wall = c.cron.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		if at := instantOf(wall, c.zone); at.After(t) {
			return at
		}
	}
}

// nextPassing goes through the stretches of one offset, in each of which the wall
// clock runs evenly.
func (c Clock) nextPassing(t time.Time) time.Time {
	t = t.In(c.zone)
	wall := wallOf(t)
	for range 1000 { // far more changes of the clock than five years have
		next := c.cron.Next(wall)
		if next.IsZero() {
			return time.Time{}
		}
		_, offset := t.Zone()
		at := next.Add(-time.Duration(offset) * time.Second).In(c.zone)
		_, end := t.ZoneBounds()
		if end.IsZero() || at.Before(end) {
			return at
		}
		t = end
		wall = wallOf(end).Add(-time.Second) // the change itself may be due
	}
	return time.Time{}
}

// wallOf is what the clock on the wall shows, as if it were UTC.
func wallOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instantOf is when the clock on the wall first shows that, or first shows
// something later, where it jumps over it.
func instantOf(wall time.Time, zone *time.Location) time.Time {
	near := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), zone)
	start, end := near.ZoneBounds()
	var first time.Time
	for _, in := range []time.Time{near, start.Add(-time.Second), end} {
		if in.IsZero() {
			continue
		}
		_, offset := in.In(zone).Zone()
		at := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if wallOf(at).Equal(wall) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if !first.IsZero() {
		return first
	}
	for _, jump := range []time.Time{start, end} {
		if jump.IsZero() {
			continue
		}
		jump = jump.In(zone)
		before := wallOf(jump.Add(-time.Second)).Add(time.Second)
		if !wall.Before(before) && wall.Before(wallOf(jump)) {
			return jump
		}
	}
	return near // not reached: what a clock does not show, it jumps over
}
