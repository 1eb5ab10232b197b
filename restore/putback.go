package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/remap"
	"github.com/medic/cht-backup/snapshot/cht"
)

// backInPlace gives what a restore in place applies: the backup's templates with
// today's replicas, the backup's credentials, which are those on its volumes, and
// what the backup has and the namespace lacks. A workload that the backup does
// not know keeps its template. Ingresses stay as they are.
func backInPlace(restore *api.Restore, source, before []*unstructured.Unstructured) []*unstructured.Unstructured {
	type key struct{ kind, name string }
	today := map[key]*unstructured.Unstructured{}
	for _, o := range before {
		today[key{o.GetKind(), o.GetName()}] = o
	}
	var target []*unstructured.Unstructured
	for _, o := range restored(restore, source, newRewriter(restore.Namespace, restore.Namespace, source)) {
		if o.GetKind() == "Ingress" {
			continue
		}
		if isWorkload(o) {
			k := key{o.GetKind(), o.GetName()}
			if now := today[k]; now != nil {
				if _, given := remap.Replicas(restore.Spec.Remap, component(o)); !given {
					holdAt(o, replicasOf(now))
				}
				delete(today, k)
			}
			if cht.IsCouchDB(component(o)) {
				holdAt(o, 1) // also where CouchDB was stopped: there is no restore without it
			}
		}
		target = append(target, o)
	}
	for _, o := range held(before) {
		if today[key{o.GetKind(), o.GetName()}] != nil {
			target = append(target, o)
		}
	}
	return target
}

// held gives the workloads with what they shall have again, held at 0.
func held(before []*unstructured.Unstructured) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, o := range before {
		if isWorkload(o) {
			o = o.DeepCopy()
			holdAt(o, replicasOf(o))
			out = append(out, o)
		}
	}
	return out
}

// putBack applies them, every workload at 0.
func (r *Reconciler) putBack(ctx context.Context, w *work) error {
	if err := r.rotated(ctx, w); err != nil {
		return err
	}
	for _, o := range w.target {
		switch {
		case isWorkload(o):
			if err := r.putWorkload(ctx, w.restore, o, 0); err != nil {
				return err
			}
		case isCredentials(o):
			there, err := r.get(ctx, o)
			if err != nil {
				return err
			}
			if there == nil {
				err = r.Client.Create(ctx, o.DeepCopy())
			} else if !sameData(there, o) {
				err = r.replaceSecretData(ctx, o)
			}
			if err != nil {
				return fmt.Errorf("put secret %s/%s back: %w", o.GetNamespace(), o.GetName(), err)
			}
		default:
			if err := r.Client.Create(ctx, o.DeepCopy()); err != nil && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("create %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
			}
		}
	}
	return nil
}

// get gives the object of that kind and name as it is, or nil.
func (r *Reconciler) get(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	there := &unstructured.Unstructured{}
	there.SetGroupVersionKind(o.GroupVersionKind())
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(o), there)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
	}
	return there, nil
}

// putWorkload gives a workload the template of o and so many replicas, and makes
// it if it is not there.
func (r *Reconciler) putWorkload(ctx context.Context, restore *api.Restore, o *unstructured.Unstructured, replicas int64) error {
	there, err := r.get(ctx, o)
	if err != nil {
		return err
	}
	if there == nil {
		fresh := o.DeepCopy()
		if err := unstructured.SetNestedField(fresh.Object, replicas, "spec", "replicas"); err != nil {
			return err
		}
		if err := r.Client.Create(ctx, fresh); err != nil {
			return fmt.Errorf("create %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
		}
		return nil
	}
	template, _, err := unstructured.NestedMap(o.Object, "spec", "template")
	if err != nil {
		return err
	}
	changes := []map[string]any{{"op": "add", "path": "/spec/replicas", "value": replicas}}
	if !sameTemplate(there, o) {
		changes = append(changes, map[string]any{"op": "add", "path": "/spec/template", "value": template})
	}
	patch, err := json.Marshal(changes)
	if err != nil {
		return err
	}
	if err := r.Client.Patch(ctx, there, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return fmt.Errorf("change %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

func sameTemplate(a, b *unstructured.Unstructured) bool {
	x, _, _ := unstructured.NestedMap(a.Object, "spec", "template")
	y, _, _ := unstructured.NestedMap(b.Object, "spec", "template")
	return equality.Semantic.DeepEqual(x, y)
}

func sameData(a, b *unstructured.Unstructured) bool {
	x, _, _ := unstructured.NestedStringMap(a.Object, "data")
	y, _, _ := unstructured.NestedStringMap(b.Object, "data")
	return maps.Equal(x, y)
}

// startAgain brings up what uses CouchDB, in the opposite order of stopping.
func (r *Reconciler) startAgain(ctx context.Context, w *work) error {
	w.restore.Status.Served = true
	if err := r.save(ctx, w.restore); err != nil { // before the first write can come
		return err
	}
	return r.startUsers(ctx, w)
}

// startUsers brings up what uses CouchDB, and waits until it is ready.
func (r *Reconciler) startUsers(ctx context.Context, w *work) error {
	return oneTurn(ctx, func(ctx context.Context) error {
		if err := r.raiseUsers(ctx, w); err != nil {
			return err
		}
		return r.available(ctx, w)
	})
}

// raiseUsers scales it to what it shall have, the way to CouchDB first.
func (r *Reconciler) raiseUsers(ctx context.Context, w *work) error {
	for i := len(tiers) - 2; i >= 0; i-- {
		if err := r.scale(ctx, w.target, tiers[i].has, true); err != nil {
			return err
		}
	}
	return nil
}
