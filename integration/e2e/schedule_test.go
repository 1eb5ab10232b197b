package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/schedule"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/await"
)

// TestSchedule lets a schedule of every minute run beside its drills, each proving
// the newest backup, with a retention that keeps one.
func TestSchedule(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 10*time.Minute)
	o := deployed(ctx, t, c, 1, nil)
	thaw(t, c)
	keep := int32(1)
	s := &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: "often", Annotations: map[string]string{api.RunNowAnnotation: "first"}},
		Spec: api.BackupScheduleSpec{Schedule: "* * * * *", TimeZone: "Africa/Nairobi", Jitter: &metav1.Duration{Duration: 5 * time.Second},
			Retention: &api.Retention{KeepLast: &keep}, Drill: &api.ScheduledDrill{Schedule: "* * * * *", Verify: api.VerifyQuick}}}
	if err := c.Client.Create(ctx, s); err != nil {
		t.Fatal(err)
	}
	runs := ranTwice(ctx, t, c, s)
	merge(ctx, t, c, s.DeepCopy(), `{"spec":{"suspend":true}}`)
	s = settled(ctx, t, c, s)
	t.Logf("%+v", s.Status)
	began := s.CreationTimestamp.Time
	for name, at := range runs {
		due, err := time.Parse(time.RFC3339, at)
		if at == "" && name == schedule.RunNowName(s.Name, "first") {
			continue
		}
		if err != nil || name != schedule.BackupName(s.Name, due) || due.Second() != 0 || due.Before(began) {
			t.Errorf("a run %s, due at %q", name, at)
		}
	}
	if s.Status.MissedRuns != 0 || s.Status.Removed == 0 || s.Status.LastSuccessfulBackup == "" || s.Status.RecoveryPointTime == nil {
		t.Errorf("status %+v", s.Status)
	}

	// What is left: the newest, and the newest that was proven.
	var left api.BackupList
	if err := c.Client.List(ctx, &left, client.InNamespace(o.Namespace)); err != nil {
		t.Fatal(err)
	}
	var snapshots []string
	proven := 0
	for i := range left.Items {
		b := &left.Items[i]
		if b.Proven() {
			proven++
		} else if b.Name != s.Status.LastSuccessfulBackup {
			t.Errorf("backup %s is left", b.Name)
		}
		snapshots = append(snapshots, b.Status.Volumes[0].Snapshot)
	}
	if proven == 0 || len(left.Items) > 2 || int(s.Status.Removed)+len(left.Items) != len(runs) {
		t.Errorf("of %d runs %d are left, of which %d are proven, and %d were removed", len(runs), len(left.Items), proven, s.Status.Removed)
	}
	if more, err := c.Leftovers(ctx, o.Namespace, snapshots...); err != nil || len(more) > 0 {
		t.Errorf("left in %s: %v, %v", o.Namespace, more, err)
	}
	if heads, err := records(c).List(ctx, o.Namespace); err != nil || len(heads) != len(left.Items) {
		t.Errorf("records %v of %d backups, %v", heads, len(left.Items), err)
	}

	for i := range left.Items {
		if b := &left.Items[i]; b.Name == s.Status.LastSuccessfulBackup {
			servedOf(ctx, t, c, s, b)
		}
	}

	// Suspended, it runs when somebody asks.
	merge(ctx, t, c, s.DeepCopy(), fmt.Sprintf(`{"metadata":{"annotations":{%q:"second"}}}`, api.RunNowAnnotation))
	asked := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: schedule.RunNowName(s.Name, "second")}}
	if b, err := c.WaitBackup(ctx, asked, backupWithin, nil); err != nil || b.Status.Phase != api.PhaseCompleted {
		t.Errorf("the run that was asked for: %v, %v", b, err)
	}
}

// ranTwice waits until the backup that was asked for and two scheduled ones are
// complete and a drill has ended well, and gives all there ever were, with the
// instants they were due at.
func ranTwice(ctx context.Context, t *testing.T, c *harness.Cluster, s *api.BackupSchedule) map[string]string {
	t.Helper()
	runs, done := map[string]string{}, map[string]bool{}
	var list api.BackupList
	if err := await.List(ctx, c.Client, &list, func() (string, error) {
		drilled := false
		for i := range list.Items {
			b := &list.Items[i]
			if _, known := runs[b.Name]; !known {
				t.Logf("%s: due at %q, created %s", b.Name, b.Annotations[api.ScheduledAtAnnotation], b.CreationTimestamp.UTC().Format(time.TimeOnly))
			}
			runs[b.Name] = b.Annotations[api.ScheduledAtAnnotation]
			if b.Status.Phase == api.PhaseFailed {
				return "", fmt.Errorf("backup %s failed: %s", b.Name, harness.Message(b.Status.Conditions))
			}
			done[b.Name] = done[b.Name] || b.Status.Phase == api.PhaseCompleted
			drilled = drilled || b.Proven()
		}
		complete := 0
		for _, is := range done {
			if is {
				complete++
			}
		}
		if complete < 3 || !drilled {
			return fmt.Sprintf("three backups complete (%d) and one proven (%v), of %v", complete, drilled, slices.Sorted(maps.Keys(runs))), nil
		}
		return "", nil
	}, client.InNamespace(s.Namespace)); err != nil {
		t.Fatal(err)
	}
	return runs
}

