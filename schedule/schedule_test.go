package schedule

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

var epoch = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

func ready(s *api.BackupSchedule) metav1.Condition {
	if c := meta.FindStatusCondition(s.Status.Conditions, api.ConditionReady); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// daily is at 02:00 UTC.
func daily(change ...func(*api.BackupSchedule)) *api.BackupSchedule {
	return scheduleOf("nightly", "0 2 * * *", "Etc/UTC", epoch, change...)
}

func (w *world) at(day, hour, minute int) {
	w.now = epoch.AddDate(0, 0, day-1).Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
}

// change edits the stored schedule, as a user does.
func (w *world) change(edit func(*api.BackupSchedule)) {
	w.t.Helper()
	s := w.schedule("nightly")
	edit(s)
	s.Generation++
	if err := w.Update(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) want(names ...string) {
	w.t.Helper()
	if !slices.Equal(w.order, names) {
		w.t.Fatalf("%s: made %v, want %v", w.now.Format(time.RFC3339), w.order, names)
	}
}

func (w *world) wantReady(s *api.BackupSchedule, why, says string) {
	w.t.Helper()
	if c := ready(s); c.Reason != why || !strings.Contains(c.Message, says) {
		w.t.Errorf("%s: Ready is %s %s: %s; want %s with %q", w.now.Format(time.RFC3339), c.Status, c.Reason, c.Message, why, says)
	}
}

func TestARunAndItsStatus(t *testing.T) {
	w := newWorld(t, epoch, daily(func(s *api.BackupSchedule) {
		s.Spec.TimeZone = "Africa/Nairobi"
		s.Spec.Template = api.BackupTemplate{Labels: map[string]string{"team": "a", api.ScheduleLabel: "forged"}, Spec: api.BackupSpec{Quiesce: api.QuiescePause, AllowedNamespaces: []string{"clone"}}}
	}))
	s := w.mustReconcile("nightly")
	w.want()
	if s.Status.NextRun != "2026-07-02 02:00:00 +03:00" || !s.Status.Backups.NextTime.Equal(&metav1.Time{Time: epoch.Add(23 * time.Hour)}) {
		t.Errorf("next run %s, %s", s.Status.NextRun, s.Status.Backups.NextTime)
	}
	w.wantReady(s, api.ReasonScheduled, "")
	w.now = s.Status.Backups.NextTime.Time
	s = w.mustReconcile("nightly")
	const name = "nightly-20260701-230000"
	w.want(name)
	b := w.made[name][0].object.(*api.Backup)
	if b.Labels["team"] != "a" || b.Labels[api.ScheduleLabel] != "nightly" || b.Annotations[api.ScheduledAtAnnotation] != "2026-07-01T23:00:00Z" ||
		b.Spec.Quiesce != api.QuiescePause || !slices.Equal(b.Spec.AllowedNamespaces, []string{"clone"}) || len(b.OwnerReferences) > 0 {
		t.Errorf("made %+v", b)
	}
	if st := s.Status.Backups; st.LastName != name || st.Active != name || !st.LastTime.Equal(&metav1.Time{Time: w.now}) || s.Status.RecoveryPointTime != nil {
		t.Errorf("status %+v", s.Status)
	}
	for range 3 { // whatever wakes it
		w.mustReconcile("nightly")
	}
	w.want(name)
	w.now = w.now.Add(5 * time.Minute)
	w.end(name, true)
	s = w.mustReconcile("nightly")
	if st := s.Status; st.LastSuccessfulBackup != name || !st.LastSuccessfulTime.Equal(&metav1.Time{Time: w.now}) || !st.RecoveryPointTime.Equal(st.LastSuccessfulTime) || st.Backups.Active != "" {
		t.Errorf("status %+v", st)
	}
	if again := w.mustReconcile("nightly"); again.ResourceVersion != s.ResourceVersion {
		t.Error("the status is written again though nothing changed")
	}
}

func TestLate(t *testing.T) {
	deadline := func(s *api.BackupSchedule) { s.Spec.StartingDeadlineSeconds = new(int64(3600)) }
	for _, tt := range []struct {
		name         string
		change       func(*api.BackupSchedule)
		day, hour, m int
		made         []string
		missed       int64
		last         string
	}{
		{"in time", deadline, 1, 2, 0, []string{"nightly-20260701-020000"}, 0, ""},
		{"within the deadline", deadline, 1, 3, 0, []string{"nightly-20260701-020000"}, 0, ""},
		{"past the deadline", deadline, 1, 3, 1, nil, 1, "2026-07-01T02:00:00Z"},
		{"days past it, then within it: one", deadline, 4, 2, 59, []string{"nightly-20260704-020000"}, 3, "2026-07-03T02:00:00Z"},
		{"days past it", deadline, 4, 12, 0, nil, 4, "2026-07-04T02:00:00Z"},
		{"no deadline: the latest, however late", func(*api.BackupSchedule) {}, 30, 23, 0, []string{"nightly-20260730-020000"}, 29, "2026-07-29T02:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, epoch, daily(tt.change))
			w.at(tt.day, tt.hour, tt.m)
			s := w.mustReconcile("nightly")
			w.want(tt.made...)
			last := ""
			if s.Status.LastMissed != nil {
				last = s.Status.LastMissed.UTC().Format(time.RFC3339)
			}
			if s.Status.MissedRuns != tt.missed || last != tt.last {
				t.Errorf("missed %d, the last at %s", s.Status.MissedRuns, last)
			}
			if tt.made == nil && tt.missed > 0 {
				w.wantReady(s, api.ReasonRunsMissed, tt.last)
			}
			s = w.mustReconcile("nightly") // counted once
			if s.Status.MissedRuns != tt.missed {
				t.Errorf("missed %d the second time", s.Status.MissedRuns)
			}
		})
	}
}

func backupIn(phase api.Phase) *api.Backup {
	return &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: namespaceName, Name: "manual", UID: "m"}, Status: api.BackupStatus{Phase: phase}}
}

