package restore

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/cht"
)

// tier is components that stop together.
type tier struct {
	about string
	has   func(component string) bool
}

// tiers are the components in the order in which they stop, so that nothing is
// lost: those that write, while CouchDB still answers them; then the way to it;
// then CouchDB. They start in the opposite order.
var tiers = []tier{
	{"what uses CouchDB", func(c string) bool { return !inward[c] && !cht.IsCouchDB(c) }},
	{"the way to CouchDB", func(c string) bool { return inward[c] }},
	{"CouchDB", cht.IsCouchDB},
}

// stopping writes the instance down as it is, and stops it.
func (r *Reconciler) stopping(ctx context.Context, w *work) error {
	if err := r.saveBefore(ctx, w); err != nil {
		return err
	}
	return oneTurn(ctx, func(ctx context.Context) error { return r.stopAll(ctx, w) })
}

// stopAll scales every workload to 0, tier by tier, and ends when their pods and
// whatever else mounts CouchDB's claims are gone.
func (r *Reconciler) stopAll(ctx context.Context, w *work) error {
	workloads, err := r.workloads(ctx, w.restore.Namespace)
	if err != nil {
		return err
	}
	if err := r.stopTiers(ctx, w.restore, workloads, tiers); err != nil {
		return err
	}
	claims := map[string]bool{}
	for _, v := range w.restore.Status.Volumes {
		claims[v.Claim] = true
	}
	var pods corev1.PodList
	return await.List(ctx, r.Client, &pods, func() (string, error) {
		for _, pod := range pods.Items {
			for _, v := range pod.Spec.Volumes {
				if c := v.PersistentVolumeClaim; c != nil && claims[c.ClaimName] && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
					return fmt.Sprintf("the end of pod %s, which mounts claim %s; delete it if it is not of the CHT", pod.Name, c.ClaimName), nil
				}
			}
		}
		return "", nil
	}, client.InNamespace(w.restore.Namespace))
}

// stopTiers scales workloads to 0, one tier after the other.
func (r *Reconciler) stopTiers(ctx context.Context, restore *api.Restore, workloads []*unstructured.Unstructured, tiers []tier) error {
	for _, tier := range tiers {
		for _, o := range workloads {
			if tier.has(component(o)) {
				if err := r.scaleTo(ctx, o, 0); err != nil {
					return err
				}
			}
		}
		if err := r.podsGone(ctx, restore, tier.about, workloads, tier.has); err != nil {
			return err
		}
	}
	return nil
}

// workloads reads all workloads of a namespace but the product's own, which are
// not the instance's.
func (r *Reconciler) workloads(ctx context.Context, namespace string) ([]*unstructured.Unstructured, error) {
	all, err := cht.Objects(ctx, r.Client, namespace)
	if err != nil {
		return nil, err
	}
	var workloads []*unstructured.Unstructured
	for _, o := range all {
		if isWorkload(o) {
			workloads = append(workloads, o)
		}
	}
	return workloads, nil
}

// scaleTo sets a workload's replicas.
func (r *Reconciler) scaleTo(ctx context.Context, o *unstructured.Unstructured, replicas int64) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"replicas": replicas}})
	if err != nil {
		return err
	}
	target := &unstructured.Unstructured{}
	target.SetGroupVersionKind(o.GroupVersionKind())
	target.SetNamespace(o.GetNamespace())
	target.SetName(o.GetName())
	if err := r.Client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("scale %s %s/%s to %d: %w", o.GetKind(), o.GetNamespace(), o.GetName(), replicas, err)
	}
	return nil
}

// podsGone waits until no pod of a tier's workloads is left.
func (r *Reconciler) podsGone(ctx context.Context, restore *api.Restore, about string, workloads []*unstructured.Unstructured, has func(string) bool) error {
	var selectors []client.MatchingLabels
	for _, o := range workloads {
		if !has(component(o)) {
			continue
		}
		if l, found, err := unstructured.NestedStringMap(o.Object, "spec", "selector", "matchLabels"); err == nil && found && len(l) > 0 {
			selectors = append(selectors, l)
		}
	}
	var pods corev1.PodList
	return await.List(ctx, r.Client, &pods, func() (string, error) {
		for _, pod := range pods.Items {
			for _, selector := range selectors {
				if matches(pod.Labels, selector) && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
					return fmt.Sprintf("%s to stop (pod %s)", about, pod.Name), nil
				}
			}
		}
		return "", nil
	}, client.InNamespace(restore.Namespace))
}

func matches(labels, selector map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}
