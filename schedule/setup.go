package schedule

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
)

// longestPause bounds the pause after an error: a run must not wait for a quarter of
// an hour once what hindered it is mended.
const longestPause = 30 * time.Second

// Setup registers the reconciler.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	schedules := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []ctrl.Request {
		return schedulesOf(ctx, mgr.GetCache(), o.GetNamespace())
	})
	gate := r.Served.Gate(r)
	return ctrl.NewControllerManagedBy(mgr).
		For(&api.BackupSchedule{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&api.Backup{}, schedules, builder.WithPredicates(matters())).
		Watches(&api.Restore{}, schedules, builder.WithPredicates(matters())).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](100*time.Millisecond, longestPause)}).
		WatchesRawSource(gate.Woken()).
		Complete(gate)
}

// matters passes what changes what a schedule has to do: an operation that ended or
// is gone, and a hold. One that begins only keeps a run from beginning, which is
// looked at when a run is due.
func matters() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld, e.ObjectNew
			return was.GetDeletionTimestamp() == nil && is.GetDeletionTimestamp() != nil ||
				!snapshot.Ended(phaseOf(was)) && snapshot.Ended(phaseOf(is)) ||
				was.GetAnnotations()[api.HoldAnnotation] != is.GetAnnotations()[api.HoldAnnotation] ||
				was.GetLabels()[api.ScheduleLabel] != is.GetLabels()[api.ScheduleLabel]
		},
	}
}

func phaseOf(o client.Object) api.Phase {
	switch o := o.(type) {
	case *api.Backup:
		return o.Status.Phase
	case *api.Restore:
		return o.Status.Phase
	}
	return ""
}

// schedulesOf names the schedules of a namespace, as the watch knows them.
func schedulesOf(ctx context.Context, c client.Reader, namespace string) []ctrl.Request {
	var list api.BackupScheduleList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		log.FromContext(ctx).Error(err, "list schedules", "namespace", namespace)
		return nil
	}
	var requests []ctrl.Request
	for i := range list.Items {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}