func TestBusy(t *testing.T) {
	inPlace := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: namespaceName, Name: "rollback"}, Spec: api.RestoreSpec{InPlace: &api.InPlace{}}, Status: api.RestoreStatus{Phase: api.PhaseSwapping}}
	w := newWorld(t, epoch, daily(func(s *api.BackupSchedule) { s.Spec.StartingDeadlineSeconds = new(int64(7200)) }), inPlace)
	w.at(1, 2, 0)
	s := w.mustReconcile("nightly")
	w.want()
	w.wantReady(s, api.ReasonWaiting, "restore rollback")
	w.at(1, 3, 0)
	inPlace.Status.Phase = api.PhaseCompleted
	if err := w.Status().Update(t.Context(), inPlace); err != nil {
		t.Fatal(err)
	}
	s = w.mustReconcile("nightly")
	w.want("nightly-20260701-020000")
	w.wantReady(s, api.ReasonScheduled, "")

	// Its own backup still runs a day later, and beyond the deadline.
	w.at(2, 2, 0)
	s = w.mustReconcile("nightly")
	w.wantReady(s, api.ReasonWaiting, "backup nightly-20260701-020000")
	result, _ := w.reconcile("nightly")
	if result != longest {
		t.Errorf("it looks again after %s", result)
	}
	w.at(2, 4, 1)
	s = w.mustReconcile("nightly")
	w.want("nightly-20260701-020000")
	w.wantReady(s, api.ReasonRunsMissed, "2026-07-02T02:00:00Z")
	w.end("nightly-20260701-020000", true)
	w.at(3, 2, 0)
	w.wantReady(w.mustReconcile("nightly"), api.ReasonScheduled, "")
	w.want("nightly-20260701-020000", "nightly-20260703-020000")
}

func TestNotBusy(t *testing.T) {
	for _, o := range []*api.Restore{
		{ObjectMeta: metav1.ObjectMeta{Name: "planned"}, Spec: api.RestoreSpec{InPlace: &api.InPlace{}}, Status: api.RestoreStatus{Phase: api.PhasePlanned}},
		{ObjectMeta: metav1.ObjectMeta{Name: "copying"}, Spec: api.RestoreSpec{Database: &api.DatabaseRestore{Name: "medic"}}, Status: api.RestoreStatus{Phase: api.PhaseReplicating}},
	} {
		o.Namespace = namespaceName
		w := newWorld(t, epoch, daily(), o, backupIn(api.PhaseCompleted))
		w.at(1, 2, 0)
		w.mustReconcile("nightly")
		w.want("nightly-20260701-020000")
	}
}

