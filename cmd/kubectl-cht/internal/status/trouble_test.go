package status

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// last night's backup, proven three days ago.
func lastNight() *api.Backup { return good(12*time.Hour, proven(3*day)) }

func TestTrouble(t *testing.T) {
	suspended := func(s *api.BackupSchedule) { s.Spec.Suspend = true }
	overdue := func(s *api.BackupSchedule) { s.Status.Backups.NextTime = &metav1.Time{Time: ago(time.Hour)} }
	manyMissed := func(s *api.BackupSchedule) {
		s.Status.MissedRuns, s.Status.LastMissed = 4, &metav1.Time{Time: ago(2 * time.Hour)}
	}
	copied := func(s *api.BackupSchedule) { s.Spec.FileCopySchedule = new(api.CronExpression("0 1 * * *")) }
	files := func(b *api.Backup) {
		b.Status.Volumes = []api.VolumeStatus{{Node: "couchdb", File: &api.FileVolume{Repository: "r", Tree: "t", Complete: true, Size: resource.NewQuantity(1<<30, resource.BinarySI), Sent: resource.NewQuantity(30<<20, resource.BinarySI)}}}
	}
	uncopied := func(b *api.Backup) {
		b.Status.Conditions = append(b.Status.Conditions, conditions(api.ConditionFileCopied, metav1.ConditionFalse, api.ReasonCopierLost, "it is lost")...)
	}
	for _, tt := range []struct {
		name    string
		objects []any
		state   Level
		want    []string
	}{
		{"all is well", []any{nightly(), lastNight(), good(36 * time.Hour)}, OK, nil},
		{"never backed up", []any{nightly()}, Critical, []string{"critical NeverBackedUp: never backed up"}},
		{"nothing at all", nil, Critical, []string{"critical NeverBackedUp: never backed up", "warning NoSchedule: no schedule"}},
		{"files as new as they shall be", []any{nightly(copied), good(12*time.Hour, proven(3*day)), good(36*time.Hour, files)}, OK, nil},
		{"files that are old", []any{nightly(copied), lastNight(), good(61*time.Hour, files)}, Warning, []string{"warning FileCopyLate: copy of the files in the catalog is 2d13h old: two instants of fileCopySchedule of schedule nightly have passed without one"}},
		{"no files at all", []any{nightly(copied), lastNight()}, Warning, []string{"warning FileCopyLate: copy of the files in the catalog is missing: two instants of fileCopySchedule of schedule nightly have passed without one"}},
		{"files that nobody expects", []any{nightly(copied, suspended), lastNight()}, Warning, []string{"warning Suspended: suspended: nightly"}},
		{"files that could not be copied", []any{nightly(), good(12*time.Hour, proven(3*day), uncopied), good(36*time.Hour, files)}, Warning, []string{"warning FilesNotCopied: files of backup b-12h0m0s were not copied: CopierLost"}},
		{"… and were, since", []any{nightly(), good(12*time.Hour, proven(3*day), files), good(36*time.Hour, uncopied)}, OK, nil},
		{"no schedule", []any{lastNight()}, Warning, []string{"warning NoSchedule: no schedule"}},
		{"suspended", []any{nightly(suspended), lastNight()}, Warning, []string{"warning Suspended: suspended: nightly"}},
		{"suspended, and old: nobody expects runs", []any{nightly(suspended), good(9*day, proven(day))}, Warning, []string{"warning Suspended: suspended: nightly"}},
		{"one of two suspended", []any{nightly(), nightly(suspended, func(s *api.BackupSchedule) { s.Name = "weekly" }), lastNight()}, OK, []string{"note Suspended: schedule weekly is suspended"}},
		{"one run failed", []any{nightly(), good(36*time.Hour, proven(day)), failed(12 * time.Hour)}, Warning, []string{"warning BackupsFailed: last backup failed: PodNotReady"}},
		{"three runs failed", []any{nightly(), good(84*time.Hour, proven(day)), failed(60 * time.Hour), failed(36 * time.Hour), failed(12 * time.Hour)}, Critical,
			[]string{"critical RecoveryPointOld: recovery point is 3d12h old: two runs of schedule nightly have passed without a good backup", "critical BackupsFailed: last 3 backups failed: PodNotReady"}},
		{"failed before the last good one", []any{nightly(), failed(36 * time.Hour), lastNight()}, OK, nil},
		{"failed, never good", []any{nightly(), failed(12 * time.Hour)}, Critical, []string{"critical NeverBackedUp: never backed up", "warning BackupsFailed: last backup failed: PodNotReady"}},
		{"one run has passed", []any{nightly(), good(36*time.Hour, proven(day))}, OK, nil},
		{"two runs have passed", []any{nightly(), good(36*time.Hour+time.Minute+12*time.Hour, proven(day))}, Critical,
			[]string{"critical RecoveryPointOld: recovery point is 2d old: two runs of schedule nightly have passed without a good backup"}},
		{"two runs have passed, the jitter has not", []any{nightly(func(s *api.BackupSchedule) { s.Status.JitterSeconds = 12 * 3600 }), good(49*time.Hour, proven(day))}, OK, nil},
		{"what was due before the schedule was made", []any{nightly(func(s *api.BackupSchedule) { s.CreationTimestamp = metav1.NewTime(ago(time.Hour)) }), good(9*day, proven(day))}, OK, nil},
		{"weekdays only, over a week end", []any{nightly(func(s *api.BackupSchedule) { s.Spec.Schedule = "0 16 * * 1-5" }), good(4*day-2*time.Hour, proven(day))}, OK, nil}, // Friday 16:00 to Tuesday 14:00
		{"found broken", []any{nightly(), good(36*time.Hour, proven(day)), foundBroken(12 * time.Hour)}, Critical, []string{"critical FoundBroken: backup b-12h0m0s was found broken: ShardsMissing"}},
		{"an older one broken", []any{nightly(), lastNight(), foundBroken(36 * time.Hour)}, OK, []string{"note FoundBroken: older backup b-36h0m0s was found broken: ShardsMissing"}},
		{"drill failed", []any{nightly(), lastNight(), drillOf(day, api.PhaseFailed, api.ReasonStartTimeout)}, Warning, []string{"warning DrillFailed: last drill failed: StartTimeout"}},
		{"drill failed, the next one did not", []any{nightly(), lastNight(), drillOf(day, api.PhaseCompleted, api.ReasonCompleted), drillOf(2*day, api.PhaseFailed, api.ReasonStartTimeout)}, OK, nil},
		{"drill failed, proven since otherwise", []any{nightly(), lastNight(), drillOf(4*day, api.PhaseFailed, api.ReasonStartTimeout)}, OK, nil},
		{"drill aborted", []any{nightly(), lastNight(), drillOf(day, api.PhaseFailed, api.ReasonAborted)}, OK, nil},
		{"never proven", []any{nightly(), good(12 * time.Hour)}, Warning, []string{"warning NeverProven: never proven by a restore"}},
		{"not proven yet", []any{nightly(func(s *api.BackupSchedule) { s.Spec.Drill = &api.ScheduledDrill{Schedule: "0 4 * * 0"} }), good(12 * time.Hour)}, OK, []string{"note NeverProven: not proven yet; schedule nightly has drills"}},
		{"proof is old", []any{nightly(), good(12 * time.Hour), good(40*day, proven(31*day))}, Warning, []string{"warning ProofOld: last proven 31d ago"}},
		{"runs missed, by the condition", []any{nightly(notReady(api.ReasonRunsMissed, "the controller was away")), lastNight()}, Warning, []string{"warning RunsMissed: schedule nightly missed runs"}},
		{"runs missed since", []any{nightly(manyMissed), lastNight()}, Warning, []string{"warning RunsMissed: schedule nightly missed 4 runs in all, the latest 120m ago"}},
		{"runs missed, and made up for", []any{nightly(manyMissed), good(time.Hour, proven(day))}, OK, nil},
		{"invalid, as the controller says", []any{nightly(notReady(api.ReasonInvalidSchedule, "no such zone")), lastNight()}, Critical, []string{"critical InvalidSchedule: schedule nightly is invalid"}},
		{"invalid", []any{nightly(func(s *api.BackupSchedule) { s.Spec.TimeZone = "Africa/Atlantis" }), lastNight()}, Critical, []string{"critical InvalidSchedule: schedule nightly is invalid"}},
		{"a reason of its own", []any{nightly(notReady(api.ReasonNameTaken, "a backup of that name")), lastNight()}, Warning, []string{"warning ScheduleNotReady: schedule nightly: NameTaken"}},
		{"waiting", []any{nightly(func(s *api.BackupSchedule) {
			s.Status.Backups.WaitingFor = "backup manual-1 runs"
			s.Status.Conditions = conditions(api.ConditionReady, metav1.ConditionUnknown, api.ReasonWaiting, "a backup is due and waits for: backup manual-1 runs")
		}, overdue), lastNight()}, OK, []string{"note Waiting: schedule nightly waits: backup manual-1 runs"}},
		{"hindered", []any{nightly(func(s *api.BackupSchedule) {
			s.Status.Conditions = conditions(api.ConditionReady, metav1.ConditionUnknown, api.ReasonWaiting, "quota exceeded")
		}), lastNight()}, Warning, []string{"warning ScheduleNotReady: schedule nightly does not get on"}},
		{"nobody attends", []any{nightly(func(s *api.BackupSchedule) { s.Status = api.BackupScheduleStatus{} }), lastNight()}, Critical, []string{"critical Unattended: no controller has taken up schedule nightly: is cht-backup running?"}},
		{"just made", []any{nightly(func(s *api.BackupSchedule) {
			s.Status, s.CreationTimestamp = api.BackupScheduleStatus{}, metav1.NewTime(ago(time.Minute))
		}), lastNight()}, OK, nil},
		{"overdue", []any{nightly(overdue), lastNight()}, Critical, []string{"critical Unattended: schedule nightly was due 60m ago and has not begun: is cht-backup running?"}},
		{"crash-consistent", []any{nightly(), good(12*time.Hour, proven(day), func(b *api.Backup) { b.Status.Consistency = api.CrashConsistent })}, OK, []string{"note CrashConsistent: the last good backup is CrashConsistent only"}},
		{"held", []any{nightly(), lastNight(), good(36*time.Hour, func(b *api.Backup) { b.Annotations = map[string]string{api.HoldAnnotation: "audit"} })}, OK, []string{"note Held: 1 held"}},
		{"being restored", []any{nightly(), lastNight(), restoreOf("medic", api.RestoreSpec{InPlace: &api.InPlace{}}, api.PhaseSwapping)}, OK, []string{"note Restoring: restore r is under way"}},
		{"deleted ones count for nothing", []any{nightly(), good(12*time.Hour, proven(day), func(b *api.Backup) { b.DeletionTimestamp = &metav1.Time{Time: now} })}, Critical, []string{"critical NeverBackedUp: never backed up"}},
		{"one that nobody takes up", []any{nightly(), lastNight(), good(time.Hour, func(b *api.Backup) { b.Name, b.Status = "manual", api.BackupStatus{} })}, Critical,
			[]string{"critical Unattended: no controller has taken up backup manual: is cht-backup running?"}},
		{"one just made", []any{nightly(), lastNight(), good(time.Minute, func(b *api.Backup) { b.Status = api.BackupStatus{} })}, OK, nil},
		{"one in line", []any{nightly(), lastNight(), good(time.Hour, func(b *api.Backup) {
			b.Name, b.Status = "manual", api.BackupStatus{Phase: api.PhasePending, Conditions: conditions(api.ConditionReady, metav1.ConditionUnknown, api.ReasonProgressing, "place 3 of 7")}
		})}, OK, []string{"note Waiting: backup manual waits: place 3 of 7"}},
		{"one under way is no trouble", []any{nightly(), lastNight(), good(time.Minute, func(b *api.Backup) { b.Status = api.BackupStatus{Phase: api.PhaseCutting} })}, OK, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := fleetOf(t, tt.objects...).Report(now)
			if len(r.Instances) != 1 {
				t.Fatalf("instances %+v", r.Instances)
			}
			if got := words(r.Instances[0]); !slices.Equal(got, tt.want) || r.Instances[0].State != tt.state {
				t.Errorf("%s\n%s\nwant %s\n%s", r.Instances[0].State, strings.Join(got, "\n"), tt.state, strings.Join(tt.want, "\n"))
			}
		})
	}
}

// Where no CHT runs, nobody expects backups; but whoever wrote a schedule does.
func TestNoCHT(t *testing.T) {
	for _, tt := range []struct {
		name    string
		looked  bool
		objects []any
		want    []string
	}{
		{"backups alone", true, []any{good(9 * day)}, []string{"note NoCHT: no CHT runs here"}},
		{"with a schedule", true, []any{nightly(), lastNight()}, []string{"warning NoCHT: no CHT runs here, and schedule nightly expects one"}},
		{"nobody could look", false, []any{nightly(), lastNight()}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := fleetOf(t, tt.objects...)
			f.at("medic").cht, f.Looked = false, tt.looked
			if got := words(f.Report(now).Instances[0]); !slices.Equal(got, tt.want) {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}
