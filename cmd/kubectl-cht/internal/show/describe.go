package show

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// Describe tells everything that is known of a *Backup or a *Restore; see
// DescribeSchedule too.
func Describe(o any, events []corev1.Event, now time.Time) []string {
	var lines []string
	var conditions []metav1.Condition
	switch o := o.(type) {
	case *api.Backup:
		conditions = o.Status.Conditions
		lines = columns("", append(metadata(Of(o), o.ObjectMeta),
			[]string{"Asked for:", asked(o.Spec)},
			[]string{"May be restored into:", strings.Join(append([]string{o.Namespace}, o.Spec.AllowedNamespaces...), ", ")},
			[]string{"When deleted:", whenDeleted(o)},
			[]string{"Record:", orNone(o.Status.Record)},
			[]string{"Schedule:", scheduleText(o)}))
		lines = append(lines, backupBody(o)...)
	case *api.Restore:
		conditions = o.Status.Conditions
		lines = columns("", append(metadata(Of(o), o.ObjectMeta),
			[]string{"Backup UID:", orNone(string(cmp.Or(o.Status.BackupUID, o.Spec.Source.UID)))},
			[]string{"Record:", orNone(o.Status.Record)}))
		lines = append(lines, restoreBody(o)...)
		if i := o.Status.Isolation; i != nil {
			lines = append(lines, section("Probes of the isolation", probes(i))...)
		}
		if plan := planBody(o.Status.Plan); len(plan) > 0 {
			lines = append(lines, section("Plan", plan[1:])...)
		}
		lines = append(lines, onward(o)...)
	}
	lines = append(lines, section("Conditions", conditionLines(conditions))...)
	return append(lines, section("Events", eventLines(events, now))...)
}

func conditionLines(conditions []metav1.Condition) []string {
	var rows [][]string
	for _, c := range conditions {
		rows = append(rows, []string{c.Type, string(c.Status), c.Reason, moment(c.LastTransitionTime.Time), oneLine(c.Message)})
	}
	return columns("  ", rows)
}

func metadata(s State, m metav1.ObjectMeta) [][]string {
	phase := s.phase()
	if m.DeletionTimestamp != nil {
		phase += " (being deleted since " + moment(m.DeletionTimestamp.Time) + ")"
	}
	return [][]string{
		{"Kind:", s.Kind}, {"Namespace:", s.Namespace}, {"Name:", s.Name}, {"UID:", string(m.UID)},
		{"Created:", moment(m.CreationTimestamp.Time)}, {"Phase:", phase},
	}
}

// scheduleText tells what made a backup.
func scheduleText(b *api.Backup) string {
	name := b.Labels[api.ScheduleLabel]
	if name == "" {
		return "none, by hand"
	}
	return name + ", due " + due(b.Annotations)
}

func asked(s api.BackupSpec) string {
	text := fmt.Sprintf("quiesce %s, at most %s; %d attempts; ready within %s; if the quiesce cannot be had: %s",
		cmp.Or(s.Quiesce, api.QuiesceAuto), s.MaxStall.Duration, s.Attempts, s.ReadyTimeout.Duration, orNone(s.OnUnavailable))
	if s.VolumeSnapshotClassName != nil {
		text += "; snapshot class " + *s.VolumeSnapshotClassName
	}
	return text
}

// DescribeRecord tells what is known of a backup of which only the record is left.
func DescribeRecord(h catalog.Head, systemNamespace string) []string {
	lines := columns("", [][]string{
		{"Kind:", "backup (record only: the Backup object is gone, its snapshots and its record are kept)"},
		{"Namespace:", h.Namespace}, {"Name:", h.Name}, {"UID:", string(h.UID)}, {"Cut:", orNone(h.CutTime)},
		{"May be restored into:", strings.Join(append([]string{h.Namespace}, h.AllowedNamespaces...), ", ")},
		{"Held:", orNone(oneLine(h.Hold))}, {"Record:", "secret " + systemNamespace + "/" + h.Secret},
	})
	return append(lines, "", fmt.Sprintf("Restore it: kubectl cht restore --from %s/%s --uid %s --to NAMESPACE", h.Namespace, h.Name, h.UID),
		fmt.Sprintf("Delete it:  kubectl cht delete backup %s -n %s --uid %s", h.Name, h.Namespace, h.UID))
}

// whenDeleted says what becomes of the snapshots, and what keeps the backup.
func whenDeleted(b *api.Backup) string {
	if why, held := b.Annotations[api.HoldAnnotation]; held {
		return fmt.Sprintf("held (%s); end that with: kubectl cht release %s -n %s", orNone(oneLine(why)), b.Name, b.Namespace)
	}
	if b.Spec.DeletionPolicy == api.DeletionRetain {
		return "its snapshots and its record stay (Retain)"
	}
	if until := b.Status.LockedUntil; until != nil {
		return "its snapshots, its copies and its record go (Delete), not before their locks end: " + moment(until.Time)
	}
	return "its snapshots and its record go (Delete)"
}

func eventLines(events []corev1.Event, now time.Time) []string {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return eventTime(a).Compare(eventTime(b)) })
	var rows [][]string
	for _, e := range events {
		rows = append(rows, []string{age(eventTime(e), now), e.Type, e.Reason, oneLine(e.Message)})
	}
	return columns("  ", rows)
}

// eventTime: the new events API fills EventTime, the old one the other two.
func eventTime(e corev1.Event) time.Time {
	switch {
	case e.Series != nil && !e.Series.LastObservedTime.IsZero():
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	default:
		return e.CreationTimestamp.Time
	}
}
