package restore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
	"github.com/medic/cht-backup/snapshot/status"
)

// turn is how long one reconcile waits for the cluster before it says in the
// status what it waits for, and waits again.
const turn = 20 * time.Second

// Reconciler works on Restores.
type Reconciler struct {
	// Client reads from the API server, not from a cache.
	Client    client.WithWatch
	Records   catalog.Store
	Events    events.EventRecorder
	Transport http.RoundTripper
	// Image of the prepare-volume pods: the controller's own.
	Image string
	Now   func() time.Time
}

// Setup registers the reconciler. At most parallel restores run at once.
func (r *Reconciler) Setup(mgr ctrl.Manager, parallel int) error {
	return ctrl.NewControllerManagedBy(mgr).For(&api.Restore{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: parallel}).Complete(r)
}

// Reconcile brings one Restore forward by one step. Every step can be repeated.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	restore := &api.Restore{}
	if err := r.Client.Get(ctx, req.NamespacedName, restore); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if restore.DeletionTimestamp != nil {
		return ctrl.Result{}, r.remove(ctx, restore)
	}
	if snapshot.Ended(restore.Status.Phase) {
		return ctrl.Result{}, nil
	}
	was := restore.DeepCopy()
	work, cancel := r.untilDeleted(ctx, restore)
	defer cancel()
	err := r.step(work, restore)
	if err != nil {
		err = r.failed(ctx, restore, err)
	}
	restore.Status.ObservedGeneration = restore.Generation
	if !equality.Semantic.DeepEqual(was.Status, restore.Status) {
		if saveErr := r.save(ctx, restore); saveErr != nil {
			return ctrl.Result{}, saveErr
		}
	}
	if err != nil || snapshot.Ended(restore.Status.Phase) {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: 10 * time.Millisecond}, nil
}

// untilDeleted gives a context that lasts as long as the step may, and ends when
// the restore is deleted: nobody shall wait for a step that nobody wants.
func (r *Reconciler) untilDeleted(ctx context.Context, restore *api.Restore) (context.Context, context.CancelFunc) {
	left := restore.Spec.StepTimeout.Duration - r.spent(restore)
	ctx, cancel := context.WithTimeout(ctx, max(left, time.Second))
	events, err := r.Client.Watch(ctx, &api.RestoreList{}, client.InNamespace(restore.Namespace), client.MatchingFields{"metadata.name": restore.Name})
	if err != nil {
		return ctx, cancel // it is noticed at the step's end then
	}
	go func() {
		defer events.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case event, open := <-events.ResultChan():
				if !open {
					return
				}
				if o, ok := event.Object.(*api.Restore); ok && o.UID == restore.UID && o.DeletionTimestamp != nil {
					cancel()
				}
			}
		}
	}()
	return ctx, cancel
}

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
	if restore.Status.Phase == "" {
		return r.accept(ctx, restore)
	}
	if restore.Status.Record == "" {
		head, err := r.findRecord(ctx, restore)
		if err != nil {
			return err
		}
		if err := allowed(head, restore.Namespace); err != nil {
			return err
		}
		restore.Status.Record, restore.Status.BackupUID = head.Secret, head.UID
	}
	record, err := r.Records.Get(ctx, restore.Status.Record)
	if errors.Is(err, catalog.ErrNotFound) {
		return reason.Refuse(api.ReasonBackupNotFound, "the record %s of backup %s/%s is gone: was the backup deleted?", restore.Status.Record, restore.Spec.Source.Namespace, restore.Spec.Source.Name)
	} else if err != nil {
		return err
	}
	source, err := decode(record)
	if err != nil {
		return err
	}
	rewrite := newRewriter(record.Namespace, restore.Namespace, source)
	objects := restored(restore, source, rewrite)

	switch restore.Status.Phase {
	case api.PhasePending:
		// 1. Refuse what is dangerous, before anything is made.
		if err := r.preflight(ctx, restore, record, source); err != nil {
			return err
		}
		restore.Status.CutTime = &metav1.MicroTime{Time: record.CutTime}
		for _, node := range record.Nodes {
			restore.Status.Volumes = append(restore.Status.Volumes, api.RestoredVolume{Node: node.Service, Claim: node.Claim})
		}
		r.enter(restore, api.PhaseVolumes, "making claims from the snapshots")
	case api.PhaseVolumes:
		// 2. Close the namespace, then fill it: claims, each prepared before CouchDB sees it.
		if err := r.create(ctx, restore, isolation(restore, r.Records.Namespace)); err != nil {
			return err
		}
		if err := oneTurn(ctx, func(ctx context.Context) error { return r.makeVolumes(ctx, restore, record) }); err != nil {
			return err
		}
		if err := r.dropImports(ctx, restore); err != nil {
			return err
		}
		r.enter(restore, api.PhaseObjects, "applying the instance's objects, all workloads at 0")
	case api.PhaseObjects:
		// 3. Everything but the pods.
		if err := r.applyObjects(ctx, restore, objects, false); err != nil {
			return err
		}
		r.enter(restore, api.PhaseCouchDB, "starting CouchDB alone, under its new names")
	case api.PhaseCouchDB:
		// 4. CouchDB alone: membership, shards where they belong, shard maps.
		if err := r.startCouchDB(ctx, restore, record, objects, rewrite); err != nil {
			return err
		}
		r.enter(restore, api.PhaseVerifying, "comparing the databases with the record")
	case api.PhaseVerifying:
		// 5. Compare with the record, through every node.
		if err := r.verify(ctx, restore, record, rewrite); err != nil {
			return err
		}
		r.enter(restore, api.PhaseStarting, "the data is verified; starting the components")
	case api.PhaseStarting:
		// 6. What uses CouchDB.
		if err := oneTurn(ctx, func(ctx context.Context) error { return r.start(ctx, restore, objects) }); err != nil {
			return err
		}
		now := metav1.NewMicroTime(r.Now())
		restore.Status.CompletionTime, restore.Status.Phase = &now, api.PhaseCompleted
		v := restore.Status.Verification
		r.conclude(restore, true, api.ReasonCompleted,
			fmt.Sprintf("verified: %d databases, %d shards, %d documents", v.Databases, v.Shards, v.Documents))
	}
	return nil
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

