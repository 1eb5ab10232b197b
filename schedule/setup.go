package schedule

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// longestPause bounds the pause after an error: a run must not wait for a quarter of
// an hour once what hindered it is mended.
const longestPause = 30 * time.Second

// Ended carries word, from those who work on Backups and Restores, that one of a
// namespace has ended. The watches here are of metadata, which does not tell.
type Ended chan event.TypedGenericEvent[client.Object]

// Tell says that an operation has ended. It waits until somebody listens, or ctx
// ends.
func (e Ended) Tell(ctx context.Context, o client.Object) {
	select {
	case e <- event.TypedGenericEvent[client.Object]{Object: of(o)}:
	case <-ctx.Done():
	}
}

// Setup registers the reconciler.
func (r *Reconciler) Setup(mgr ctrl.Manager, ended Ended) error {
	// What is made or deleted here changes what a schedule has to do; the rest is told
	// by ended.
	comesAndGoes := builder.WithPredicates(predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetDeletionTimestamp() == nil && e.ObjectNew.GetDeletionTimestamp() != nil ||
				e.ObjectOld.GetAnnotations()[api.HoldAnnotation] != e.ObjectNew.GetAnnotations()[api.HoldAnnotation] ||
				e.ObjectOld.GetLabels()[api.ScheduleLabel] != e.ObjectNew.GetLabels()[api.ScheduleLabel]
		},
	})
	schedules := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []ctrl.Request {
		return schedulesOf(ctx, mgr.GetCache(), o.GetNamespace())
	})
	return ctrl.NewControllerManagedBy(mgr).
		For(&api.BackupSchedule{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		WatchesMetadata(&api.Backup{}, schedules, comesAndGoes).
		WatchesMetadata(&api.Restore{}, schedules, comesAndGoes).
		WatchesRawSource(source.Channel(ended, schedules)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](100*time.Millisecond, longestPause)}).
		Complete(r)
}

// schedulesOf names the schedules of a namespace, as the watch knows them.
func schedulesOf(ctx context.Context, c client.Reader, namespace string) []ctrl.Request {
	var list api.BackupScheduleList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		log.FromContext(ctx).Error(err, "list schedules", "namespace", namespace)
		return nil
	}
	var requests []ctrl.Request
	for _, s := range list.Items {
		requests = append(requests, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: s.Namespace, Name: s.Name}})
	}
	return requests
}

// of gives an object that names no more than a namespace and itself.
func of(o client.Object) client.Object {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName()}}
}
