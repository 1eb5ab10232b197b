package show

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func scheduled() *api.BackupSchedule {
	n := func(n int32) *int32 { return &n }
	deadline := int64(6 * 3600)
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: start.Add(d)} }
	return &api.BackupSchedule{
		ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "nightly", UID: "s-1", CreationTimestamp: metav1.NewTime(start.AddDate(0, -1, 0))},
		Spec: api.BackupScheduleSpec{Schedule: "30 2 * * *", TimeZone: "Africa/Nairobi", Jitter: &metav1.Duration{Duration: 10 * time.Minute}, StartingDeadlineSeconds: &deadline,
			Template:  api.BackupTemplate{Spec: completed().Spec},
			Retention: &api.Retention{KeepLast: n(3), KeepDaily: n(14), KeepMonthly: n(0), KeepWithin: "48h", Failed: api.FailedRetention{KeepLast: n(10), KeepWithin: "30d"}},
			Drill:     &api.ScheduledDrill{Schedule: "0 5 * * 0", Verify: api.VerifyFull, KeepFailed: &metav1.Duration{Duration: 2 * time.Hour}}},
		Status: api.BackupScheduleStatus{ObservedGeneration: 1, JitterSeconds: 252, Conditions: ready(metav1.ConditionTrue, api.ReasonScheduled, "next in an hour"),
			Backups: api.RunStatus{LastTime: at(-90 * time.Minute), LastName: "nightly-2", NextTime: at(22 * time.Hour), WaitingFor: "backup manual runs"}, Drills: &api.RunStatus{NextTime: at(time.Hour), Active: "nightly-drill-1"},
			MissedRuns: 2, LastMissed: at(-48 * time.Hour), LastSuccessfulBackup: "nightly-1", LastSuccessfulTime: at(-25 * time.Hour), RecoveryPointTime: at(-3 * time.Hour), Retained: 9, Removed: 1},
	}
}

func TestDescribeSchedule(t *testing.T) {
	b := completed()
	data := int64(3 << 30)
	b.Name, b.Annotations, b.Status.DataBytes = "nightly-1", map[string]string{api.ScheduledAtAnnotation: "2026-02-27T23:30:00Z"}, &data
	failed := &api.Backup{ObjectMeta: metav1.ObjectMeta{Name: "nightly-now-1", CreationTimestamp: metav1.NewTime(start.Add(time.Hour))},
		Status: api.BackupStatus{Phase: api.PhaseFailed, Conditions: ready(metav1.ConditionFalse, api.ReasonPodNotReady, "")}}
	drill := restored()
	drill.Name, drill.Spec.Drill, drill.Status.Phase, drill.Status.Drill = "nightly-drill-1", &api.Drill{}, api.PhaseCompleted, &api.DrillStatus{RestoreMilliseconds: 65_000}
	drill.Annotations = b.Annotations
	now := start.Add(2 * time.Hour)
	equal(t, DescribeSchedule(scheduled(), Runs{[]api.Backup{*b, *failed}, []api.Restore{*drill}}, nil, now), `
Kind:            schedule
Namespace:       medic
Name:            nightly
UID:             s-1
Created:         2026-02-01 01:00:00 UTC
Phase:           Scheduled
Due:             30 2 * * * (every day at 02:30), Africa/Nairobi
Delay:           each run 4m12s later (its share of 10m0s)
May begin late:  by 6h0m0s
Takes:           quiesce Auto, at most 10s; 3 attempts; ready within 2h0m0s; if the quiesce cannot be had: Fail
Keeps:           last 3, daily 14, within 48h; failed: at most 10, within 30d
And always:      the newest good one, the newest verified one, and held ones
Retention:       keeps 9 now, has removed 1; why: kubectl cht retention explain nightly -n medic
Drills:          0 5 * * 0 (every Sunday at 05:00), Africa/Nairobi; verifies Full; a failed one's scratch namespace stays for 2h0m0s; running: nightly-drill-1
Last good:       nightly-1, 2026-02-28 00:00:00 UTC (27h ago)
Recovery point:  2026-02-28 22:00:00 UTC (5h ago)
Waits for:       backup manual runs
Missed runs:     2, the latest 2026-02-27 01:00:00 UTC (2d2h ago)

Next runs
  Mon 2 Mar 2026 02:34 EAT
  Tue 3 Mar 2026 02:34 EAT
  Wed 4 Mar 2026 02:34 EAT
  Thu 5 Mar 2026 02:34 EAT
  Fri 6 Mar 2026 02:34 EAT

Next drills
  Sun 8 Mar 2026 05:04 EAT
  Sun 15 Mar 2026 05:04 EAT

Last runs
  NAME           DUE                      OUTCOME              CUT   STALL   DATA   VERIFIED
  nightly-now-1  by hand                  Failed: PodNotReady  -     -       -      -
  nightly-1      2026-02-27 23:30:00 UTC  Completed            119m  312 ms  3 GiB  -

Last drills
  NAME             DUE                      OUTCOME    BACKUP   AGE   RECOVERY TOOK
  nightly-drill-1  2026-02-27 23:30:00 UTC  Completed  nightly  120m  1m5s

Conditions
  Ready  True  Scheduled  2026-03-01 01:00:09 UTC  next in an hour`)
}