func TestSuspend(t *testing.T) {
	w := newWorld(t, epoch, daily())
	w.mustReconcile("nightly")
	w.change(func(s *api.BackupSchedule) { s.Spec.Suspend = true })
	w.at(1, 1, 0)
	s := w.mustReconcile("nightly")
	w.wantReady(s, api.ReasonSuspended, "suspended")
	if s.Status.NextRun != "" || s.Status.Backups.NextTime != nil {
		t.Errorf("a suspended schedule has a next run: %s", s.Status.NextRun)
	}
	w.at(3, 12, 0)
	w.mustReconcile("nightly")
	w.change(func(s *api.BackupSchedule) { s.Spec.Suspend = false })
	w.at(4, 1, 0)
	s = w.mustReconcile("nightly")
	w.want() // nothing of what was due meanwhile
	if s.Status.MissedRuns != 0 {
		t.Errorf("%d runs count as missed", s.Status.MissedRuns)
	}
	w.at(4, 2, 0)
	w.mustReconcile("nightly")
	w.want("nightly-20260704-020000")
}

func TestChangedExpression(t *testing.T) {
	w := newWorld(t, epoch, daily())
	w.at(1, 2, 0)
	w.mustReconcile("nightly")
	w.end("nightly-20260701-020000", true)
	w.at(1, 12, 0)
	w.change(func(s *api.BackupSchedule) { s.Spec.Schedule = "0 10 * * *" })
	s := w.mustReconcile("nightly") // 10:00 of today was not due when it came
	w.want("nightly-20260701-020000")
	if s.Status.NextRun != "2026-07-02 10:00:00 +00:00" || s.Status.MissedRuns != 0 {
		t.Errorf("next %s, missed %d", s.Status.NextRun, s.Status.MissedRuns)
	}
	w.change(func(s *api.BackupSchedule) { s.Spec.TimeZone = "Africa/Atlantis" })
	s = w.mustReconcile("nightly")
	w.wantReady(s, api.ReasonInvalidSchedule, "Africa/Atlantis")
	if s.Status.NextRun != "" {
		t.Errorf("an invalid schedule has a next run: %s", s.Status.NextRun)
	}
	w.at(2, 10, 0)
	w.mustReconcile("nightly")
	w.change(func(s *api.BackupSchedule) { s.Spec.TimeZone = "Africa/Nairobi" })
	w.mustReconcile("nightly") // 10:00 there was at 07:00 UTC
	w.want("nightly-20260701-020000")
	w.at(3, 7, 0)
	w.mustReconcile("nightly")
	w.want("nightly-20260701-020000", "nightly-20260703-070000")
}

func TestRunNow(t *testing.T) {
	w := newWorld(t, epoch, daily(func(s *api.BackupSchedule) { s.Spec.Suspend = true }), backupIn(api.PhaseCutting))
	w.change(func(s *api.BackupSchedule) { s.Annotations = map[string]string{api.RunNowAnnotation: "please"} })
	s := w.mustReconcile("nightly")
	w.want()
	w.wantReady(s, api.ReasonWaiting, "backup manual")
	w.end("manual", true)
	w.mustReconcile("nightly")
	first := RunNowName("nightly", "please")
	w.want(first)
	b := w.made[first][0].object.(*api.Backup)
	if b.Labels[api.ScheduleLabel] != "nightly" || b.Annotations[api.ScheduledAtAnnotation] != "" {
		t.Errorf("made %+v", b.ObjectMeta)
	}
	w.end(first, true)
	w.mustReconcile("nightly")
	w.want(first)
	w.change(func(s *api.BackupSchedule) { s.Annotations[api.RunNowAnnotation] = "again" })
	s = w.mustReconcile("nightly")
	w.want(first, RunNowName("nightly", "again"))
	if s.Status.LastRunNow != "again" || s.Status.Backups.LastTime != nil {
		t.Errorf("status %+v", s.Status)
	}
}

