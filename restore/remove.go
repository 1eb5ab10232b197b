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
)

// undo deletes everything this restore made, claims and volumes included. It is
// for a restore that did not complete.
func (r *Reconciler) undo(ctx context.Context, restore *api.Restore) error {
	selector := client.MatchingLabels(labels(restore, ""))
	for i := len(cht.ObjectKinds) - 1; i >= 0; i-- {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(cht.ObjectKinds[i].GroupVersion().WithKind(cht.ObjectKinds[i].Kind + "List"))
		if err := r.Client.List(ctx, list, client.InNamespace(restore.Namespace), selector); err != nil {
			return fmt.Errorf("list %s to undo: %w", cht.ObjectKinds[i].Kind, err)
		}
		for j := range list.Items {
			// In the background, so that pods go with their workloads.
			if err := r.Client.Delete(ctx, &list.Items[j], client.PropagationPolicy("Background")); client.IgnoreNotFound(err) != nil {
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
	return nil
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
		if err := r.deleteWithClaim(ctx, claim.Spec.VolumeName); err != nil {
			return err
		}
	}
	return nil
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
	case restore.Spec.InPlace != nil && !snapshot.Ended(restore.Status.Phase) && touches(restore.Status.Phase):
		undo = func(ctx context.Context, restore *api.Restore) error {
			_, err := r.returnAll(ctx, restore)
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
