package snapshot

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/metrics"
	"github.com/medic/cht-backup/snapshot/queue"
	"github.com/medic/cht-backup/snapshot/quiesce"
	"github.com/medic/cht-backup/snapshot/reason"
	"github.com/medic/cht-backup/snapshot/served"
	"github.com/medic/cht-backup/snapshot/status"
)

// Reconciler works on Backups.
type Reconciler struct {
	// Client reads from the API server, never from a cache: an attempt begun twice
	// because of old news would be a second stall.
	Client client.WithWatch
	Exec   quiesce.Execer
	// Run runs a command in a pod of ours.
	Run         Run
	Snapshotter Snapshotter
	Records     catalog.Store
	Events      events.EventRecorder
	// Transport carries the requests to CouchDB.
	Transport http.RoundTripper
	// Image of the freezer pods: the controller's own.
	Image string
	// Now is the clock, for the tests.
	Now func() time.Time
	// Parallel bounds how many backups run at once.
	Parallel queue.Limits
	// After is what is done with the snapshots once a backup is complete; nil for
	// nothing. Catalog keeps its record outside the cluster, and notes the copies; nil
	// where there is none.
	After   Aftercare
	Catalog Catalog
	// Files copies the files beside snapshots; nil where there is no catalog to copy them
	// into.
	Files Copier
	// Served are the namespaces that this controller works on; nil is all.
	Served *served.Namespaces

	starting sync.Mutex // guards the making of line
	line     *queue.Queue
	// later are the earliest times of the next attempt, where the storage asked for
	// patience. A controller that starts anew has none, and may ask too early once.
	later sync.Map // types.UID to time.Time
	// told are the phases that were last told of, of backups under way: one turn writes
	// several down.
	told sync.Map // types.UID to api.Phase
	// unthawed is since when a backup's freezer pods did not thaw.
	unthawed sync.Map                   // types.UID to time.Time
	work     func(types.NamespacedName) // hands a backup to the controller's workers
}

// Reconcile brings one Backup forward. Which step is next follows from the
// status alone.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if err := r.lineUp(ctx); err != nil {
		return ctrl.Result{}, err
	}
	b := &api.Backup{}
	if err := r.Client.Get(ctx, req.NamespacedName, b); apierrors.IsNotFound(err) {
		r.line.Leave(req.NamespacedName)
		return ctrl.Result{}, nil
	} else if err != nil {
		r.line.Yield(req.NamespacedName)
		return ctrl.Result{}, err
	}
	waits := false
	defer func() { r.settle(b, waits) }()
	if b.DeletionTimestamp != nil {
		again, err := r.remove(ctx, b)
		return ctrl.Result{RequeueAfter: again}, err
	}
	if b.IsImported() {
		return ctrl.Result{}, r.passOver(ctx, b)
	}
	if b.Status.Phase == api.PhaseCompleted {
		again, err := r.completed(ctx, b)
		return ctrl.Result{RequeueAfter: again}, err
	}
	was := b.DeepCopy()
	again, err := r.step(ctx, b)
	if err != nil {
		again, err = r.failed(b, err)
	}
	b.Status.ObservedGeneration = b.Generation
	if !equality.Semantic.DeepEqual(was.Status, b.Status) {
		if patchErr := r.save(ctx, b); patchErr != nil {
			return ctrl.Result{}, patchErr
		}
	}
	// What is cleaned up is Pending too, and comes into line in a while.
	waits = err == nil && b.Status.Phase == api.PhasePending && was.Status.Phase != api.PhaseCleaningUp
	r.tell(ctx, was.Status.Phase, b)
	if Ended(b.Status.Phase) && !Ended(was.Status.Phase) {
		metrics.BackupEnded(b)
		if r.unsettled(b) {
			again = time.Millisecond
		}
	}
	return ctrl.Result{RequeueAfter: again}, err
}

