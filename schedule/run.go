package schedule

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/schedule/when"
)

// ahead is how far into the future what was handled may lie: a clock that is set
// back by more was wrong before, and no run shall wait until it is there again.
const ahead = 10 * time.Minute

// clock is one clock of a schedule, that of its backups or that of its drills.
type clock struct {
	when.Clock
	// expression and zone, as status tells what it speaks of.
	observed string
	// delay is the schedule's own share of the jitter.
	delay time.Duration
	// deadline is how late a run may begin; negative: however late.
	deadline time.Duration
}

// clockOf reads one expression of a schedule.
func clockOf(s *api.BackupSchedule, expression api.CronExpression) (clock, error) {
	w, err := when.Parse(string(expression), s.Spec.TimeZone, s.CreationTimestamp.Time)
	if err != nil {
		return clock{}, err
	}
	c := clock{Clock: w, observed: fmt.Sprintf("%s %s", expression, s.Spec.TimeZone), deadline: -1}
	if s.Spec.Jitter != nil {
		c.delay = when.Delay(s.Spec.Jitter.Duration, s.Namespace, s.Name)
	}
	if d := s.Spec.StartingDeadlineSeconds; d != nil {
		c.deadline = time.Duration(*d) * time.Second
	}
	return c, nil
}

// begin sets the status of a clock to where it counts from: from, where it is new;
// now, when nothing that was due until now is to be made up for.
func (c clock) begin(status *api.RunStatus, from, now time.Time, resumed bool) {
	reached := metav1.Time{Time: now.Add(-c.delay).Truncate(time.Second)}
	switch {
	case status.HandledTime == nil:
		status.HandledTime = &metav1.Time{Time: from}
		if resumed {
			status.HandledTime = &reached
		}
	case status.HandledTime.After(now.Add(ahead)),
		(status.Observed != c.observed || resumed) && status.HandledTime.Before(&reached):
		status.HandledTime = &reached
	}
	status.Observed = c.observed
}

// turn is what one clock does now.
type turn struct {
	// start is the instant whose run is to be made now; zero for none.
	start time.Time
	// made is the instant of a run that is there already.
	made time.Time
	// missed are the instants that were due and are not made up for.
	missed []time.Time
	// handled is where the clock is once all that is done.
	handled time.Time
	// waiting is why a run that is due is not made yet.
	waiting string
	// next is when the next run begins, with the delay; zero for never.
	next time.Time
	// look is when something changes by the passing of time; zero for never.
	look time.Time
}

// decide tells what a clock does. made tells whether the run of an instant is there;
// busy why none can begin.
func (c clock) decide(handled, now time.Time, made func(time.Time) bool, busy string) turn {
	t := turn{handled: handled}
	due := c.Due(handled, now.Add(-c.delay))
	for i, at := range due {
		last := i == len(due)-1
		switch {
		case made(at):
			t.made, t.handled = at, at
		case !last || c.deadline >= 0 && now.After(at.Add(c.delay+c.deadline)):
			t.missed, t.handled = append(t.missed, at), at
		case busy != "":
			t.waiting = busy
			if c.deadline >= 0 {
				t.look = at.Add(c.delay + c.deadline + time.Second)
			}
		default:
			t.start, t.handled = at, at
		}
	}
	from := now.Add(-c.delay)
	if t.handled.After(from) {
		from = t.handled
	}
	if next := c.Next(from); !next.IsZero() {
		t.next = next.Add(c.delay)
		if t.look.IsZero() || t.next.Before(t.look) {
			t.look = t.next
		}
	}
	return t
}

// note writes a turn down, all but what it made.
func (t turn) note(run *api.RunStatus) {
	run.HandledTime = &metav1.Time{Time: t.handled}
	run.WaitingFor = t.waiting
	run.NextTime = nil
	if !t.next.IsZero() {
		run.NextTime = &metav1.Time{Time: t.next}
	}
}
