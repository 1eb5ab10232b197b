package metrics

import (
	"errors"
	"testing"
	"time"

	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const hour, day = time.Hour, 24 * time.Hour

// What a controller that has just started tells of backups that ended before.
func TestInstances(t *testing.T) {
	imported := func(b *api.Backup) { b.Labels = map[string]string{api.ImportedLabel: "true"} }
	deleted := func(b *api.Backup) {
		b.DeletionTimestamp, b.Finalizers = second(9*day), []string{api.Finalizer}
	}
	disproved := func(b *api.Backup) {
		condition(&b.Status.Conditions, api.ConditionVerified, metav1.ConditionFalse, api.ReasonShardsMissing)
	}
	for _, tt := range []struct {
		name    string
		objects []client.Object
		want    []string
	}{
		{"none", nil, nil},
		{"a schedule and no backup yet", []client.Object{&api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: "i", Name: "n", CreationTimestamp: *second(hour)}}},
			[]string{"watched_since_timestamp_seconds{} 3600", "schedule_missed_runs{n} 0", "schedule_ready{n} 0", "schedule_suspended{n} 0"}},
		{"two good ones", []client.Object{backup("i", "a", day), backup("i", "b", 2*day)}, []string{
			"watched_since_timestamp_seconds{} 86340", "recovery_point_timestamp_seconds{} 172800", "last_success_timestamp_seconds{} 172860",
			"size_bytes{} 1000", "restore_size_bytes{} 2.147483648e+09", "last_stall_seconds{} 0.25", "copies_incomplete{} 0"}},
		{"the newest is disproved, one is imported, one deleted", []client.Object{backup("i", "a", day), backup("i", "b", 2*day, disproved), backup("i", "c", 3*day, imported), backup("i", "d", 4*day, deleted)}, []string{
			"watched_since_timestamp_seconds{} 86340", "recovery_point_timestamp_seconds{} 86400", "last_success_timestamp_seconds{} 86460",
			"size_bytes{} 1000", "restore_size_bytes{} 2.147483648e+09", "last_stall_seconds{} 0.25", "copies_incomplete{} 0"}},
		{"failures before and after the good one", []client.Object{backup("i", "a", day), backup("i", "b", hour, failedFor(api.ReasonPodNotReady)),
			backup("i", "c", 2*day, failedFor(api.ReasonSnapshotFailed)), backup("i", "d", 3*day, failedFor(api.ReasonSnapshotFailed)), backup("i", "e", 4*day, failedFor("lost in transit"))}, []string{
			"watched_since_timestamp_seconds{} 3540", "recovery_point_timestamp_seconds{} 86400", "last_success_timestamp_seconds{} 86460",
			"size_bytes{} 1000", "restore_size_bytes{} 2.147483648e+09", "last_stall_seconds{} 0.25", "copies_incomplete{} 0", "failures_since_success{SnapshotFailed} 2", "failures_since_success{Other} 1"}},
		{"never a good one", []client.Object{backup("i", "a", hour, failedFor(api.ReasonNoSnapshotClass))},
			[]string{"watched_since_timestamp_seconds{} 3540", "copies_incomplete{} 0", "failures_since_success{NoSnapshotClass} 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			there(t, nil, tt.objects...)
			expect(t, "i", tt.want...)
		})
	}
}

// What has to be known of proofs: of which backup, the latest, and whether the latest
// drill was good.
func TestProofs(t *testing.T) {
	of := func(b *api.Backup, took int64) func(*api.Restore) {
		return func(r *api.Restore) {
			r.Status.BackupUID, r.Status.Drill.RestoreMilliseconds = b.UID, took
		}
	}
	base := func(extra ...string) []string {
		return append(extra, "watched_since_timestamp_seconds{} 3540", "recovery_point_timestamp_seconds{} 3600", "last_success_timestamp_seconds{} 3660",
			"size_bytes{} 1000", "restore_size_bytes{} 2.147483648e+09", "last_stall_seconds{} 0.25", "copies_incomplete{} 0")
	}
	proven, unproven := backup("p", "a", hour, provenAt(2*hour, 42_500)), backup("p", "a", hour)
	for _, tt := range []struct {
		name    string
		objects []client.Object
		want    []string
	}{
		{"by a restore, no drill", []client.Object{proven}, base("verified_timestamp_seconds{} 7200", "recovery_seconds{} 42.5")},
		{"by a drill, which the Backup does not name: it was proven better before", []client.Object{proven, drill("p", "d", api.PhaseCompleted, "", day, of(proven, 50_000))},
			base("verified_timestamp_seconds{} 86400", "recovery_seconds{} 50", "drill_failed{} 0")},
		{"a good drill of a backup that is gone", []client.Object{unproven, drill("p", "d", api.PhaseCompleted, "", day, func(r *api.Restore) { r.Status.BackupUID = "gone" })}, base("drill_failed{} 0")},
		{"failed after a good one", []client.Object{proven, drill("p", "e", api.PhaseFailed, api.ReasonDrillFailed, 2*day), drill("p", "d", api.PhaseCompleted, "", day, of(proven, 50_000))},
			base("verified_timestamp_seconds{} 86400", "recovery_seconds{} 50", "drill_failed{} 1")},
		{"aborted and refused ones say nothing", []client.Object{unproven, drill("p", "e", api.PhaseFailed, api.ReasonAborted, 2*day), drill("p", "d", api.PhaseFailed, api.ReasonConcurrentOperation, day)}, base()},
		{"good after a failed one", []client.Object{unproven, drill("p", "e", api.PhaseFailed, api.ReasonShardsMissing, day), drill("p", "d", api.PhaseCompleted, "", 2*day)}, base("drill_failed{} 0")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			there(t, nil, tt.objects...)
			expect(t, "p", tt.want...)
		})
	}
}

