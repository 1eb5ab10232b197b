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
	for _, o := range []client.Object{&corev1.PersistentVolumeClaim{}, &networkingv1.NetworkPolicy{}} {
		if err := r.Client.DeleteAllOf(ctx, o, client.InNamespace(restore.Namespace), selector); err != nil {
			return fmt.Errorf("delete %T of restore %s: %w", o, restore.Name, err)
		}
	}
	return nil
}

// remove serves the finalizer. Deleting a completed Restore leaves the instance
// it made, which somebody may be working with; deleting any other takes what it
// made along.
func (r *Reconciler) remove(ctx context.Context, restore *api.Restore) error {
	if !controllerutil.ContainsFinalizer(restore, api.Finalizer) {
		return nil
	}
	undo := r.undo
	if restore.Status.Phase == api.PhaseCompleted {
		undo = r.dropImports
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