// failed decides what an error of a step means. A turn that ended is none, until
// the step has used up its time. Anything with a reason ends the restore; the
// rest is the API server's trouble and is tried again.
func (r *Reconciler) failed(ctx context.Context, restore *api.Restore, err error) error {
	e := reason.Of(err)
	var wait notYet
	if e == nil || errors.As(err, &wait) {
		if r.spent(restore) < restore.Spec.StepTimeout.Duration {
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.As(err, &wait) {
				r.progress(restore, err.Error())
				return nil
			}
			return err
		}
		e = &reason.Error{Reason: api.ReasonStartTimeout}
		err = fmt.Errorf("step %s was not done within %s: %w", restore.Status.Phase, restore.Spec.StepTimeout.Duration, err)
	}
	switch restore.Status.Phase {
	case api.PhaseVolumes, api.PhaseObjects:
		if undoErr := r.undo(ctx, restore); undoErr != nil {
			return errors.Join(err, undoErr) // tried again, until nothing half done is left
		}
	case api.PhaseCouchDB, api.PhaseVerifying, api.PhaseStarting:
		if stopErr := r.stop(ctx, restore, e.Reason == api.ReasonForeignMember); stopErr != nil {
			return errors.Join(err, stopErr)
		}
	}
	now := metav1.NewMicroTime(r.Now())
	restore.Status.CompletionTime, restore.Status.Phase = &now, api.PhaseFailed
	r.conclude(restore, false, e.Reason, err.Error())
	return nil
}

// stop holds what a failed restore leaves for a look: all workloads at 0 but
// CouchDB, and that too when it was about to join another cluster.
func (r *Reconciler) stop(ctx context.Context, restore *api.Restore, couchDBToo bool) error {
	for _, kind := range cht.ObjectKinds {
		if kind.Group != "apps" {
			continue
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		if err := r.Client.List(ctx, list, client.InNamespace(restore.Namespace), client.MatchingLabels(labels(restore, ""))); err != nil {
			return fmt.Errorf("list %s to stop: %w", kind.Kind, err)
		}
		var workloads []*unstructured.Unstructured
		for i := range list.Items {
			workloads = append(workloads, &list.Items[i])
		}
		if err := r.scale(ctx, workloads, func(c string) bool { return couchDBToo || !cht.IsCouchDB(c) }, false); err != nil {
			return err
		}
	}
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
	status.Conclude(r.Events, restore, &restore.Status.Conditions, good, why, message)
}

func (r *Reconciler) save(ctx context.Context, restore *api.Restore) error {
	return status.Save(ctx, r.Client, &api.Restore{ObjectMeta: metav1.ObjectMeta{Name: restore.Name, Namespace: restore.Namespace}}, restore.Status)
}
