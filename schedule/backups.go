package schedule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/status"
)

// stamp is how an instant stands in the name of its run, in UTC.
const stamp = "20060102-150405"

// BackupName is the name of the backup that a schedule takes for an instant.
func BackupName(schedule string, at time.Time) string {
	return schedule + "-" + at.UTC().Format(stamp)
}

// RunNowName is the name of the backup that a schedule takes for a value of the
// annotation run-now.
func RunNowName(schedule, token string) string {
	sum := sha256.Sum256([]byte(token))
	return fmt.Sprintf("%s-now-%s", schedule, hex.EncodeToString(sum[:4]))
}

func backupOf(s *api.BackupSchedule, name string) *api.Backup {
	labels := maps.Clone(s.Spec.Template.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[api.ScheduleLabel] = s.Name
	return &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name, Labels: labels}, Spec: *s.Spec.Template.Spec.DeepCopy()}
}

// runBackups takes the backup that is due.
func (r *Reconciler) runBackups(ctx context.Context, s *api.BackupSchedule, all clocks, n *namespace) (look time.Time, err error) {
	c := all.backups
	there := map[string]bool{}
	for _, b := range n.of(s) {
		there[b.Name] = true
	}
	run := &s.Status.Backups
	t := c.decide(run.HandledTime.Time, r.Now(), func(at time.Time) bool { return there[BackupName(s.Name, at)] }, n.busy())
	r.tellMissed(s, "backup", t.missed)
	if !t.start.IsZero() {
		b := backupOf(s, BackupName(s.Name, t.start))
		b.Annotations = map[string]string{api.ScheduledAtAnnotation: t.start.UTC().Format(time.RFC3339)}
		if s.Spec.FileCopySchedule != nil {
			b.Spec.File = &api.FilePolicy{Copy: all.copiesAt(t.start, run.LastTime, s.CreationTimestamp.Time)}
		}
		made, err := r.create(ctx, s, b)
		if err != nil {
			run.WaitingFor = err.Error()
			return time.Time{}, err
		}
		if made {
			t.made = t.start
			n.backups = append(n.backups, *b)
		} else {
			t.missed = append(t.missed, t.start)
		}
	}
	t.note(run)
	s.Status.MissedRuns += int64(len(t.missed))
	if n := len(t.missed); n > 0 {
		s.Status.LastMissed = &metav1.Time{Time: t.missed[n-1]}
	}
	if !t.made.IsZero() {
		run.LastTime, run.LastName = &metav1.Time{Time: t.made}, BackupName(s.Name, t.made)
	}
	return t.look, nil
}

// copiesAt tells whether the backup that is due at an instant copies the files, too: it
// is the first since the clock of the copies last struck. last is the run before it.
func (c clocks) copiesAt(at time.Time, last *metav1.Time, created time.Time) bool {
	if c.copies == nil {
		return false
	}
	if last != nil {
		created = last.Time
	}
	struck := c.copies.Next(created)
	return !struck.IsZero() && !struck.After(at)
}

// runNow takes the backup that somebody asked for by the annotation, or tells what
// it waits for.
func (r *Reconciler) runNow(ctx context.Context, s *api.BackupSchedule, n *namespace) (waiting string, err error) {
	token := s.Annotations[api.RunNowAnnotation]
	if token == "" || token == s.Status.LastRunNow {
		return "", nil
	}
	b := backupOf(s, RunNowName(s.Name, token))
	there := false
	for _, mine := range n.of(s) {
		there = there || mine.Name == b.Name
	}
	if !there {
		if busy := n.busy(); busy != "" {
			return busy, nil // its end is told
		}
		made, err := r.create(ctx, s, b)
		if err != nil {
			return "", err
		}
		if made {
			n.backups = append(n.backups, *b)
		}
	}
	s.Status.LastRunNow, s.Status.Backups.LastName = token, b.Name
	return "", nil
}

// create makes an object under its fixed name, or finds that it was made before.
// made is false when something else has the name, which is told.
func (r *Reconciler) create(ctx context.Context, s *api.BackupSchedule, o client.Object) (made bool, err error) {
	err = r.Client.Create(ctx, o)
	if err == nil { // done, whatever becomes of the status
		status.Event(r.Events, s, corev1.EventTypeNormal, api.ReasonStarted, fmt.Sprintf("%s %s was made", kindOf(o), o.GetName()))
		return true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, fmt.Errorf("create %T %s/%s: %w", o, o.GetNamespace(), o.GetName(), err)
	}
	there := o.DeepCopyObject().(client.Object) //nolint:forcetypeassert // a copy is of the same type
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(o), there); err != nil {
		return false, fmt.Errorf("get %T %s/%s: %w", o, o.GetNamespace(), o.GetName(), err)
	}
	if there.GetLabels()[api.ScheduleLabel] == s.Name {
		return true, nil
	}
	status.Event(r.later, s, corev1.EventTypeWarning, api.ReasonNameTaken,
		fmt.Sprintf("the run %s cannot be made: there is another object of that name, which is not of this schedule; rename one of them", o.GetName()))
	return false, nil
}

// kindOf says what a run is.
func kindOf(o client.Object) string {
	if _, drill := o.(*api.Restore); drill {
		return "drill"
	}
	return "backup"
}

// tellMissed raises the event of runs that are not made up for.
func (r *Reconciler) tellMissed(s *api.BackupSchedule, what string, missed []time.Time) {
	if len(missed) == 0 {
		return
	}
	var which []string
	for _, at := range missed[max(0, len(missed)-5):] {
		which = append(which, at.UTC().Format(time.RFC3339))
	}
	status.Event(r.later, s, corev1.EventTypeWarning, api.ReasonRunsMissed,
		fmt.Sprintf("%d %s runs were missed, the latest due at %s: the controller was down or the instance busy, and only the latest is made up for, within startingDeadlineSeconds", len(missed), what, strings.Join(which, ", ")))
}
