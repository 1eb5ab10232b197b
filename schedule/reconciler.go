package schedule

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/schedule/retention"
	"github.com/medic/cht-backup/snapshot/served"
	"github.com/medic/cht-backup/snapshot/status"
)

// longest is how long a schedule is left alone: a wall clock that was set is noticed
// by then.
const longest = 30 * time.Minute

// Reconciler works on BackupSchedules.
type Reconciler struct {
	// Client reads from the API server, never from a cache: a run made twice because
	// of old news would be a second stall.
	Client client.Client
	Events events.EventRecorder
	// Served are the namespaces that this controller works on; nil is all.
	Served *served.Namespaces
	// Now is the clock, for the tests.
	Now func() time.Time

	// later are the events of one turn that tell of what its status will say.
	later *status.Buffer
}

// Reconcile does what is due of one schedule. Whatever it makes has a name that
// follows from the schedule and the instant, and the status is written last.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &api.BackupSchedule{}
	err := r.Client.Get(ctx, req.NamespacedName, s)
	if apierrors.IsNotFound(err) || err == nil && s.DeletionTimestamp != nil {
		return ctrl.Result{}, nil // its backups stay
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("get schedule %s: %w", req, err)
	}
	was := s.DeepCopy()
	turn := *r
	turn.later = &status.Buffer{}
	look, err := turn.tend(ctx, s)
	s.Status.ObservedGeneration = s.Generation
	if !equality.Semantic.DeepEqual(was.Status, s.Status) {
		if saveErr := r.save(ctx, s); saveErr != nil {
			return ctrl.Result{}, client.IgnoreNotFound(saveErr) // what was to be told is found again
		}
	}
	turn.later.Flush(r.Events)
	logTurn(ctx, was, s)
	if err != nil {
		return ctrl.Result{}, err
	}
	again := longest
	if !look.IsZero() {
		again = min(again, max(look.Sub(r.Now()), time.Millisecond))
	}
	return ctrl.Result{RequeueAfter: again}, nil
}

// tend does what is due and tells when to look again at the latest.
func (r *Reconciler) tend(ctx context.Context, s *api.BackupSchedule) (look time.Time, err error) {
	clocks, err := clocksOf(s)
	if err != nil {
		r.invalid(s, err)
		return time.Time{}, nil
	}
	policy, wrong := retention.PolicyOf(s.Spec.Retention)
	n, err := r.read(ctx, s.Namespace)
	if err != nil {
		return time.Time{}, err
	}
	clocks.begin(s, r.Now(), s.Status.Suspended && !s.Spec.Suspend)
	s.Status.Suspended = s.Spec.Suspend
	asked, err := r.runNow(ctx, s, n)
	if err != nil {
		return time.Time{}, r.hindered(s, err)
	}
	if s.Spec.Suspend {
		rest(&s.Status)
	} else {
		if look, err = r.runBackups(ctx, s, clocks, n); err != nil {
			return time.Time{}, r.hindered(s, err)
		}
		lookDrill, err := r.runDrills(ctx, s, clocks.drills, n)
		if err != nil {
			return time.Time{}, r.hindered(s, err)
		}
		look = earliest(look, lookDrill)
	}
	if s.Status.Backups.WaitingFor == "" {
		s.Status.Backups.WaitingFor = asked
	}
	if wrong == nil {
		if err := r.retire(ctx, s, policy, clocks.backups.Zone(), n); err != nil {
			return time.Time{}, r.hindered(s, err)
		}
	}
	observe(s, clocks, n)
	conclude(s, clocks, wrong)
	return look, nil
}

// clocks are both clocks of a schedule.
type clocks struct {
	backups clock
	// drills is nil where there are none, or where noDrills says what is wrong with
	// them: no backup shall be missing for that.
	drills   *clock
	noDrills error
	// copies says which backups copy the files, too; nil where the template says it, or
	// where noCopies says what is wrong with it.
	copies   *clock
	noCopies error
}

func clocksOf(s *api.BackupSchedule) (c clocks, err error) {
	if c.backups, err = clockOf(s, s.Spec.Schedule); err != nil {
		return c, err
	}
	if e := s.Spec.FileCopySchedule; e != nil {
		if copies, err := clockOf(s, *e); err != nil {
			c.noCopies = fmt.Errorf("fileCopySchedule: %w", err)
		} else {
			c.copies = &copies
		}
	}
	if s.Spec.Drill == nil {
		return c, nil
	}
	if drills, err := clockOf(s, s.Spec.Drill.Schedule); err != nil {
		c.noDrills = fmt.Errorf("drill: %w", err)
	} else {
		c.drills = &drills
	}
	return c, nil
}

