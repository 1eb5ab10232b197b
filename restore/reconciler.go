package restore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/ebs"
	"github.com/medic/cht-backup/restore/fill"
	"github.com/medic/cht-backup/restore/probe"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/reason"
	"github.com/medic/cht-backup/snapshot/served"
	"github.com/medic/cht-backup/snapshot/status"
)

// turn is how long one reconcile waits for the cluster before it says in the
// status what it waits for, and waits again.
const turn = 20 * time.Second

// soon is the pause between two steps.
const soon = 10 * time.Millisecond

// longestPause bounds the pause after an error: a way back must not wait for a
// quarter of an hour once what hindered it is mended.
const longestPause = 30 * time.Second

// Reconciler works on Restores.
type Reconciler struct {
	// Client reads from the API server, not from a cache.
	Client    client.WithWatch
	Records   catalog.Store
	Events    events.EventRecorder
	Transport http.RoundTripper
	// Image of the prepare-volume pods and the isolation probes: the controller's own.
	Image string
	// Nameservers are the addresses that the cluster's pods ask for names.
	Nameservers []string
	// Outside are addresses, host:port, that a clone must not reach and the
	// controller can.
	Outside []string
	// Dial is how the controller tries the addresses itself; nil is the network.
	Dial probe.Dialer
	// ParallelDrills is how many drills may run at once in the cluster; 0 is no bound.
	ParallelDrills int
	// EC2 gives the client of a Region, for volumes that were cut by method EBS; nil
	// where the controller has nothing to do with AWS.
	EC2 ebs.Clients
	// ClusterTag is what the cloud's tags call the cluster (KubernetesCluster,
	// kubernetes.io/cluster/NAME); "" puts none on the volumes made.
	ClusterTag string
	// Served are the namespaces that this controller works on; nil is all.
	Served *served.Namespaces
	// Narrow: it has rights in namespaces that it was told, and makes and deletes none.
	Narrow bool
	Now    func() time.Time

	// Repositories and Fillers are what volumes are filled from and by; nil without a
	// catalog.
	Repositories Repositories
	Fillers      Fillers

	drills *places
	// fills are the volumes that are being filled, fileSlots bounds their files.
	fills     *fill.Runs
	fileSlots *semaphore.Weighted
}

// Setup registers the reconciler. At most parallel restores run at once.
func (r *Reconciler) Setup(mgr ctrl.Manager, parallel int) error {
	r.drills = newPlaces()
	r.setUpFills()
	gate := r.Served.Gate(r)
	return ctrl.NewControllerManagedBy(mgr).For(&api.Restore{}).
		WatchesRawSource(gate.Woken()).
		WatchesRawSource(ctrlsource.Channel(r.drills.wake, &handler.EnqueueRequestForObject{})).
		Watches(&api.Restore{}, handler.EnqueueRequestsFromMapFunc(ofScratch)).
		WithOptions(controller.Options{MaxConcurrentReconciles: parallel, RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](10*time.Millisecond, longestPause)}).
		Complete(gate)
}

// Reconcile brings one Restore forward by one step. Every step can be repeated.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	restore := &api.Restore{}
	if err := r.Client.Get(ctx, req.NamespacedName, restore); err != nil {
		if apierrors.IsNotFound(err) {
			r.placeLeft(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if restore.DeletionTimestamp != nil {
		err := r.remove(ctx, restore)
		if wait := (later{}); errors.As(err, &wait) {
			return ctrl.Result{RequeueAfter: wait.pause}, nil
		}
		return ctrl.Result{}, err
	}
	if snapshot.Ended(restore.Status.Phase) {
		r.placeLeft(req.NamespacedName)
		return r.expire(ctx, restore)
	}
	was := restore.DeepCopy()
	work, cancel := r.whileWanted(ctx, restore)
	defer cancel()
	again := soon
	err := r.step(work, restore)
	if err != nil {
		var wait later
		if errors.As(err, &wait) {
			again = wait.pause
		}
		err = r.failed(ctx, restore, err)
	}
	restore.Status.ObservedGeneration = restore.Generation
	if !equality.Semantic.DeepEqual(was.Status, restore.Status) {
		if saveErr := r.save(ctx, restore); saveErr != nil {
			return ctrl.Result{}, saveErr
		}
	}
	r.tell(ctx, was, restore)
	if err != nil || restore.Status.Phase == api.PhasePlanned || snapshot.Ended(restore.Status.Phase) && restore.Status.ExpirationTime == nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: again}, nil
}

// whileWanted gives a context that lasts as long as the step may, and ends when
// the restore is deleted or aborted: nobody shall wait for a step that nobody
// wants.
func (r *Reconciler) whileWanted(ctx context.Context, restore *api.Restore) (context.Context, context.CancelFunc) {
	left := limit(restore) - r.spent(restore)
	ctx, end := context.WithTimeout(ctx, max(left, time.Second))
	ctx, cancel := await.While(ctx, r.Client, &api.RestoreList{}, func(o runtime.Object) bool {
		now, ok := o.(*api.Restore)
		return ok && now.UID == restore.UID && (now.DeletionTimestamp != nil || now.Spec.Abort && !restore.Spec.Abort)
	}, client.InNamespace(restore.Namespace), client.MatchingFields{"metadata.name": restore.Name})
	return ctx, func() {
		cancel()
		end()
	}
}

// limit bounds the present step. A backup has bounds of its own, and so has a
// verification, which may read all there is.
func limit(restore *api.Restore) time.Duration {
	switch restore.Status.Phase {
	case api.PhasePending:
		if restore.Spec.Drill != nil { // it may wait for its turn
			return unhurried
		}
	case api.PhaseVolumes:
		if fills(restore) { // bounded by the time without progress
			return max(restore.Spec.StepTimeout.Duration, unhurried)
		}
	case api.PhaseSafetyBackup, api.PhaseVerifying, api.PhaseScratch, api.PhaseReplicating, api.PhaseReplacing, api.PhaseExpiring, api.PhaseTearingDown:
		return max(restore.Spec.StepTimeout.Duration, unhurried)
	}
	return restore.Spec.StepTimeout.Duration
}

// unhurried bounds the steps that have bounds of their own.
const unhurried = 7 * 24 * time.Hour

// spent is how long the present phase has lasted.
func (r *Reconciler) spent(restore *api.Restore) time.Duration {
	if restore.Status.PhaseTime == nil {
		return 0
	}
	return r.Now().Sub(restore.Status.PhaseTime.Time)
}

// oneTurn bounds a wait, so that the status soon says what is waited for.
func oneTurn(ctx context.Context, wait func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, turn)
	defer cancel()
	return wait(ctx)
}