// settled waits until a suspended schedule has nothing under way, neither drills nor
// backups nor removals.
func settled(ctx context.Context, t *testing.T, c *harness.Cluster, s *api.BackupSchedule) *api.BackupSchedule {
	t.Helper()
	mine := client.InNamespace(s.Namespace)
	var schedules api.BackupScheduleList
	if err := await.List(ctx, c.Client, &schedules, func() (string, error) {
		if s = &schedules.Items[0]; !s.Status.Suspended {
			return "the schedule to be suspended", nil
		}
		return "", nil
	}, mine); err != nil {
		t.Fatal(err)
	}
	var restores api.RestoreList
	if err := await.List(ctx, c.Client, &restores, func() (string, error) {
		for _, r := range restores.Items {
			if !snapshot.Ended(r.Status.Phase) || r.DeletionTimestamp != nil {
				return "drill " + r.Name, nil
			}
		}
		return "", nil
	}, mine); err != nil {
		t.Fatal(err)
	}
	var backups api.BackupList
	if err := await.List(ctx, c.Client, &backups, func() (string, error) {
		for _, b := range backups.Items {
			if !snapshot.Ended(b.Status.Phase) || b.DeletionTimestamp != nil {
				return "backup " + b.Name, nil
			}
		}
		if len(backups.Items) > 2 {
			return fmt.Sprintf("%d backups to be removed", len(backups.Items)-2), nil
		}
		return "", nil
	}, mine); err != nil {
		t.Fatal(err)
	}
	if err := c.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
		t.Fatal(err)
	}
	if ready := meta.FindStatusCondition(s.Status.Conditions, api.ConditionReady); ready.Reason != api.ReasonSuspended || int(s.Status.Retained) != len(backups.Items) {
		t.Errorf("the schedule says %s, and that %d of %d are kept", ready.Reason, s.Status.Retained, len(backups.Items))
	}
	return s.DeepCopy()
}

// TestScheduleRefusals: what the API server refuses, and what the controller tells.
func TestScheduleRefusals(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 2*time.Minute)
	namespace := c.TempNamespace(t, "refusals")
	none := int32(0)
	create := func(name string, change func(*api.BackupScheduleSpec)) (*api.BackupSchedule, error) {
		s := &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: api.BackupScheduleSpec{Schedule: "30 2 * * *"}}
		change(&s.Spec)
		return s, c.Client.Create(ctx, s)
	}
	cron := func(expression api.CronExpression) func(*api.BackupScheduleSpec) {
		return func(s *api.BackupScheduleSpec) { s.Schedule = expression }
	}
	for _, tt := range []struct {
		name, says string
		change     func(*api.BackupScheduleSpec)
	}{
		{"seconds", "no seconds field", cron("0 30 2 * * *")},
		{"four-fields", "not a cron expression", cron("30 2 * *")},
		{"reboot", "not a cron expression", cron("@reboot")},
		{"zone-inside", "stands in timeZone", cron("CRON_TZ=Africa/Nairobi 0 0 * * *")},
		{"drill-seconds", "no seconds field", func(s *api.BackupScheduleSpec) { s.Drill = &api.ScheduledDrill{Schedule: "0 0 0 * * *"} }},
		{"local", "IANA", func(s *api.BackupScheduleSpec) { s.TimeZone = "Local" }},
		{"jitter", "12h", func(s *api.BackupScheduleSpec) { s.Jitter = &metav1.Duration{Duration: 13 * time.Hour} }},
		{"no-rule", "without a keep rule", func(s *api.BackupScheduleSpec) { s.Retention = &api.Retention{} }},
		{"within", "keepWithin", func(s *api.BackupScheduleSpec) { s.Retention = &api.Retention{KeepWithin: "two weeks"} }},
		{"overlap", "Forbid", func(s *api.BackupScheduleSpec) { s.ConcurrencyPolicy = "Allow" }},
		{"stall", "maxStall", func(s *api.BackupScheduleSpec) { s.Template.Spec.MaxStall.Duration = time.Hour }},
		{strings.Repeat("n", 64), "63 characters", func(*api.BackupScheduleSpec) {}},
	} {
		if _, err := create(tt.name, tt.change); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want a refusal with %q", tt.name, err, tt.says)
		}
	}
	for _, tt := range []struct {
		name, why, says string
		change          func(*api.BackupScheduleSpec)
	}{
		{"atlantis", api.ReasonInvalidSchedule, "Africa/Atlantis", func(s *api.BackupScheduleSpec) { s.TimeZone = "Africa/Atlantis" }},
		{"minute-61", api.ReasonInvalidSchedule, "61", cron("61 2 * * *")},
		{"never", api.ReasonInvalidSchedule, "never due", cron("0 0 30 2 *")},
		{"nothing-kept", api.ReasonInvalidSchedule, "keepLast: 1", func(s *api.BackupScheduleSpec) { s.Retention = &api.Retention{KeepDaily: &none} }},
		{strings.Repeat("n", 63), api.ReasonScheduled, "", func(*api.BackupScheduleSpec) {}},
	} {
		s, err := create(tt.name, tt.change)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var list api.BackupScheduleList
		if err := await.List(ctx, c.Client, &list, func() (string, error) {
			ready := meta.FindStatusCondition(list.Items[0].Status.Conditions, api.ConditionReady)
			if ready == nil {
				return "a condition of " + s.Name, nil
			}
			if ready.Reason != tt.why || !strings.Contains(ready.Message, tt.says) {
				t.Errorf("%s: %s: %s; want %s with %q", s.Name, ready.Reason, ready.Message, tt.why, tt.says)
			}
			return "", nil
		}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": s.Name}); err != nil {
			t.Error(err)
		}
	}
}
