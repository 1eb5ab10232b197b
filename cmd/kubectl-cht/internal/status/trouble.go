package status

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/schedule/when"
)

const (
	// provenFor is how long a proof is believed in.
	provenFor = 30 * 24 * time.Hour
	// allowance is how long a run may take after it was due, before it is said that
	// it has not led to a backup.
	allowance = 15 * time.Minute
	// patience is how long a schedule may lie without a controller taking it up.
	patience = 2 * time.Minute
	// several failed backups in a row are no mishap any more.
	several = 3
)

// trouble says what is wrong with an instance. Its rules are independent of one
// another, but for a namespace where no CHT runs: nobody expects new backups there.
func (in *instance) trouble(out *Instance, good []*backup, now time.Time, looked bool) []Trouble {
	var t troubles
	lost := looked && !in.cht
	if lost {
		t.noCHT(in)
	}
	t.recoveryPoint(in, out, now, lost)
	t.failures(in, good)
	t.underWay(in, now)
	t.broken(in, good)
	for i := range in.schedules {
		t.schedule(&in.schedules[i], good, now)
	}
	if !lost {
		t.schedules(in)
		t.proof(in, out, good, now)
		t.fileCopies(in, out, good, now)
	}
	if in.restoring != "" {
		t.add(Note, Restoring, "", "restore %s is under way", in.restoring)
	}
	if out.LastGood != nil && out.LastGood.Consistency == api.CrashConsistent {
		t.add(Note, CrashConsistent, "", "the last good backup is CrashConsistent only")
	}
	if n := out.Backups.Held; n > 0 {
		t.add(Note, Held, "", "%d held", n)
	}
	return t
}

type troubles []Trouble

func (t *troubles) add(level Level, code, detail, words string, args ...any) {
	*t = append(*t, Trouble{Level: level, Code: code, Words: fmt.Sprintf(words, args...), Detail: detail})
}

// noCHT: with a schedule that runs, somebody believes that it is backed up.
func (t *troubles) noCHT(in *instance) {
	for _, s := range in.schedules {
		if !s.suspended {
			t.add(Warning, NoCHT, "", "no CHT runs here, and schedule %s expects one", s.name)
			return
		}
	}
	t.add(Note, NoCHT, "", "no CHT runs here")
}

// recoveryPoint: two runs have passed since the last good cut, so that one that
// failed, or is under way, is no alarm yet.
func (t *troubles) recoveryPoint(in *instance, out *Instance, now time.Time, lost bool) {
	if out.LastGood == nil {
		if !lost {
			t.add(Critical, NeverBackedUp, "", "never backed up")
		}
		return
	}
	var by string
	var soonest time.Time
	for _, s := range in.schedules {
		clock, err := when.Parse(s.expression, s.zone, s.created)
		if err != nil || s.suspended {
			continue
		}
		from := out.LastGood.CutTime
		if from.Before(s.created) {
			from = s.created // what was due before there was a schedule was not missed
		}
		second := clock.Next(clock.Next(from))
		if second.IsZero() {
			continue
		}
		if late := second.Add(s.jitter + allowance); soonest.IsZero() || late.Before(soonest) {
			soonest, by = late, s.name
		}
	}
	if by != "" && now.After(soonest) {
		t.add(Critical, RecoveryPointOld, "", "recovery point is %s old: two runs of schedule %s have passed without a good backup", age(out.LastGood.CutTime, now), by)
	}
}

// failures are the backups that failed since the last good one.
func (t *troubles) failures(in *instance, good []*backup) {
	n := 0
	var last *backup
	for i := len(in.backups) - 1; i >= 0; i-- {
		b := &in.backups[i]
		if len(good) > 0 && !b.created.After(good[len(good)-1].created) {
			break
		}
		if b.failed {
			n++
			if last == nil {
				last = b
			}
		}
	}
	if last == nil {
		return
	}
	level := Warning
	if n >= several {
		level = Critical
	}
	t.add(level, BackupsFailed, last.message, "%s failed: %s", named(n, "last backup", "last %d backups"), cmp.Or(last.reason, "no reason given"))
}

// underWay is what hinders a backup that was asked for.
func (t *troubles) underWay(in *instance, now time.Time) {
	for i := range in.backups {
		switch b := &in.backups[i]; {
		case b.ended:
		case b.phase == "" && now.Sub(b.created) > patience:
			t.add(Critical, Unattended, "", "no controller has taken up backup %s: is cht-backup running?", b.name)
			return
		case b.phase == api.PhasePending && b.message != "":
			t.add(Note, Waiting, "", "backup %s waits: %s", b.name, b.message)
			return
		}
	}
}