func TestNameTaken(t *testing.T) {
	taken := backupIn(api.PhaseCompleted)
	taken.Name = BackupName("nightly", epoch.Add(2*time.Hour))
	w := newWorld(t, epoch, daily(), taken)
	w.at(1, 2, 0)
	s := w.mustReconcile("nightly")
	w.want()
	if s.Status.MissedRuns != 1 || s.Status.Backups.LastTime != nil {
		t.Errorf("status %+v", s.Status)
	}
	if said := <-w.said.Events; !strings.Contains(said, api.ReasonNameTaken) || !strings.Contains(said, taken.Name) {
		t.Errorf("said %q", said)
	}
	w.at(2, 2, 0)
	w.mustReconcile("nightly")
	w.want("nightly-20260702-020000")
}

// The longest name there may be, and the longest zone's.
func TestNamesFit(t *testing.T) {
	name := strings.Repeat("n", 63)
	for _, made := range []string{BackupName(name, epoch), RunNowName(name, "x"), DrillName(name, epoch)} {
		if len(made) > 200-63-20 { // of a Backup's name, more names are made
			t.Errorf("%s has %d characters", made, len(made))
		}
	}
}

func TestClockSetBack(t *testing.T) {
	w := newWorld(t, epoch, daily())
	w.now = epoch.AddDate(10, 0, 0) // the clock of a new machine
	w.mustReconcile("nightly")
	if len(w.order) != 1 {
		t.Fatal(w.order)
	}
	w.end(w.order[0], true)
	w.at(5, 1, 0)
	s := w.mustReconcile("nightly")
	if s.Status.NextRun != "2026-07-05 02:00:00 +00:00" {
		t.Errorf("the next run is at %s", s.Status.NextRun)
	}
	w.at(5, 2, 0)
	w.mustReconcile("nightly")
	w.want("nightly-20360630-020000", "nightly-20260705-020000")
	// Seconds back are no reason to do anything again.
	w.end("nightly-20260705-020000", true)
	w.now = w.now.Add(-30 * time.Second)
	w.mustReconcile("nightly")
	w.at(5, 2, 1)
	w.mustReconcile("nightly")
	w.want("nightly-20360630-020000", "nightly-20260705-020000")
}

func drilled(s *api.BackupSchedule) {
	s.Spec.Drill = &api.ScheduledDrill{Schedule: "0 6 * * 0", Verify: api.VerifyFull, History: 1, KeepFailed: durationOf(time.Hour)}
}

