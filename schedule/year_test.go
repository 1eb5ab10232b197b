package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const (
	restarts    = 1000
	longestDown = 2 * time.Hour
)

// yearly is a schedule of the test and the instants at which it is due, worked out
// from the dates of the changes alone.
type yearly struct {
	name, expression, zone string
	jitter                 time.Duration
	// standard and summer are the instants of a day, as offsets from its midnight in
	// UTC; spring and autumn the days of the changes, with theirs.
	standard, summer     time.Duration
	spring, autumn       time.Time
	springDay, autumnDay time.Duration
}

var year = []yearly{
	{name: "new-york", expression: "30 2 * * *", zone: "America/New_York", jitter: 10 * time.Minute,
		standard: 7*time.Hour + 30*time.Minute, summer: 6*time.Hour + 30*time.Minute,
		// 02:30 does not exist on the 8th of March: 03:00 EDT.
		spring: day(3, 8), springDay: 7 * time.Hour,
		// 02:30 is after the repeated hour: 02:30 EST.
		autumn: day(11, 1), autumnDay: 7*time.Hour + 30*time.Minute},
	{name: "london", expression: "30 1 * * *", zone: "Europe/London",
		standard: time.Hour + 30*time.Minute, summer: 30 * time.Minute,
		// 01:30 does not exist on the 29th of March: 02:00 BST.
		spring: day(3, 29), springDay: time.Hour,
		// 01:30 occurs twice on the 25th of October: the first, BST.
		autumn: day(10, 25), autumnDay: 30 * time.Minute},
}

func day(month time.Month, day int) time.Time {
	return time.Date(2026, month, day, 0, 0, 0, 0, time.UTC)
}

func (y yearly) expected() []time.Time {
	var all []time.Time
	for d := day(1, 1); d.Year() == 2026; d = d.AddDate(0, 0, 1) {
		offset := y.standard
		switch {
		case d.Equal(y.spring):
			offset = y.springDay
		case d.Equal(y.autumn):
			offset = y.autumnDay
		case d.After(y.spring) && d.Before(y.autumn):
			offset = y.summer
		}
		all = append(all, d.Add(offset))
	}
	return all
}

// A year of two schedules in two zones, over both changes of the clock, with a
// controller that is killed a thousand times, at any of its calls or between them.
func TestYear(t *testing.T) {
	random := seeded(t)
	begin, end := day(1, 1), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	keep := int32(2)
	w := newWorld(t, begin.Add(-time.Minute))
	for _, y := range year {
		s := scheduleOf(y.name, y.expression, y.zone, w.now)
		s.Spec.Jitter = nil
		if y.jitter > 0 {
			s.Spec.Jitter = durationOf(y.jitter)
		}
		s.Spec.Retention = &api.Retention{KeepLast: &keep, Failed: api.FailedRetention{KeepLast: new(int32(1))}}
		if err := w.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	killed, turns := w.live(random, begin, end)
	if killed != restarts {
		t.Fatalf("the controller was killed %d times, not %d", killed, restarts)
	}
	for _, y := range year {
		s := w.schedule(y.name)
		delay := time.Duration(s.Status.JitterSeconds) * time.Second
		var got []time.Time
		for name, times := range w.made {
			b, ok := times[0].object.(*api.Backup)
			if !ok || b.Labels[api.ScheduleLabel] != y.name {
				continue
			}
			if len(times) != 1 {
				t.Errorf("%s was made %d times", name, len(times))
			}
			at, err := time.Parse(time.RFC3339, b.Annotations[api.ScheduledAtAnnotation])
			if err != nil {
				t.Fatal(err)
			}
			due := at.Add(delay)
			if times[0].at.Before(due) {
				t.Errorf("%s, due at %s, was made at %s", name, due, times[0].at)
			}
			// It may be late by however long the controller was down, but never passed over.
			if i, _ := slices.BinarySearchFunc(turns[y.name], due, time.Time.Compare); i < len(turns[y.name]) && turns[y.name][i].Before(times[0].at) {
				t.Errorf("%s, due at %s, was passed over at %s and made at %s", name, due, turns[y.name][i], times[0].at)
			}
			got = append(got, at)
		}
		sort.Slice(got, func(i, j int) bool { return got[i].Before(got[j]) })
		want := y.expected()
		if y.jitter > 0 && delay == 0 {
			t.Errorf("%s has no delay, which proves nothing", y.name)
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Errorf("%s: %d runs, want %d\n%s", y.name, len(got), len(want), difference(got, want))
		}
		if s.Status.MissedRuns != 0 {
			t.Errorf("%s says that %d runs were missed", y.name, s.Status.MissedRuns)
		}
	}
	if left := w.backups(); len(left) > len(year)*(int(keep)+2) { // and a failed one, and one that runs
		t.Errorf("retention keeps %d good ones of each schedule; left are %v", keep, left)
	}
}

// live lets time pass until end, with a controller that is killed now and then, and
// gives how often it was: between two turns, at any call of one, and, which is where
// a run is lost or made twice, just before and just after it made one. turns are when
// it looked at each schedule, lived on, and had nothing to wait for.
func (w *world) live(random *rand.Rand, begin, end time.Time) (killed int, turns map[string][]time.Time) {
	turns = map[string][]time.Time{}
	mean := (end.Sub(begin) - 48*time.Hour) / restarts // the last one shall have the time to come
	var deaths []time.Time
	for i := range restarts {
		deaths = append(deaths, begin.Add(time.Duration(i)*mean+time.Duration(random.Int64N(int64(mean)))))
	}
	names := []string{year[0].name, year[1].name}
	wake, ends := map[string]time.Time{}, map[string]time.Time{}
	die := func() {
		killed++
		w.now = w.now.Add(time.Duration(random.Int64N(int64(longestDown))))
		w.killIn = -1
		w.start()
		clear(wake) // a controller that starts looks at all there is
	}
	for {
		slices.SortStableFunc(names, func(a, b string) int { return wake[a].Compare(wake[b]) })
		next := wake[names[0]]
		for name, over := range ends {
			if over.After(next) {
				continue
			}
			w.now = latest(w.now, over)
			delete(ends, name)
			w.end(name, random.IntN(20) > 0)
			clear(wake) // which is told
		}
		w.now = latest(w.now, wake[names[0]])
		if len(deaths) > 0 && w.killIn < 0 && !w.now.Before(deaths[0]) {
			w.after = random.IntN(2) == 0
			switch kind := random.IntN(6); {
			case kind == 0 && len(deaths) > restarts/50:
				w.killAtCreate++
			case kind < 3:
				w.killIn = random.IntN(6)
			default:
				deaths = deaths[1:]
				die()
				continue
			}
			deaths = deaths[1:]
		}
		if !w.now.Before(end) {
			return killed, turns
		}
		known := len(w.order)
		again, dead := w.reconcile(names[0])
		for _, name := range w.order[known:] { // a backup takes some minutes
			ends[name] = w.now.Add(time.Duration(1+random.IntN(10)) * time.Minute)
		}
		if dead {
			die()
			continue
		}
		wake[names[0]] = w.now.Add(again)
		if w.schedule(names[0]).Status.Backups.WaitingFor == "" {
			turns[names[0]] = append(turns[names[0]], w.now)
		}
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func difference(got, want []time.Time) string {
	var text string
	for _, at := range got {
		if !slices.ContainsFunc(want, at.Equal) {
			text += fmt.Sprintf("too much: %s\n", at)
		}
	}
	for _, at := range want {
		if !slices.ContainsFunc(got, at.Equal) {
			text += fmt.Sprintf("lost: %s\n", at)
		}
	}
	return text
}

func durationOf(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