func TestDescribeSuspendedSchedule(t *testing.T) {
	s := scheduled()
	s.Spec.Suspend, s.Spec.Retention, s.Spec.Drill, s.Spec.Jitter = true, nil, nil, nil
	got := strings.Join(DescribeSchedule(s, Runs{}, nil, start), "\n")
	for _, want := range []string{"Phase:           Suspended\n", "Keeps:           no retention: all are kept\n", "Drills:          none: backups of this schedule are proven only by hand\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	for _, not := range []string{"Next runs", "Last runs", "Delay", "And always"} {
		if strings.Contains(got, not) {
			t.Errorf("has %q:\n%s", not, got)
		}
	}
	s.Spec.Suspend, s.Spec.Schedule = false, "99 * * * *"
	if got := strings.Join(DescribeSchedule(s, Runs{}, nil, start), "\n"); strings.Contains(got, "Next runs") {
		t.Errorf("an invalid one has next runs:\n%s", got)
	}
}

func TestManyRuns(t *testing.T) {
	var backups []api.Backup
	for i := range 50 {
		b := *completed()
		b.CreationTimestamp = metav1.NewTime(start.Add(time.Duration(i) * time.Hour))
		b.Name = "b" + b.CreationTimestamp.Format("02T15")
		backups = append(backups, b)
	}
	lines := runLines(backups, start)
	if len(lines) != 1+lastRuns || !strings.Contains(lines[1], "b03T02") {
		t.Errorf("%d lines: %s", len(lines), strings.Join(lines, "\n"))
	}
}

func TestCronWords(t *testing.T) {
	for expression, want := range map[string]string{
		"30 2 * * *": "every day at 02:30", "@daily": "every day at 00:00", "0 4 * * 0": "every Sunday at 04:00", "0 4 * * sat": "every Saturday at 04:00", "0 4 * * 7": "every Sunday at 04:00",
		"15 * * * *": "every hour at minute 15", "@hourly": "every hour at minute 0", "0 16 * * 1-5": "Monday to Friday at 16:00", "5 3 1 * *": "on day 1 of every month at 03:05",
		"@every 6h": "every 6h", "@weekly": "every Sunday at 00:00", "@monthly": "on day 1 of every month at 00:00", "@yearly": "every year on 1 January at 00:00",
		"*/5 * * * *": "", "0 1,13 * * *": "", "0 1 1 * 1": "", "0 1 1 6 *": "", "0 1 * * 8": "", "garbage": "",
	} {
		if got := cronWords(expression); got != want {
			t.Errorf("%s: %q, want %q", expression, got, want)
		}
	}
}

