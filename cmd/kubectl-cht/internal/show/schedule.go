package show

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/schedule/when"
)

// nextRuns and lastRuns are how many a description tells.
const (
	nextRuns = 5
	lastRuns = 10
)

// Schedules draws a table.
func Schedules(all []api.BackupSchedule, wide bool, now time.Time) []string {
	head := []string{"NAMESPACE", "NAME", "SCHEDULE", "ZONE", "STATE", "NEXT RUN", "LAST RUN", "RECOVERY POINT", "MISSED"}
	if wide {
		head = append(head, "JITTER", "DRILLS", "NEXT DRILL", "KEEPS")
	}
	rows := [][]string{head}
	all = slices.SortedStableFunc(slices.Values(all), func(a, b api.BackupSchedule) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i := range all {
		s := &all[i]
		point := none
		if t := s.Status.RecoveryPointTime; t != nil {
			point = age(t.Time, now)
		}
		row := []string{s.Namespace, s.Name, string(s.Spec.Schedule), zoneOf(s), scheduleState(s), nextOf(s, &s.Status.Backups), lastOf(s.Status.Backups.LastTime, now), point, fmt.Sprint(s.Status.MissedRuns)}
		if wide {
			drills, next := none, none
			if d := s.Spec.Drill; d != nil {
				drills = string(d.Schedule)
				next = nextOf(s, s.Status.Drills)
			}
			row = append(row, (time.Duration(s.Status.JitterSeconds) * time.Second).String(), drills, next, keeps(s.Spec.Retention))
		}
		rows = append(rows, row)
	}
	return columns("", rows)
}

func zoneOf(s *api.BackupSchedule) string { return cmp.Or(s.Spec.TimeZone, "Etc/UTC") }

// scheduleState is a schedule's state in a word.
func scheduleState(s *api.BackupSchedule) string {
	c := meta.FindStatusCondition(s.Status.Conditions, api.ConditionReady)
	switch {
	case s.DeletionTimestamp != nil:
		return "Deleting"
	case s.Spec.Suspend:
		return api.ReasonSuspended
	case s.Status.Backups.Active != "":
		return "Running"
	case c != nil:
		return c.Reason
	default:
		return "Accepted"
	}
}

func nextOf(s *api.BackupSchedule, r *api.RunStatus) string {
	if s.Spec.Suspend || r == nil || r.NextTime == nil {
		return none
	}
	return local(r.NextTime.Time, zoneOf(s))
}

func lastOf(t *metav1.Time, now time.Time) string {
	if t == nil {
		return none
	}
	return age(t.Time, now)
}

// NextRuns tells the next runs of a schedule, with its delay where that is known,
// as the clock on the wall of its zone shows them. None where it is not valid.
func NextRuns(s *api.BackupSchedule, now time.Time, n int) []string {
	return upcoming(s.Spec.Schedule, s, now, n)
}

func upcoming(expression api.CronExpression, s *api.BackupSchedule, now time.Time, n int) []string {
	created := s.CreationTimestamp.Time
	if created.IsZero() {
		created = now
	}
	clock, err := when.Parse(string(expression), zoneOf(s), created)
	if err != nil {
		return nil
	}
	delay := time.Duration(s.Status.JitterSeconds) * time.Second
	var runs []string
	for t := clock.Next(now.Add(-delay)); !t.IsZero() && len(runs) < n; t = clock.Next(t) {
		runs = append(runs, t.Add(delay).Format("Mon 2 Jan 2006 15:04 MST"))
	}
	return runs
}

// Runs are what a schedule has made.
type Runs struct {
	Backups []api.Backup
	Drills  []api.Restore
}

// DescribeSchedule tells everything that is known of a schedule.
func DescribeSchedule(s *api.BackupSchedule, made Runs, events []corev1.Event, now time.Time) []string {
	facts := metadata(State{Kind: "schedule", Namespace: s.Namespace, Name: s.Name, Phase: api.Phase(scheduleState(s))}, s.ObjectMeta)
	fact := func(name, value string) {
		if value != "" {
			facts = append(facts, []string{name, value})
		}
	}
	fact("Due:", clockText(s.Spec.Schedule, zoneOf(s)))
	fact("Delay:", jitterText(s))
	if d := s.Spec.StartingDeadlineSeconds; d != nil {
		fact("May begin late:", "by "+(time.Duration(*d)*time.Second).String())
	}
	fact("Takes:", asked(s.Spec.Template.Spec))
	fact("Keeps:", keeps(s.Spec.Retention))
	if s.Spec.Retention != nil {
		fact("And always:", "the newest good one, the newest verified one, and held ones")
		fact("Retention:", fmt.Sprintf("keeps %d now, has removed %d; why: kubectl cht retention explain %s -n %s", s.Status.Retained, s.Status.Removed, s.Name, s.Namespace))
	}
	fact("Drills:", drillText(s))
	fact("Last good:", lastGood(s, now))
	fact("Recovery point:", agoText(s.Status.RecoveryPointTime, now))
	fact("Running:", s.Status.Backups.Active)
	fact("Waits for:", oneLine(s.Status.Backups.WaitingFor))
	if s.Status.MissedRuns > 0 {
		fact("Missed runs:", fmt.Sprintf("%d, the latest %s", s.Status.MissedRuns, orNone(agoText(s.Status.LastMissed, now))))
	}
	lines := columns("", facts)
	if !s.Spec.Suspend {
		lines = append(lines, section("Next runs", indented(upcoming(s.Spec.Schedule, s, now, nextRuns)))...)
		if d := s.Spec.Drill; d != nil {
			lines = append(lines, section("Next drills", indented(upcoming(d.Schedule, s, now, 2)))...)
		}
	}
	lines = append(lines, section("Last runs", runLines(made.Backups, now))...)
	lines = append(lines, section("Last drills", drillLines(made.Drills, now))...)
	lines = append(lines, section("Conditions", conditionLines(s.Status.Conditions))...)
	return append(lines, section("Events", eventLines(events, now))...)
}

func drillText(s *api.BackupSchedule) string {
	d := s.Spec.Drill
	if d == nil {
		return "none: backups of this schedule are proven only by hand"
	}
	text := clockText(d.Schedule, zoneOf(s)) + "; verifies " + string(cmp.Or(d.Verify, api.VerifySample))
	if d.KeepFailed != nil {
		text += "; a failed one's scratch namespace stays for " + d.KeepFailed.Duration.String()
	}
	if r := s.Status.Drills; r != nil && r.Active != "" {
		text += "; running: " + r.Active
	} else if r != nil && r.WaitingFor != "" {
		text += "; waits for: " + oneLine(r.WaitingFor)
	}
	return text
}

func lastGood(s *api.BackupSchedule, now time.Time) string {
	if s.Status.LastSuccessfulBackup == "" {
		return "none yet"
	}
	return s.Status.LastSuccessfulBackup + ", " + orNone(agoText(s.Status.LastSuccessfulTime, now))
}

func agoText(t *metav1.Time, now time.Time) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s ago)", moment(t.Time), age(t.Time, now))
}