// broken are backups that a restore found to be other than recorded. One that is
// older than the last good one is only kept for a look.
func (t *troubles) broken(in *instance, good []*backup) {
	for i := len(in.backups) - 1; i >= 0; i-- {
		b := &in.backups[i]
		if !b.broken {
			continue
		}
		if len(good) == 0 || b.cut.After(good[len(good)-1].cut) {
			t.add(Critical, FoundBroken, b.message, "backup %s was found broken: %s", b.name, b.reason)
		} else {
			t.add(Note, FoundBroken, b.message, "older backup %s was found broken: %s", b.name, b.reason)
		}
		return // the newest of them says enough
	}
}

// schedules as a whole: is there one that runs.
func (t *troubles) schedules(in *instance) {
	var suspended []string
	for _, s := range in.schedules {
		if s.suspended {
			suspended = append(suspended, s.name)
		}
	}
	switch {
	case len(in.schedules) == 0:
		t.add(Warning, NoSchedule, "", "no schedule")
	case len(suspended) == len(in.schedules):
		t.add(Warning, Suspended, "", "suspended: %s", strings.Join(suspended, ", "))
	case len(suspended) > 0:
		t.add(Note, Suspended, "", "schedule %s is suspended", strings.Join(suspended, ", "))
	}
}

// schedule is what is wrong with one of them.
func (t *troubles) schedule(s *schedule, good []*backup, now time.Time) {
	if _, err := when.Parse(s.expression, s.zone, s.created); err != nil {
		t.add(Critical, InvalidSchedule, err.Error(), "schedule %s is invalid", s.name)
		return
	}
	failing := s.ready != nil && s.ready.Status == metav1.ConditionFalse
	newest := s.created
	if len(good) > 0 {
		newest = good[len(good)-1].cut
	}
	switch {
	case failing && s.ready.Reason == api.ReasonInvalidSchedule:
		t.add(Critical, InvalidSchedule, s.ready.Message, "schedule %s is invalid", s.name)
		return
	case !s.observed && now.Sub(s.created) > patience:
		t.add(Critical, Unattended, "", "no controller has taken up schedule %s: is cht-backup running?", s.name)
		return
	case !s.suspended && s.active == "" && s.waiting == "" && s.next != nil && now.Sub(s.next.Time) > allowance:
		t.add(Critical, Unattended, "", "schedule %s was due %s ago and has not begun: is cht-backup running?", s.name, age(s.next.Time, now))
	}
	missing := failing && s.ready.Reason == api.ReasonRunsMissed
	switch {
	case missing || since(s.lastMissed, newest):
		detail := ""
		if missing {
			detail = s.ready.Message
		}
		t.add(Warning, RunsMissed, detail, "schedule %s missed %s", s.name, missedText(s, now))
	case failing && s.ready.Reason != api.ReasonSuspended && s.ready.Reason != api.ReasonWaiting:
		t.add(Warning, ScheduleNotReady, s.ready.Message, "schedule %s: %s", s.name, s.ready.Reason)
	}
	if s.ready != nil && s.ready.Status == metav1.ConditionUnknown && s.waiting == "" {
		t.add(Warning, ScheduleNotReady, s.ready.Message, "schedule %s does not get on", s.name)
	}
	if s.waiting != "" {
		t.add(Note, Waiting, "", "schedule %s waits: %s", s.name, s.waiting)
	}
	if s.drillWaiting != "" && !s.suspended {
		t.add(Note, Waiting, "", "the drill of schedule %s waits: %s", s.name, s.drillWaiting)
	}
}

func missedText(s *schedule, now time.Time) string {
	text := "runs"
	if s.missed > 0 {
		text = named(int(s.missed), "a run", "%d runs in all")
	}
	if s.lastMissed != nil {
		text += fmt.Sprintf(", the latest %s ago", age(s.lastMissed.Time, now))
	}
	return text
}

// proof: a backup that nobody has restored is a hope.
func (t *troubles) proof(in *instance, out *Instance, good []*backup, now time.Time) {
	if d := in.drill; d != nil && d.failed && (out.LastVerified == nil || d.ended.After(out.LastVerified.Time)) {
		t.add(Warning, DrillFailed, d.message, "last drill failed: %s", cmp.Or(d.reason, "no reason given"))
	}
	planned := ""
	for _, s := range in.schedules {
		if s.drills && !s.suspended {
			planned = s.name
		}
	}
	switch p := out.LastVerified; {
	case len(good) == 0: // said already
	case p == nil && planned != "" && now.Sub(good[0].cut) < provenFor:
		t.add(Note, NeverProven, "", "not proven yet; schedule %s has drills", planned)
	case p == nil:
		t.add(Warning, NeverProven, "", "never proven by a restore")
	case now.Sub(p.Time) > provenFor:
		t.add(Warning, ProofOld, "", "last proven %s ago", age(p.Time, now))
	}
}

func age(t, now time.Time) string { return duration.HumanDuration(now.Sub(t)) }