func (c clocks) begin(s *api.BackupSchedule, now time.Time, resumed bool) {
	created := s.CreationTimestamp.Time
	c.backups.begin(&s.Status.Backups, created, now, resumed)
	if c.drills == nil {
		s.Status.Drills = nil
		return
	}
	if s.Status.Drills == nil {
		s.Status.Drills = &api.RunStatus{}
		if s.Generation > 1 {
			created = now // drills came to be later than the schedule
		}
	}
	c.drills.begin(s.Status.Drills, created, now, resumed)
}

// invalid tells what is wrong with a schedule. Nothing is due of it.
func (r *Reconciler) invalid(s *api.BackupSchedule, err error) {
	ready := meta.FindStatusCondition(s.Status.Conditions, api.ConditionReady)
	message := status.Clip(err.Error() + "; no backup is taken until it is corrected")
	if ready == nil || ready.Reason != api.ReasonInvalidSchedule || ready.Message != message {
		status.Event(r.later, s, corev1.EventTypeWarning, api.ReasonInvalidSchedule, message)
	}
	s.Status.NextRun = ""
	rest(&s.Status)
	status.Set(s, &s.Status.Conditions, metav1.ConditionFalse, api.ReasonInvalidSchedule, message)
}

// rest notes that nothing is due.
func rest(st *api.BackupScheduleStatus) {
	for _, run := range []*api.RunStatus{&st.Backups, st.Drills} {
		if run != nil {
			run.NextTime, run.WaitingFor = nil, ""
		}
	}
}

// hindered tells what stands in the way; it is tried again.
func (r *Reconciler) hindered(s *api.BackupSchedule, err error) error {
	status.Set(s, &s.Status.Conditions, metav1.ConditionUnknown, api.ReasonWaiting, err.Error())
	return err
}

// conclude writes the condition of a schedule that was tended; noRetention is what is
// wrong with its retention.
func conclude(s *api.BackupSchedule, c clocks, noRetention error) {
	set := func(is metav1.ConditionStatus, why, format string, args ...any) {
		status.Set(s, &s.Status.Conditions, is, why, fmt.Sprintf(format, args...))
	}
	st := &s.Status
	switch {
	case noRetention != nil:
		set(metav1.ConditionFalse, api.ReasonInvalidSchedule, "%s; backups are taken, and none is removed until it is corrected", noRetention)
	case c.noDrills != nil:
		set(metav1.ConditionFalse, api.ReasonInvalidSchedule, "%s; backups are taken, and no drill is made until it is corrected", c.noDrills)
	case c.noCopies != nil:
		set(metav1.ConditionFalse, api.ReasonInvalidSchedule, "%s; backups are taken, and none copies the files beside snapshots until it is corrected", c.noCopies)
	case st.Backups.WaitingFor != "":
		set(metav1.ConditionUnknown, api.ReasonWaiting, "a backup is due and waits for: %s", st.Backups.WaitingFor)
	case s.Spec.Suspend:
		set(metav1.ConditionFalse, api.ReasonSuspended, "suspended by spec.suspend; what is due meanwhile is not made up for")
	case st.LastMissed != nil && (st.Backups.LastTime == nil || st.Backups.LastTime.Before(st.LastMissed)):
		set(metav1.ConditionFalse, api.ReasonRunsMissed, "the run due at %s was missed, and none was made since; %d were missed in all", st.LastMissed.UTC().Format(time.RFC3339), st.MissedRuns)
	default:
		set(metav1.ConditionTrue, api.ReasonScheduled, "backups are taken as scheduled")
	}
}

// logTurn writes a line where the condition Ready has come to another reason.
func logTurn(ctx context.Context, was, is *api.BackupSchedule) {
	before, c := meta.FindStatusCondition(was.Status.Conditions, api.ConditionReady), meta.FindStatusCondition(is.Status.Conditions, api.ConditionReady)
	if c != nil && (before == nil || before.Reason != c.Reason) {
		log.FromContext(ctx).Info("schedule", "ready", c.Status, "reason", c.Reason, "message", c.Message)
	}
}

func (r *Reconciler) save(ctx context.Context, s *api.BackupSchedule) error {
	return status.Save(ctx, r.Client, &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace}}, s.Status)
}

// earliest of two times, of which either may be zero for never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