func TestSchedulesWide(t *testing.T) {
	equal(t, Schedules([]api.BackupSchedule{*scheduled()}, true, start), `
NAMESPACE  NAME     SCHEDULE    ZONE            STATE      NEXT RUN             LAST RUN  RECOVERY POINT  MISSED  JITTER  DRILLS     NEXT DRILL           KEEPS
medic      nightly  30 2 * * *  Africa/Nairobi  Scheduled  Mon 2 Mar 02:00 EAT  90m       3h              2       4m12s   0 5 * * 0  Sun 1 Mar 05:00 EAT  last 3, daily 14, within 48h; failed: at most 10, within 30d`)
}

func TestBackupOfASchedule(t *testing.T) {
	b := completed()
	documents, data := int64(123), int64(3<<30)
	b.Status.Documents, b.Status.DataBytes = &documents, &data
	b.Labels = map[string]string{api.ScheduleLabel: "nightly"}
	b.Annotations = map[string]string{api.ScheduledAtAnnotation: "2026-03-01T00:30:00Z", api.HoldAnnotation: "the audit\x1b[2J of 2026"}
	got := strings.Join(Describe(b, nil, start), "\n")
	for _, want := range []string{"Schedule:              nightly, due 2026-03-01 00:30:00 UTC\n", "When deleted:          held (the audit[2J of 2026); end that with: kubectl cht release nightly -n medic\n", "Data:         123 documents in 3 GiB of files\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	got = strings.Join(Describe(completed(), nil, start), "\n")
	for _, want := range []string{"Schedule:              none, by hand\n", "When deleted:          its snapshots and its record go (Delete)\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
}

func TestDrillSummary(t *testing.T) {
	r := restored()
	r.Spec.Drill = &api.Drill{KeepFailed: &metav1.Duration{Duration: time.Hour}}
	r.Labels = map[string]string{api.ScheduleLabel: "nightly"}
	r.Status.Drill = &api.DrillStatus{Scratch: "cht-scratch-1", KeptUntil: &metav1.Time{Time: start.Add(time.Hour)}}
	got := strings.Join(Summary(r, false), "\n")
	for _, want := range []string{"Scratch namespace:  cht-scratch-1, kept until 2026-03-01 02:00:00 UTC\n", "Schedule:           nightly\n", "\n\nBackup medic/nightly is NOT proven: VerificationFailed"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	r.Status.Phase, r.Status.Drill = api.PhaseCompleted, &api.DrillStatus{Scratch: "cht-scratch-1", RestoreMilliseconds: 65_400}
	r.Status.Verification.Level, r.Status.Verification.Problems = api.VerifyFull, nil
	got = strings.Join(Summary(r, false), "\n")
	if want := "\n\nBackup medic/nightly is proven (Full): 7 databases, 84 shards and 1000 documents are what was backed up; recovery took 1m5s"; !strings.HasSuffix(got, want) || strings.Contains(got, "cht-scratch-1") || strings.Contains(got, "Live:") {
		t.Errorf("got:\n%s", got)
	}
	r.Status.Phase = api.PhaseScratch
	if got := strings.Join(Summary(r, false), "\n"); !strings.Contains(got, "Scratch namespace:  cht-scratch-1\n") || strings.Contains(got, "proven") {
		t.Errorf("got:\n%s", got)
	}
}

func TestEvidence(t *testing.T) {
	b := completed()
	b.Status.Verified = &api.VerifiedBy{Level: api.VerifyFull, Time: after(0), Restore: "medic/drill-1", RestoreMilliseconds: 1000, Databases: 7, Shards: 84, Documents: 1000, Sampled: 50, Streamed: 1100, Attachments: 3, Views: 12}
	if got, want := verifiedText(b), "Full, 2026-03-01 01:00:00 UTC, by restore medic/drill-1: 1000 documents, 7 databases, 84 shards, 50 of the sample found again, 1100 read in full, 3 attachments read, 12 views answered; recovery took 1.0s"; got != want {
		t.Errorf("got %q", got)
	}
}
