package restore

import (
	"context"
	"fmt"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/status"
)

// expires tells whether a clock may remove what a restore made. The API server
// refuses timeToLive on anything that is live; a live instance is not removed
// even if such an object came to be.
func expires(spec api.RestoreSpec) bool {
	return spec.TimeToLive != nil && spec.InPlace == nil && spec.Database == nil && spec.Drill == nil && !spec.GoLive
}

// setExpiration notes when a clone that has ended is removed.
func setExpiration(restore *api.Restore) {
	restore.Status.ExpirationTime = nil
	if expires(restore.Spec) && restore.Status.CompletionTime != nil {
		// The API server keeps whole seconds; never early.
		at := metav1.NewTime(restore.Status.CompletionTime.Add(restore.Spec.TimeToLive.Duration + time.Second - 1).Truncate(time.Second))
		restore.Status.ExpirationTime = &at
	}
}

// expire looks after a restore that has ended: it follows a changed timeToLive,
// and begins to remove a clone whose time is over. That is written down before
// anything is touched, so that a later extension cannot leave half a clone.
func (r *Reconciler) expire(ctx context.Context, restore *api.Restore) (ctrl.Result, error) {
	if restore.Status.Phase == api.PhaseExpired {
		return ctrl.Result{}, nil
	}
	was, after := restore.DeepCopy(), time.Duration(0)
	setExpiration(restore)
	restore.Status.ObservedGeneration = restore.Generation
	if at := restore.Status.ExpirationTime; at != nil {
		if after = at.Sub(r.Now()); after <= 0 {
			after = time.Millisecond
			r.enter(restore, api.PhaseExpiring, fmt.Sprintf("the clone's time was over at %s; removing it with its volumes", at.UTC().Format(time.RFC3339)))
		}
	}
	if !equality.Semantic.DeepEqual(was.Status, restore.Status) {
		if err := r.save(ctx, restore); err != nil {
			return ctrl.Result{}, err
		}
		r.tell(ctx, was, restore)
	}
	return ctrl.Result{RequeueAfter: after}, nil
}

// expiring removes a clone: what bears the restore's mark, then the namespace, if
// it was created for the restore and nothing else is in it.
func (r *Reconciler) expiring(ctx context.Context, restore *api.Restore) error {
	if err := r.undo(ctx, restore); err != nil {
		return err
	}
	if err := oneTurn(ctx, func(ctx context.Context) error { return r.allGone(ctx, restore) }); err != nil {
		return err
	}
	said, err := r.removeNamespace(ctx, restore)
	if err != nil {
		return err
	}
	now := metav1.NewMicroTime(r.Now())
	restore.Status.Phase, restore.Status.PhaseTime = api.PhaseExpired, &now
	message := "the clone's time was over; it was removed with its volumes"
	if said != "" {
		message += "; " + said
		restore.Status.Notes = append(restore.Status.Notes, said)
	}
	status.Set(restore, &restore.Status.Conditions, metav1.ConditionFalse, api.ReasonExpired, message)
	return nil
}

// allGone waits until the claims, the imported contents and the volumes are gone:
// until then their data lingers.
func (r *Reconciler) allGone(ctx context.Context, restore *api.Restore) error {
	mine := client.MatchingLabels(labels(restore, ""))
	var claims corev1.PersistentVolumeClaimList
	if err := await.List(ctx, r.Client, &claims, func() (string, error) {
		if len(claims.Items) > 0 {
			return fmt.Sprintf("the end of claim %s, which a pod may still use", claims.Items[0].Name), nil
		}
		return "", nil
	}, client.InNamespace(restore.Namespace), mine); err != nil {
		return err
	}
	kinds, err := r.snapshotKinds(ctx)
	if err != nil {
		return err
	}
	var contents snapv1.VolumeSnapshotContentList
	if kinds {
		if err := await.List(ctx, r.Client, &contents, func() (string, error) {
			if len(contents.Items) > 0 {
				return fmt.Sprintf("the end of the imported VolumeSnapshotContent %s", contents.Items[0].Name), nil
			}
			return "", nil
		}, mine); err != nil {
			return err
		}
	}
	// Those that became Released after undo looked.
	if err := r.sweepVolumes(ctx, restore); err != nil {
		return err
	}
	var volumes corev1.PersistentVolumeList
	if err := await.List(ctx, r.Client, &volumes, func() (string, error) {
		for i := range volumes.Items {
			v := &volumes.Items[i]
			if wait, err := r.stillOurs(ctx, restore, v); err != nil {
				return "", err
			} else if wait {
				return fmt.Sprintf("volume %s to be deleted by its driver (it is %s; see `kubectl describe pv %s`)", v.Name, v.Status.Phase, v.Name), nil
			}
		}
		return "", nil
	}, mine); err != nil {
		return err
	}
	return r.dropStatic(ctx, restore)
}

// stillOurs tells whether a volume shall go and has not gone yet. All claims of
// the restore are gone: a claim that has the volume now is somebody else's.
func (r *Reconciler) stillOurs(ctx context.Context, restore *api.Restore, v *corev1.PersistentVolume) (bool, error) {
	if !lost(restore, v) {
		return false, nil
	}
	var claim corev1.PersistentVolumeClaim
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: v.Spec.ClaimRef.Namespace, Name: v.Spec.ClaimRef.Name}, &claim)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("get claim %s/%s of volume %s: %w", v.Spec.ClaimRef.Namespace, v.Spec.ClaimRef.Name, v.Name, err)
	}
	return err != nil || !boundTo(v, &claim), nil
}
