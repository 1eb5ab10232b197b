package schedule

import (
	"strings"
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// What a schedule tells of a run that it makes, and of some that it cannot make up for:
// each once, whichever call the controller dies in, unless it had just written it down.
func TestEventsOfASchedule(t *testing.T) {
	killed := 0
	for calls := range 10 {
		deadline := int64(60)
		w := newWorld(t, epoch, scheduleOf("nightly", "0 * * * *", "Etc/UTC", epoch, func(s *api.BackupSchedule) { s.Spec.StartingDeadlineSeconds = &deadline }))
		w.mustReconcile("nightly")
		w.now = epoch.Add(time.Hour)
		w.mustReconcile("nightly")
		w.end(BackupName("nightly", w.now), true)
		w.now = epoch.Add(4*time.Hour + 30*time.Minute) // three were due, all too late
		w.killIn = calls
		if _, dead := w.reconcile("nightly"); dead {
			killed++
		}
		w.killIn = -1
		w.start()
		w.mustReconcile("nightly")
		count := map[string]int{}
		for len(w.said.Events) > 0 {
			f := strings.Fields(<-w.said.Events)
			count[f[0]+" "+f[1]]++
		}
		if count["Normal "+api.ReasonStarted] != 1 || count["Warning "+api.ReasonRunsMissed] != 1 || len(count) != 2 {
			t.Errorf("killed in call %d: told %v", calls, count)
		}
	}
	if killed < 3 {
		t.Errorf("killed %d times", killed)
	}
}