func indented(lines []string) []string {
	for i := range lines {
		lines[i] = "  " + lines[i]
	}
	return lines
}

func runLines(backups []api.Backup, now time.Time) []string {
	if len(backups) == 0 {
		return nil
	}
	newest := slices.SortedStableFunc(slices.Values(backups), func(a, b api.Backup) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	rows := [][]string{{"NAME", "DUE", "OUTCOME", "CUT", "STALL", "DATA", "VERIFIED"}}
	for i := range newest[:min(len(newest), lastRuns)] {
		b := &newest[i]
		rows = append(rows, []string{b.Name, due(b.Annotations), phaseCell(Of(b), b.DeletionTimestamp), micro(b.Status.CutTime, now), count(b.Status.StallMilliseconds, " ms"), bytesOrNone(b.Status.DataBytes), verifiedCell(b, now)})
	}
	return columns("  ", rows)
}

func drillLines(drills []api.Restore, now time.Time) []string {
	if len(drills) == 0 {
		return nil
	}
	newest := slices.SortedStableFunc(slices.Values(drills), func(a, b api.Restore) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	rows := [][]string{{"NAME", "DUE", "OUTCOME", "BACKUP", "AGE", "RECOVERY TOOK"}}
	for i := range newest[:min(len(newest), lastRuns)] {
		r := &newest[i]
		rows = append(rows, []string{r.Name, due(r.Annotations), phaseCell(Of(r), r.DeletionTimestamp), r.Spec.Source.Name, age(r.CreationTimestamp.Time, now), orNone(recoveryTook(r))})
	}
	return columns("  ", rows)
}

// due is when a run was; one that was asked for by hand was due never.
func due(annotations map[string]string) string {
	t, err := time.Parse(time.RFC3339, annotations[api.ScheduledAtAnnotation])
	if err != nil {
		return "by hand"
	}
	return moment(t)
}
