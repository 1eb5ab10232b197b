package snapshot

import (
	"context"
	"fmt"
	"slices"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// longestPause bounds the pause after an error: a backup whose turn had come shall
// not lose a quarter of an hour to an API server that was away for a moment.
const longestPause = 30 * time.Second

// Setup registers the reconciler. The line bounds how many backups run; there are as
// many workers again for what takes a moment.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	woken := source.Func(func(_ context.Context, work workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
		r.work = func(key types.NamespacedName) { work.Add(ctrl.Request{NamespacedName: key}) }
		return nil
	})
	if r.After != nil {
		r.After.WakeWith(r.wake)
	}
	if r.Files != nil {
		r.Files.WakeWith(r.wake)
	}
	b := ctrl.NewControllerManagedBy(mgr).For(&api.Backup{}, builder.WithPredicates(r.toBeWorkedOn())).
		Owns(&corev1.Pod{}, builder.OnlyMetadata, builder.WithPredicates(gone()))
	// A cluster whose volumes are all cut by EBS need not have the kind; to watch it
	// there would end the controller.
	if has, err := HasSnapshots(mgr.GetRESTMapper()); err != nil {
		return err
	} else if has {
		b = b.Owns(&snapv1.VolumeSnapshot{}, builder.WithPredicates(storageSpoke()))
	}
	gate := r.Served.Gate(r)
	return b.WatchesRawSource(woken).WatchesRawSource(gate.Woken()).
		WithOptions(controller.Options{MaxConcurrentReconciles: 2 * r.limits().Cluster,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](10*time.Millisecond, longestPause)}).
		Complete(gate)
}

// HasSnapshots tells whether the cluster has the kind VolumeSnapshot.
func HasSnapshots(mapper meta.RESTMapper) (bool, error) {
	kind := snapv1.SchemeGroupVersion.WithKind("VolumeSnapshot")
	_, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("look whether the cluster has VolumeSnapshots: %w", err)
	}
	return true, nil
}

// toBeWorkedOn passes over the Backups that have ended and have nothing left to be
// done, of which there are many, and the statuses that this controller has written
// itself.
func (r *Reconciler) toBeWorkedOn() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			b, ok := e.Object.(*api.Backup)
			return !ok || b.DeletionTimestamp != nil || !b.IsImported() && (!Ended(b.Status.Phase) || r.unsettled(b))
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld, e.ObjectNew
			return was.GetUID() != is.GetUID() || was.GetGeneration() != is.GetGeneration() ||
				!was.GetDeletionTimestamp().Equal(is.GetDeletionTimestamp()) ||
				!equality.Semantic.DeepEqual(was.GetAnnotations(), is.GetAnnotations()) || !equality.Semantic.DeepEqual(was.GetLabels(), is.GetLabels())
		},
	}
}

// gone passes what waits for the end of an object.
func gone() predicate.Predicate {
	no := func(event.CreateEvent) bool { return false }
	return predicate.Funcs{CreateFunc: no, UpdateFunc: func(event.UpdateEvent) bool { return false }}
}

// storageSpoke passes a snapshot that became ready, failed, or is gone.
func storageSpoke() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false }, // each Backup is looked at when the controller starts
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, ok := e.ObjectOld.(*snapv1.VolumeSnapshot)
			is, too := e.ObjectNew.(*snapv1.VolumeSnapshot)
			return !ok || !too || said(was) != said(is)
		},
	}
}

func said(s *snapv1.VolumeSnapshot) (word struct{ ready, failed bool }) {
	if s.Status != nil {
		word.ready = s.Status.ReadyToUse != nil && *s.Status.ReadyToUse
		word.failed = s.Status.Error != nil
	}
	return word
}

