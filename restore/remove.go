package restore

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/paged"
)

// undo deletes everything this restore made, claims and volumes included. It is
// for a restore that did not complete.
func (r *Reconciler) undo(ctx context.Context, restore *api.Restore) error {
	switch {
	case restore.Spec.Database != nil:
		return r.undoDatabase(ctx, restore)
	case restore.Spec.Drill != nil:
		return r.dropDrill(ctx, restore)
	}
	selector := client.MatchingLabels(labels(restore, ""))
	for i := len(cht.ObjectKinds) - 1; i >= 0; i-- {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(cht.ObjectKinds[i].GroupVersion().WithKind(cht.ObjectKinds[i].Kind + "List"))
		if err := r.Client.List(ctx, list, client.InNamespace(restore.Namespace), selector); err != nil {
			return fmt.Errorf("list %s to undo: %w", cht.ObjectKinds[i].Kind, err)
		}
		for j := range list.Items {
			// In the background, so that pods go with their workloads.
			uid := list.Items[j].GetUID()
			if err := r.Client.Delete(ctx, &list.Items[j], client.PropagationPolicy("Background"), client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("delete %s %s/%s: %w", list.Items[j].GetKind(), restore.Namespace, list.Items[j].GetName(), err)
			}
		}
	}
	if err := r.dropImports(ctx, restore); err != nil {
		return err
	}
	if err := r.takeVolumes(ctx, restore); err != nil {
		return err
	}
	for _, o := range []client.Object{&corev1.PersistentVolumeClaim{}, &networkingv1.NetworkPolicy{}} {
		if err := r.Client.DeleteAllOf(ctx, o, client.InNamespace(restore.Namespace), selector); err != nil {
			return fmt.Errorf("delete %T of restore %s: %w", o, restore.Name, err)
		}
	}
	if err := r.sweepVolumes(ctx, restore); err != nil {
		return err
	}
	return r.dropStatic(ctx, restore)
}

// takeVolumes makes the volumes of the restore's claims go with them, whatever
// their class says: protected data does not linger.
func (r *Reconciler) takeVolumes(ctx context.Context, restore *api.Restore) error {
	var claims corev1.PersistentVolumeClaimList
	if err := r.Client.List(ctx, &claims, client.InNamespace(restore.Namespace), client.MatchingLabels(labels(restore, ""))); err != nil {
		return fmt.Errorf("list claims to undo: %w", err)
	}
	for _, claim := range claims.Items {
		if claim.Spec.VolumeName == "" {
			continue
		}
		var volume corev1.PersistentVolume
		if err := r.Client.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &volume); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("get volume %s: %w", claim.Spec.VolumeName, err)
		} else if err != nil || !boundTo(&volume, &claim) {
			continue // it serves another claim by now, or nobody
		}
		if err := r.deleteWithClaim(ctx, volume.Name); err != nil {
			return err
		}
	}
	return nil
}

// boundTo tells whether a volume names that very claim as its own.
func boundTo(volume *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	ref := volume.Spec.ClaimRef
	return ref != nil && ref.UID == claim.UID && ref.Namespace == claim.Namespace && ref.Name == claim.Name
}

// sweepVolumes makes the volumes go that bear the restore's mark and whose claim
// went before, by hand or with a policy of Retain.
func (r *Reconciler) sweepVolumes(ctx context.Context, restore *api.Restore) error {
	for volumes, err := range paged.Pages(ctx, r.Client, &corev1.PersistentVolumeList{}, client.MatchingLabels(labels(restore, ""))) {
		if err != nil {
			return fmt.Errorf("list volumes of restore %s/%s: %w", restore.Namespace, restore.Name, err)
		}
		for i := range volumes.Items {
			v := &volumes.Items[i]
			if v.Status.Phase != corev1.VolumeReleased || !lost(restore, v) {
				continue // a volume in use goes with its claim
			}
			if err := r.deleteWithClaim(ctx, v.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// lost tells whether a volume with the restore's mark is still the restore's: it
// served a claim of this namespace, and no restore in place has set it aside.
func lost(restore *api.Restore, v *corev1.PersistentVolume) bool {
	ref := v.Spec.ClaimRef
	return v.Labels[api.RestoreUIDLabel] == string(restore.UID) && v.Labels[api.SetAsideLabel] == "" && ref != nil && ref.Namespace == restore.Namespace
}

// remove serves the finalizer. Deleting a completed Restore leaves the instance
// it made, which somebody may be working with, unless its time is limited;
// deleting any other takes what it made along.
func (r *Reconciler) remove(ctx context.Context, restore *api.Restore) error {
	if !controllerutil.ContainsFinalizer(restore, api.Finalizer) {
		return nil
	}
	undo := r.undo
	switch {
	case restore.Status.Phase == api.PhaseCompleted && restore.Spec.TimeToLive == nil:
		undo = r.dropImports
	case !snapshot.Ended(restore.Status.Phase) && touched(restore):
		undo = func(ctx context.Context, restore *api.Restore) error {
			_, err := r.putAllBack(ctx, restore)
			return err
		}
	}
	if err := undo(ctx, restore); err != nil {
		return err
	}
	base := restore.DeepCopy()
	controllerutil.RemoveFinalizer(restore, api.Finalizer)
	if err := r.Client.Patch(ctx, restore, client.MergeFrom(base)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove finalizer of restore %s/%s: %w", restore.Namespace, restore.Name, err)
	}
	return nil
}
