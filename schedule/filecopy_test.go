package schedule

import (
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// hourly backups, of which the first since each night's 02:30 copies the files, too.
func hourly(change ...func(*api.BackupSchedule)) *api.BackupSchedule {
	return scheduleOf("nightly", "0 * * * *", "Etc/UTC", epoch, append([]func(*api.BackupSchedule){func(s *api.BackupSchedule) {
		s.Spec.FileCopySchedule = new(api.CronExpression("30 2 * * *"))
	}}, change...)...)
}

func (w *world) copied(t *testing.T) (names []string) {
	t.Helper()
	for _, name := range w.order {
		b, is := w.made[name][0].object.(*api.Backup)
		if !is {
			continue
		}
		if b.Spec.File == nil {
			t.Errorf("%s: the template decides, though there is a clock for it", name)
		} else if b.Spec.File.Copy {
			names = append(names, name)
		}
	}
	return names
}

func TestFilesAreCopiedByTheirOwnClock(t *testing.T) {
	w := newWorld(t, epoch, hourly())
	for day := 1; day <= 2; day++ {
		for hour := range 24 {
			w.at(day, hour, 0)
			w.mustReconcile("nightly")
			w.mustReconcile("nightly")
			if len(w.order) > 0 {
				w.end(w.order[len(w.order)-1], true)
			}
		}
	}
	if got := w.copied(t); len(got) != 2 || got[0] != "nightly-20260701-030000" || got[1] != "nightly-20260702-030000" {
		t.Errorf("copied by %v of %d", got, len(w.order))
	}
}

// The copy of a night in which nobody was there is made by the first backup after it.
func TestAMissedCopyIsMadeByTheNextBackup(t *testing.T) {
	w := newWorld(t, epoch, hourly())
	w.at(1, 1, 0)
	w.mustReconcile("nightly")
	w.end(w.order[0], true)
	w.at(1, 7, 10)
	w.mustReconcile("nightly")
	w.end(w.order[len(w.order)-1], true)
	w.at(1, 8, 0)
	w.mustReconcile("nightly")
	if got := w.copied(t); len(w.order) != 3 || len(got) != 1 || got[0] != "nightly-20260701-070000" {
		t.Errorf("copied by %v of %v", got, w.order)
	}
}

func TestAClockOfCopiesThatIsNone(t *testing.T) {
	w := newWorld(t, epoch, hourly(func(s *api.BackupSchedule) { s.Spec.FileCopySchedule = new(api.CronExpression("0 0 31 2 *")) }))
	w.at(1, 1, 0)
	s := w.mustReconcile("nightly")
	w.wantReady(s, api.ReasonInvalidSchedule, "fileCopySchedule")
	if got := w.copied(t); len(w.order) != 1 || len(got) != 0 {
		t.Errorf("made %v, copied by %v", w.order, got)
	}
}

func TestCopiesAt(t *testing.T) {
	s := hourly()
	c, err := clocksOf(s)
	if err != nil {
		t.Fatal(err)
	}
	// The first run ever, before and after the clock has struck.
	if c.copiesAt(epoch.Add(2*time.Hour), nil, epoch) || !c.copiesAt(epoch.Add(3*time.Hour), nil, epoch) {
		t.Error("the first run")
	}
}

// A copy is due at the first instant after the newest one, or after the schedule's begin.
func TestCopyDue(t *testing.T) {
	never := time.Time{}
	for _, tt := range []struct {
		name   string
		s      *api.BackupSchedule
		newest time.Time
		want   time.Time
	}{
		{"none yet", hourly(), never, epoch.Add(2*time.Hour + 30*time.Minute)},
		{"one before the schedule", hourly(), epoch.Add(-time.Hour), epoch.Add(2*time.Hour + 30*time.Minute)},
		{"one of today", hourly(), epoch.Add(3 * time.Hour), epoch.Add(26*time.Hour + 30*time.Minute)},
		{"suspended", hourly(func(s *api.BackupSchedule) { s.Spec.Suspend = true }), never, never},
		{"no clock of its own", hourly(func(s *api.BackupSchedule) { s.Spec.FileCopySchedule = nil }), never, never},
		{"a clock that is none", hourly(func(s *api.BackupSchedule) { s.Spec.FileCopySchedule = new(api.CronExpression("0 0 31 2 *")) }), never, never},
	} {
		if got := CopyDue(tt.s, tt.newest); !got.Equal(tt.want) {
			t.Errorf("%s: due at %s, want %s", tt.name, got, tt.want)
		}
	}
}
