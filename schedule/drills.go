package schedule

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
)

// DrillName is the name of the drill that a schedule makes for an instant.
func DrillName(schedule string, at time.Time) string {
	return schedule + "-drill-" + at.UTC().Format(stamp)
}

func drillOf(s *api.BackupSchedule, at time.Time, of *api.Backup) *api.Restore {
	d := s.Spec.Drill
	return &api.Restore{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: DrillName(s.Name, at), Labels: map[string]string{api.ScheduleLabel: s.Name},
			Annotations: map[string]string{api.ScheduledAtAnnotation: at.UTC().Format(time.RFC3339)}},
		Spec: api.RestoreSpec{Source: api.BackupReference{Namespace: of.Namespace, Name: of.Name, UID: of.UID}, Drill: &api.Drill{KeepFailed: d.KeepFailed},
			Verify: d.Verify, Remap: d.Remap.DeepCopy(), StepTimeout: d.StepTimeout},
	}
}

// runDrills makes the drill that is due, of the newest good backup, and removes
// those that ended long ago.
func (r *Reconciler) runDrills(ctx context.Context, s *api.BackupSchedule, c *clock, n *namespace) (look time.Time, err error) {
	if c == nil {
		return time.Time{}, nil
	}
	there := map[string]bool{}
	for _, d := range n.drills(s) {
		there[d.Name] = true
	}
	run, newest := s.Status.Drills, n.newestGood("")
	t := c.decide(run.HandledTime.Time, r.Now(), func(at time.Time) bool { return there[DrillName(s.Name, at)] }, n.undrillable(newest))
	r.tellMissed(s, "drill", t.missed)
	if !t.start.IsZero() {
		d := drillOf(s, t.start, newest)
		made, err := r.create(ctx, s, d)
		if err != nil {
			run.WaitingFor = err.Error()
			return time.Time{}, err
		}
		if made {
			t.made = t.start
			n.restores = append(n.restores, *d)
		}
	}
	t.note(run)
	if !t.made.IsZero() {
		run.LastTime, run.LastName = &metav1.Time{Time: t.made}, DrillName(s.Name, t.made)
	}
	return t.look, r.forget(ctx, s, n)
}

// undrillable says what keeps a drill from beginning, "" for nothing.
func (n *namespace) undrillable(newest *api.Backup) string {
	if newest == nil {
		return "a good backup"
	}
	for i := range n.restores {
		if restore := &n.restores[i]; restore.Spec.Drill != nil && !snapshot.Ended(restore.Status.Phase) {
			return fmt.Sprintf("drill %s, which is under way", restore.Name)
		}
	}
	return ""
}

// forget deletes the Restores of drills that ended long ago: what they proved stands
// on the Backup.
func (r *Reconciler) forget(ctx context.Context, s *api.BackupSchedule, n *namespace) error {
	drills := n.drills(s)
	slices.SortFunc(drills, func(a, b *api.Restore) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	kept := map[api.Phase]int32{}
	for _, d := range drills {
		if !snapshot.Ended(d.Status.Phase) || d.DeletionTimestamp != nil {
			continue
		}
		if kept[d.Status.Phase]++; kept[d.Status.Phase] <= s.Spec.Drill.History {
			continue
		}
		if err := r.Client.Delete(ctx, d, client.Preconditions{UID: &d.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete drill %s/%s: %w", d.Namespace, d.Name, err)
		}
	}
	return nil
}