func (r *Reconciler) step(ctx context.Context, restore *api.Restore) error {
	switch phase := restore.Status.Phase; {
	case phase == "":
		return r.accept(ctx, restore)
	case phase == api.PhaseRollingBack:
		return r.rollBack(ctx, restore)
	case phase == api.PhaseExpiring:
		return r.expiring(ctx, restore)
	case phase == api.PhaseTearingDown:
		return r.tearDown(ctx, restore)
	case restore.Spec.Abort:
		return reason.Refuse(api.ReasonAborted, "aborted while %s, as asked by spec.abort", phase)
	case phase == api.PhasePlanned:
		if !restore.Spec.PlanOnly {
			now := metav1.NewMicroTime(r.Now()) // the time that somebody took to agree is none of the recovery's
			restore.Status.StartTime = &now
			r.enter(restore, api.PhasePending, "going on")
		}
		return nil
	case phase == api.PhasePending && restore.Spec.Drill != nil && !restore.Spec.PlanOnly:
		if err := r.place(restore); err != nil {
			return err
		}
	}
	w, err := r.load(ctx, restore)
	if err != nil {
		return err
	}
	steps := stepsOf(restore.Spec)
	now := slices.IndexFunc(steps, func(s step) bool { return s.phase == restore.Status.Phase })
	if now < 0 {
		return reason.Refuse(api.ReasonObjectsFailed, "phase %q is not known to this version for such a restore", restore.Status.Phase)
	}
	if err := steps[now].do(r, ctx, w); err != nil {
		return err
	}
	switch {
	case restore.Status.Phase == api.PhasePlanned:
	case now+1 < len(steps):
		r.enter(restore, steps[now+1].phase, steps[now+1].about)
	default:
		r.end(restore, api.PhaseCompleted)
		r.conclude(restore, true, api.ReasonCompleted, w.summary())
	}
	return nil
}

// end sets a final phase, and when a clone's time is over.
func (r *Reconciler) end(restore *api.Restore, phase api.Phase) {
	now := metav1.NewMicroTime(r.Now())
	restore.Status.CompletionTime, restore.Status.Phase = &now, phase
	setExpiration(restore)
}

func (r *Reconciler) accept(ctx context.Context, restore *api.Restore) error {
	base := restore.DeepCopy()
	if controllerutil.AddFinalizer(restore, api.Finalizer) {
		if err := r.Client.Patch(ctx, restore, client.MergeFrom(base)); err != nil {
			return fmt.Errorf("add finalizer to restore %s/%s: %w", restore.Namespace, restore.Name, err)
		}
	}
	now := metav1.NewMicroTime(r.Now())
	restore.Status.StartTime = &now
	r.enter(restore, api.PhasePending, "accepted")
	return nil
}

func (r *Reconciler) enter(restore *api.Restore, phase api.Phase, message string) {
	now := metav1.NewMicroTime(r.Now())
	restore.Status.Phase, restore.Status.PhaseTime = phase, &now
	r.progress(restore, message)
}

func (r *Reconciler) progress(restore *api.Restore, message string) {
	status.Progress(restore, &restore.Status.Conditions, message)
}

func (r *Reconciler) conclude(restore *api.Restore, good bool, why, message string) {
	status.Conclude(restore, &restore.Status.Conditions, good, why, message)
}

func (r *Reconciler) save(ctx context.Context, restore *api.Restore) error {
	return status.Save(ctx, r.Client, &api.Restore{ObjectMeta: metav1.ObjectMeta{Name: restore.Name, Namespace: restore.Namespace}}, restore.Status)
}