func TestSchedules(t *testing.T) {
	s := &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: "s", Name: "nightly", CreationTimestamp: *second(0)}}
	s.Status = api.BackupScheduleStatus{Backups: api.RunStatus{NextTime: second(hour)}, LastSuccessfulTime: second(-2 * hour), MissedRuns: 3}
	condition(&s.Status.Conditions, api.ConditionReady, metav1.ConditionTrue, api.ReasonScheduled)
	c := there(t, nil, s)
	expect(t, "s", "schedule_next_run_timestamp_seconds{nightly} 3600", "schedule_last_success_timestamp_seconds{nightly} -7200", "schedule_missed_runs{nightly} 3",
		"schedule_ready{nightly} 1", "schedule_suspended{nightly} 0", "watched_since_timestamp_seconds{} 0")

	s.Spec.Suspend, s.Status.Backups.NextTime = true, nil
	condition(&s.Status.Conditions, api.ConditionReady, metav1.ConditionFalse, api.ReasonSuspended)
	if err := c.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	expect(t, "s", "schedule_last_success_timestamp_seconds{nightly} -7200", "schedule_missed_runs{nightly} 3",
		"schedule_ready{nightly} 0", "schedule_suspended{nightly} 1", "watched_since_timestamp_seconds{} 0")

	if err := c.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	expect(t, "s")
}

// Copies, locks and the catalog.
func TestAfterCare(t *testing.T) {
	toBeCopied := func(b *api.Backup) { b.Spec.EBS = &api.EBSPolicy{Copies: []api.EBSCopy{{Name: "dr"}}} }
	copied := func(b *api.Backup) {
		condition(&b.Status.Conditions, api.ConditionCopied, metav1.ConditionTrue, api.ReasonDone)
	}
	locks := func(b *api.Backup) { b.Status.LockedUntil = second(90 * day) }
	recorded := func(b *api.Backup) { b.Status.Catalog = &api.CatalogStatus{URL: "s3://b", Time: second(5 * day)} }
	there(t, func(b *api.Backup) bool { return b.Status.Catalog == nil },
		backup("c", "a", day, toBeCopied, copied, recorded), backup("c", "b", 2*day, toBeCopied, recorded), backup("c", "d", 3*day, toBeCopied), backup("c", "e", 4*day, locks),
		backup("c", "f", 5*day, failedFor(api.ReasonStallExceeded)))
	got := read(t, "c")
	for series, want := range map[string]float64{"copies_incomplete{}": 2, "copies_incomplete_since_timestamp_seconds{}": (2*day + time.Minute).Seconds(), "catalog_records_missing{}": 2, "locked_until_timestamp_seconds{}": (90 * day).Seconds()} {
		if got[series] != want {
			t.Errorf("%s is %v, want %v", series, got[series], want)
		}
	}
	if at := read(t, "")["catalog_last_write_timestamp_seconds{}"]; at != (5 * day).Seconds() {
		t.Errorf("written at %v", at)
	}
}

func TestUnderWay(t *testing.T) {
	in := func(p api.Phase) func(*api.Backup) { return func(b *api.Backup) { b.Status.Phase = p } }
	scratch := func(r *api.Restore) { r.Annotations = map[string]string{api.ScratchForAnnotation: "u/d"} }
	there(t, nil, backup("u", "a", 0, in("")), backup("v", "a", 0, in(api.PhasePending)), backup("w", "a", 0, in(api.PhaseCutting)), backup("x", "a", 0, in(api.PhaseFinishing)), backup("y", "a", 0, in(api.PhaseCleaningUp)),
		drill("u", "d", api.PhaseScratch, "", 0), drill("u-scratch", "scratch", api.PhaseVerifying, "", 0, scratch), drill("v", "planned", api.PhasePlanned, "", 0), drill("v", "old", api.PhaseExpired, "", 0))
	got := read(t, "")
	if got["backups_waiting{}"] != 2 || got["backups_running{}"] != 3 || got["restores_running{}"] != 1 {
		t.Errorf("under way are %v", got)
	}
	expect(t, "u-scratch")
}

// Where nothing can be read, nothing is told, and the rest is served.
func TestUnreadable(t *testing.T) {
	there(t, nil, backup("r", "a", 0))
	broken := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("the cache is not filled")
		}})
	Stalled(time.Second)
	ReadFrom(broken, nil, nil)
	expect(t, "r")
	if len(gather(t)) == 0 {
		t.Error("nothing at all is served")
	}
}

// What another controller works on is his to tell of.
func TestOthers(t *testing.T) {
	there(t, nil, backup("mine", "a", 0), backup("of-another", "a", 0), backup("of-another", "b", 0, func(b *api.Backup) { b.Status.Phase = api.PhaseCutting }))
	expect(t, "of-another")
	if got := read(t, "mine"); len(got) == 0 {
		t.Error("nothing is told of what is this controller's")
	}
	if got := read(t, "")["backups_running{}"]; got != 0 {
		t.Errorf("%v backups of his are counted", got)
	}
}