// CacheOptions keep the watches small: of the cluster's pods and snapshots only those
// that the controller made, and of all objects only what the watches look at. What
// decides is read from the API server. There may be tens of thousands: every backup
// that is kept, and every volume of it. snapshots tells whether the cluster has the kind.
func CacheOptions(snapshots bool) cache.Options {
	exists, err := labels.NewRequirement(api.BackupUIDLabel, selection.Exists, nil)
	if err != nil {
		panic(err) // the label is a constant
	}
	ours := labels.NewSelector().Add(*exists)
	o := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:  {Label: ours},
			&api.Backup{}:  {Transform: slimBackup},
			&api.Restore{}: {Transform: slimRestore},
		},
	}
	if snapshots {
		o.ByObject[&snapv1.VolumeSnapshot{}] = cache.ByObject{Label: ours, Transform: slimSnapshot}
	}
	return o
}

func slimMeta(o metav1.Object) {
	o.SetManagedFields(nil)
	if a := o.GetAnnotations(); a["kubectl.kubernetes.io/last-applied-configuration"] != "" {
		delete(a, "kubectl.kubernetes.io/last-applied-configuration")
	}
}

// slimBackup keeps metadata, spec, and of the status the phase, what tells whether
// anything is left to be done after the cut, and what the metrics are made of.
func slimBackup(o any) (any, error) {
	if b, ok := o.(*api.Backup); ok {
		slimMeta(b)
		s := &b.Status
		slim := api.BackupStatus{Phase: s.Phase, Imported: s.Imported, CutTime: s.CutTime, CompletionTime: s.CompletionTime, DataBytes: s.DataBytes, StallMilliseconds: s.StallMilliseconds, LockedUntil: s.LockedUntil}
		if c := s.Catalog; c != nil {
			slim.Catalog = &api.CatalogStatus{URL: c.URL, Time: c.Time}
		}
		if v := s.Verified; v != nil {
			slim.Verified = &api.VerifiedBy{Time: v.Time, RestoreMilliseconds: v.RestoreMilliseconds}
		}
		for _, v := range s.Volumes { // one for all: only the sum is asked for
			if v.RestoreSize == nil {
				continue
			}
			if slim.Volumes == nil {
				slim.Volumes = []api.VolumeStatus{{RestoreSize: &resource.Quantity{Format: resource.BinarySI}}}
			}
			slim.Volumes[0].RestoreSize.Add(*v.RestoreSize)
		}
		for _, c := range b.Status.Conditions {
			if c.Type == api.ConditionReady || c.Type == api.ConditionVerified || c.Type == api.ConditionCataloged || b.Spec.EBS != nil && slices.Contains(aftercares, c.Type) {
				slim.Conditions = append(slim.Conditions, metav1.Condition{Type: c.Type, Status: c.Status, Reason: c.Reason})
			}
		}
		b.Status = slim
	}
	return o, nil
}

// slimRestore does so with a Restore.
func slimRestore(o any) (any, error) {
	if r, ok := o.(*api.Restore); ok {
		slimMeta(r)
		s := &r.Status
		slim := api.RestoreStatus{Phase: s.Phase, BackupUID: s.BackupUID, CompletionTime: s.CompletionTime}
		if d := s.Drill; d != nil {
			slim.Drill = &api.DrillStatus{RestoreMilliseconds: d.RestoreMilliseconds}
		}
		if c := meta.FindStatusCondition(s.Conditions, api.ConditionReady); c != nil {
			slim.Conditions = []metav1.Condition{{Type: c.Type, Status: c.Status, Reason: c.Reason}}
		}
		r.Status = slim
	}
	return o, nil
}

// slimSnapshot keeps whose a snapshot is and what the storage said.
func slimSnapshot(o any) (any, error) {
	s, ok := o.(*snapv1.VolumeSnapshot)
	if !ok {
		return o, nil
	}
	slim := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion,
		DeletionTimestamp: s.DeletionTimestamp, OwnerReferences: s.OwnerReferences}}
	word, yes := said(s), true
	slim.Status = &snapv1.VolumeSnapshotStatus{}
	if word.ready {
		slim.Status.ReadyToUse = &yes
	}
	if word.failed {
		slim.Status.Error = &snapv1.VolumeSnapshotError{}
	}
	return slim, nil
}