func (r *Reconciler) step(ctx context.Context, b *api.Backup) (again time.Duration, err error) {
	switch b.Status.Phase {
	case api.PhaseCompleted, api.PhaseFailed:
		return 0, nil
	case "":
		base := b.DeepCopy()
		if controllerutil.AddFinalizer(b, api.Finalizer) {
			if err := r.Client.Patch(ctx, b, client.MergeFrom(base)); err != nil {
				return 0, fmt.Errorf("add finalizer to backup %s/%s: %w", b.Namespace, b.Name, err)
			}
		}
		b.Status.Phase = api.PhasePending
		fallthrough
	case api.PhasePending:
		if wait := r.patience(b); wait > 0 {
			return wait, nil
		}
		instance, again, err := r.mayRun(ctx, b)
		if err != nil || instance == nil {
			return again, err
		}
		return r.attempt(ctx, b, instance)
	case api.PhasePreparing, api.PhaseCutting:
		// This process did not begin that attempt, or could not write its end down.
		return 0, reason.Failed(api.ReasonInterrupted, "the controller was interrupted while %s; the nodes released themselves", b.Status.Phase)
	case api.PhaseFinishing:
		return r.finish(ctx, b)
	case api.PhaseCleaningUp:
		return r.cleanUp(ctx, b)
	default:
		return 0, reason.Refuse(api.ReasonInterrupted, "phase %q is not known to this version", b.Status.Phase)
	}
}

// failed decides what an error means: errors with a reason end the attempt,
// others (the API server hiccuped) are tried again as they are, unless they came
// in the middle of an attempt, which then counts as interrupted the next time.
func (r *Reconciler) failed(b *api.Backup, err error) (time.Duration, error) {
	e := reason.Of(err)
	if e == nil {
		return 0, err
	}
	retry := !e.Final && b.Status.Attempt < b.Spec.Attempts && b.Status.Phase != api.PhaseFinishing
	b.Status.PendingReason, b.Status.PendingMessage = e.Reason, err.Error()
	message := err.Error()
	if retry {
		b.Status.PendingReason = ""
		message = fmt.Sprintf("attempt %d of %d: %s; trying again after a clean-up", b.Status.Attempt, b.Spec.Attempts, err)
		if e.Wait > 0 {
			wait := e.Wait << min(max(b.Status.Attempt-1, 0), 6)
			r.later.Store(b.UID, r.Now().Add(wait))
			message += fmt.Sprintf(", not before %s are over", wait)
		}
	}
	b.Status.Phase = api.PhaseCleaningUp
	status.Set(b, &b.Status.Conditions, metav1.ConditionUnknown, e.Reason, message)
	return time.Millisecond, nil
}

// patience tells for how long the next attempt must wait yet.
func (r *Reconciler) patience(b *api.Backup) time.Duration {
	at, waits := r.later.Load(b.UID)
	if !waits {
		return 0
	}
	until, ok := at.(time.Time)
	if wait := until.Sub(r.Now()); ok && wait > 0 {
		return wait
	}
	r.later.Delete(b.UID)
	return 0
}

// enter writes a phase down before its work begins.
func (r *Reconciler) enter(ctx context.Context, b *api.Backup, phase api.Phase, message string) error {
	was := b.Status.Phase
	b.Status.Phase = phase
	r.progress(b, message)
	if err := r.save(ctx, b); err != nil {
		return err
	}
	r.tell(ctx, was, b)
	return nil
}

// tell tells of a change of phase that has been written down. No event is raised of
// the hold: from the last look to the release nothing is sent that need not be.
func (r *Reconciler) tell(ctx context.Context, was api.Phase, b *api.Backup) {
	if last, known := r.told.Swap(b.UID, b.Status.Phase); known {
		was, _ = last.(api.Phase)
	}
	if Ended(b.Status.Phase) {
		r.told.Delete(b.UID)
	}
	t := status.Turn{Was: was, Is: b.Status.Phase, Conditions: b.Status.Conditions}
	switch t.Is {
	case api.PhasePending, api.PhaseCutting:
		t.Quiet = true
	case api.PhaseCleaningUp:
		t.Trouble, t.Quiet = true, b.Status.PendingReason != "" // the end is told when it has come
		if c := meta.FindStatusCondition(t.Conditions, api.ConditionReady); c != nil && !t.Quiet && was != t.Is {
			metrics.AttemptFailed(b, c.Reason)
		}
	}
	status.Turned(ctx, r.Events, b, t)
}

func (r *Reconciler) progress(b *api.Backup, message string) {
	status.Progress(b, &b.Status.Conditions, message)
}

func (r *Reconciler) conclude(b *api.Backup, good bool, why, message string) {
	status.Conclude(b, &b.Status.Conditions, good, why, message)
}

func (r *Reconciler) save(ctx context.Context, b *api.Backup) error {
	return status.Save(ctx, r.Client, &api.Backup{ObjectMeta: metav1.ObjectMeta{Name: b.Name, Namespace: b.Namespace}}, b.Status)
}