func TestDrills(t *testing.T) {
	w := newWorld(t, epoch, daily(drilled, func(s *api.BackupSchedule) { s.Spec.Suspend = false }))
	w.mustReconcile("nightly")
	w.change(func(s *api.BackupSchedule) { s.Spec.Schedule = "0 2 1 1 *" }) // no backups of its own here
	w.at(5, 6, 0)                                                           // Sunday
	s := w.mustReconcile("nightly")
	w.want()
	if s.Status.Drills.WaitingFor != "a good backup" || s.Status.MissedRuns != 0 {
		t.Errorf("status %+v", s.Status.Drills)
	}
	w.at(5, 7, 0)
	bad := backupIn(api.PhaseCutting)
	if err := w.Create(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	w.end("manual", false)
	w.mustReconcile("nightly")
	w.want()
	if err := w.Delete(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	if err := w.Create(t.Context(), backupIn(api.PhaseCutting)); err != nil {
		t.Fatal(err)
	}
	w.end("manual", true)
	s = w.mustReconcile("nightly")
	const name = "nightly-drill-20260705-060000"
	w.want(name)
	d := w.made[name][0].object.(*api.Restore)
	if d.Spec.Source.Name != "manual" || d.Spec.Source.UID != "m" || d.Spec.Verify != api.VerifyFull || d.Spec.Drill.KeepFailed.Duration != time.Hour || s.Status.Drills.Active != name {
		t.Errorf("made %+v", d.Spec)
	}
	// The next is due while this one runs; a week later it is over.
	w.at(12, 6, 0)
	if s = w.mustReconcile("nightly"); !strings.Contains(s.Status.Drills.WaitingFor, name) {
		t.Errorf("status %+v", s.Status.Drills)
	}
	endDrill := func(name string, phase api.Phase) {
		t.Helper()
		var d api.Restore
		if err := w.Get(t.Context(), keyOf(name), &d); err != nil {
			t.Fatal(err)
		}
		d.Status.Phase = phase
		if err := w.Status().Update(t.Context(), &d); err != nil {
			t.Fatal(err)
		}
	}
	endDrill(name, api.PhaseFailed)
	w.mustReconcile("nightly")
	endDrill("nightly-drill-20260712-060000", api.PhaseCompleted)
	w.at(19, 6, 0)
	w.mustReconcile("nightly")
	endDrill("nightly-drill-20260719-060000", api.PhaseCompleted)
	w.mustReconcile("nightly")
	var left []string
	var list api.RestoreList
	if err := w.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	for _, d := range list.Items {
		left = append(left, d.Name)
	}
	if want := []string{name, "nightly-drill-20260719-060000"}; !slices.Equal(left, want) { // the newest good and the newest failed one
		t.Errorf("left %v, want %v", left, want)
	}
}

// What is wrong with drills or retention keeps no backup from being taken.
func TestHalfWrong(t *testing.T) {
	none := int32(0)
	for says, change := range map[string]func(*api.BackupSchedule){
		"no drill is made": func(s *api.BackupSchedule) { s.Spec.Drill = &api.ScheduledDrill{Schedule: "0 0 30 2 *"} },
		"none is removed":  func(s *api.BackupSchedule) { s.Spec.Retention = &api.Retention{KeepDaily: &none} },
	} {
		w := newWorld(t, epoch, daily(change))
		w.at(1, 2, 0)
		w.wantReady(w.mustReconcile("nightly"), api.ReasonInvalidSchedule, says)
		w.want("nightly-20260701-020000")
	}
}

// A drill that is added to a schedule of long ago is not made up for.
func TestDrillAddedLater(t *testing.T) {
	w := newWorld(t, epoch, daily(), backupIn(api.PhaseCutting))
	w.end("manual", true)
	w.at(20, 0, 0)
	w.change(drilled)
	s := w.mustReconcile("nightly")
	for _, name := range w.order {
		if strings.Contains(name, "drill") {
			t.Errorf("made %s", name)
		}
	}
	if next := s.Status.Drills.NextTime; !next.Equal(&metav1.Time{Time: epoch.AddDate(0, 0, 25).Add(6 * time.Hour)}) {
		t.Errorf("the next drill is at %s", next)
	}
	w.change(func(s *api.BackupSchedule) { s.Spec.Drill = nil })
	if s := w.mustReconcile("nightly"); s.Status.Drills != nil {
		t.Errorf("drills that are not asked for any more have status %+v", s.Status.Drills)
	}
}

func TestRetire(t *testing.T) {
	keep := int32(2)
	held, manual := backupIn(api.PhaseCompleted), backupIn(api.PhaseCompleted)
	held.Name, held.UID, held.Labels, held.Annotations = "held", "h", map[string]string{api.ScheduleLabel: "nightly"}, map[string]string{api.HoldAnnotation: "audit"}
	used := held.DeepCopy()
	used.Name, used.UID, used.Annotations = "used", "u", nil
	clone := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "clone"}, Spec: api.RestoreSpec{Source: api.BackupReference{Namespace: namespaceName, Name: "used"}}, Status: api.RestoreStatus{Phase: api.PhaseVolumes}}
	w := newWorld(t, epoch, daily(func(s *api.BackupSchedule) { s.Spec.Retention = &api.Retention{KeepLast: &keep} }), held, used, manual, clone)
	for _, name := range []string{"held", "used", "manual"} {
		w.end(name, true)
	}
	for day := 1; day <= 5; day++ {
		w.at(day, 2, 0)
		w.mustReconcile("nightly")
		w.end(w.order[len(w.order)-1], true)
		w.mustReconcile("nightly")
	}
	left := w.backups()
	if want := []string{"held", "manual", "nightly-20260704-020000", "nightly-20260705-020000", "used"}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
	if s := w.schedule("nightly"); s.Status.Retained != 4 || s.Status.Removed != 3 {
		t.Errorf("retained %d, removed %d", s.Status.Retained, s.Status.Removed)
	}
}
