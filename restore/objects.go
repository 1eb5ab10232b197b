package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/remap"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

// replicasAnnotation keeps how many replicas a workload had in the backup, while
// it is held at 0.
const replicasAnnotation = "backup.communityhealthtoolkit.org/replicas"

// decode gives stored objects.
func decode(stored []json.RawMessage) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for i, raw := range stored {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(raw); err != nil {
			return nil, fmt.Errorf("object %d: %w", i, err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// take takes over of a record's objects what a backup keeps, and as it keeps it. A record
// that came from a bucket may have more: bindings that let others in, tokens of accounts,
// objects with owners.
func (w *work) take(recorded []*unstructured.Unstructured) {
	for _, o := range recorded {
		if own, ok := cht.Own(o); ok {
			w.source = append(w.source, own)
		} else if slices.Contains(cht.ObjectKinds, o.GroupVersionKind()) {
			w.caution("%s %s of the backup is passed over: it is none that a backup keeps, since it is made by others or lets others in", o.GetKind(), o.GetName())
		}
	}
}

func isWorkload(o *unstructured.Unstructured) bool {
	return o.GetKind() == "Deployment" || o.GetKind() == "StatefulSet"
}

// component is the cht.service label of a workload's pods.
func component(o *unstructured.Unstructured) string {
	service, _, _ := unstructured.NestedString(o.Object, "spec", "template", "metadata", "labels", cht.ServiceLabel)
	return service
}

// restored gives the objects to apply, in order: rewritten, remapped, marked as
// this restore's, and every workload at 0. An ingress only when the instance goes
// live, or has a host of its own: otherwise its host is the source's.
func restored(restore *api.Restore, objects []*unstructured.Unstructured, rewrite rewriter) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, o := range remapped(restore, objects, rewrite).Objects {
		if o.GetKind() == "Ingress" && !hasIngress(restore) {
			continue
		}
		l := o.GetLabels()
		if l == nil {
			l = map[string]string{}
		}
		l[api.RestoreUIDLabel] = string(restore.UID)
		o.SetLabels(l)
		if isWorkload(o) {
			hold(o)
		}
		out = append(out, o)
	}
	return out
}

// remapped gives the objects in the order in which they are applied, rewritten for
// their namespace and changed as the restore's remap wants.
func remapped(restore *api.Restore, objects []*unstructured.Unstructured, rewrite rewriter) remap.Result {
	var ordered []*unstructured.Unstructured
	for _, kind := range cht.ObjectKinds {
		for _, o := range objects {
			if o.GroupVersionKind() == kind {
				ordered = append(ordered, rewrite.object(o))
			}
		}
	}
	return remap.Apply(restore.Spec.Remap, ordered)
}

// hold sets a workload to 0 and notes what it had.
func hold(o *unstructured.Unstructured) {
	holdAt(o, replicasOf(o))
}

// replicasOf gives a workload's replicas; 1 is what the API server puts where
// none are named.
func replicasOf(o *unstructured.Unstructured) int64 {
	replicas, found, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
	if !found {
		return 1
	}
	return replicas
}

// holdAt sets a workload to 0 and notes what it shall have.
func holdAt(o *unstructured.Unstructured, replicas int64) {
	a := o.GetAnnotations()
	if a == nil {
		a = map[string]string{}
	}
	a[replicasAnnotation] = strconv.FormatInt(replicas, 10)
	o.SetAnnotations(a)
	_ = unstructured.SetNestedField(o.Object, int64(0), "spec", "replicas")
}

// applyObjects creates all objects; those that this restore made before stay.
// Ingresses are left for the end.
func (r *Reconciler) applyObjects(ctx context.Context, restore *api.Restore, objects []*unstructured.Unstructured, ingresses bool) error {
	for _, o := range objects {
		if (o.GetKind() == "Ingress") != ingresses {
			continue
		}
		err := r.create(ctx, restore, o.DeepCopy())
		if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
			// A Role that grants more than the controller has, an admission rule: time
			// does not heal it.
			return reason.Refuse(api.ReasonObjectsFailed, "%s %s/%s of the backup is not accepted here: %w", o.GetKind(), restore.Namespace, o.GetName(), err)
		}
		if err != nil {
			return fmt.Errorf("create %s %s/%s: %w", o.GetKind(), restore.Namespace, o.GetName(), err)
		}
	}
	return nil
}

// heldAt is what a workload that is held at 0 shall have.
func heldAt(o *unstructured.Unstructured) int64 {
	replicas, _ := strconv.ParseInt(o.GetAnnotations()[replicasAnnotation], 10, 32)
	return replicas
}

// scale sets the workloads that want says to to what they had in the backup, or
// to 0.
func (r *Reconciler) scale(ctx context.Context, objects []*unstructured.Unstructured, want func(component string) bool, up bool) error {
	for _, o := range objects {
		if !isWorkload(o) || !want(component(o)) {
			continue
		}
		replicas := int64(0)
		if up {
			replicas = heldAt(o)
		}
		if err := r.scaleTo(ctx, o, replicas); err != nil {
			return err
		}
	}
	return nil
}
