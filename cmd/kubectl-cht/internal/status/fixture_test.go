package status

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// now is half a day after a nightly run.
var now = time.Date(2026, 3, 10, 14, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func ago(d time.Duration) time.Time { return now.Add(-d) }

func conditions(kind string, status metav1.ConditionStatus, reason, message string) []metav1.Condition {
	return []metav1.Condition{{Type: kind, Status: status, Reason: reason, Message: message}}
}

// good is a backup that was cut so long ago.
func good(before time.Duration, change ...func(*api.Backup)) *api.Backup {
	stall, bytes, documents := int64(210), int64(1<<30), int64(5000)
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "b-" + before.String(), CreationTimestamp: metav1.NewTime(ago(before))},
		Status: api.BackupStatus{Phase: api.PhaseCompleted, Conditions: conditions(api.ConditionReady, metav1.ConditionTrue, api.ReasonCompleted, ""),
			CutTime: &metav1.MicroTime{Time: ago(before)}, Consistency: api.Consistent, StallMilliseconds: &stall, DataBytes: &bytes, Documents: &documents}}
	for _, c := range change {
		c(b)
	}
	return b
}

func failed(before time.Duration) *api.Backup {
	return good(before, func(b *api.Backup) {
		b.Status = api.BackupStatus{Phase: api.PhaseFailed, Conditions: conditions(api.ConditionReady, metav1.ConditionFalse, api.ReasonPodNotReady, "couchdb-2 is not ready")}
	})
}

func foundBroken(before time.Duration) *api.Backup {
	return good(before, func(b *api.Backup) {
		b.Status.Conditions = append(b.Status.Conditions, conditions(api.ConditionVerified, metav1.ConditionFalse, api.ReasonShardsMissing, "a shard is missing")...)
	})
}

func proven(before time.Duration) func(*api.Backup) {
	return func(b *api.Backup) {
		b.Status.Conditions = append(b.Status.Conditions, conditions(api.ConditionVerified, metav1.ConditionTrue, api.ReasonCompleted, "")...)
		b.Status.Verified = &api.VerifiedBy{Level: api.VerifyFull, Time: metav1.NewMicroTime(ago(before)), Restore: "medic/drill", RestoreMilliseconds: 65_000}
	}
}

func sized(bytes int64) func(*api.Backup) {
	return func(b *api.Backup) { b.Status.DataBytes = &bytes }
}

// nightly is a schedule of 02:00 in UTC that a controller attends to.
func nightly(change ...func(*api.BackupSchedule)) *api.BackupSchedule {
	next := metav1.NewTime(time.Date(2026, 3, 11, 2, 0, 0, 0, time.UTC))
	s := &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "nightly", CreationTimestamp: metav1.NewTime(ago(90 * day))},
		Spec:   api.BackupScheduleSpec{Schedule: "0 2 * * *", TimeZone: "Etc/UTC"},
		Status: api.BackupScheduleStatus{ObservedGeneration: 1, Backups: api.RunStatus{NextTime: &next}}}
	for _, c := range change {
		c(s)
	}
	return s
}

func notReady(reason, message string) func(*api.BackupSchedule) {
	return func(s *api.BackupSchedule) {
		s.Status.Conditions = conditions(api.ConditionReady, metav1.ConditionFalse, reason, message)
	}
}

func drillOf(before time.Duration, phase api.Phase, reason string) *api.Restore {
	return &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "drill-" + before.String()},
		Spec: api.RestoreSpec{Source: api.BackupReference{Namespace: "medic", Name: "b"}, Drill: &api.Drill{}},
		Status: api.RestoreStatus{Phase: phase, CompletionTime: &metav1.MicroTime{Time: ago(before)},
			Conditions: conditions(api.ConditionReady, metav1.ConditionFalse, reason, "why it failed")}}
}

func restoreOf(namespace string, spec api.RestoreSpec, phase api.Phase) *api.Restore {
	return &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "r"}, Spec: spec, Status: api.RestoreStatus{Phase: phase}}
}

// fleetOf gathers objects of any kind; a CHT runs in medic.
func fleetOf(t *testing.T, objects ...any) *Fleet {
	t.Helper()
	f := &Fleet{Looked: true}
	f.AddCHT("medic")
	for _, o := range objects {
		switch o := o.(type) {
		case *api.Backup:
			f.AddBackup(o)
		case *api.BackupSchedule:
			f.AddSchedule(o)
		case *api.Restore:
			f.AddRestore(o)
		default:
			t.Fatalf("%T", o)
		}
	}
	return f
}

// words of an instance's troubles, each with its level and code.
func words(in Instance) (all []string) {
	for _, tr := range in.Trouble {
		all = append(all, fmt.Sprintf("%s %s: %s", tr.Level, tr.Code, tr.Words))
	}
	return all
}
