package restore

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/klog/v2"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/paged"
	"github.com/medic/cht-backup/snapshot/reason"
)

// placed refuses where a workload's pods could not be put on any node: they would
// be pending until the step's time is over, with the volumes made.
func (r *Reconciler) placed(ctx context.Context, w *work) error {
	var list corev1.NodeList
	if err := paged.All(ctx, r.Client, &list); err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	nodes := list.Items
	if given := w.restore.Spec.Remap; given != nil && given.Zone != "" {
		var zones []string
		for _, n := range nodes {
			if zone := n.Labels[corev1.LabelTopologyZone]; zone != "" && !slices.Contains(zones, zone) {
				zones = append(zones, zone)
			}
		}
		if !slices.Contains(zones, given.Zone) {
			return reason.Refuse(api.ReasonNodeUnavailable, "no node of this cluster is in zone %s (spec.remap.zone); there are nodes in: %s. Choose one with --zone", given.Zone, joined(zones))
		}
	}
	for _, o := range w.target {
		if !isWorkload(o) || heldAt(o) == 0 || !w.starts(component(o)) || !w.has(o) {
			continue
		}
		raw, _, _ := unstructured.NestedMap(o.Object, "spec", "template", "spec")
		var spec corev1.PodSpec
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &spec); err != nil {
			return reason.Refuse(api.ReasonObjectsFailed, "%s %s of the backup has a pod template that cannot be read: %w", o.GetKind(), o.GetName(), err)
		}
		if err := somewhere(o, spec, nodes); err != nil {
			return err
		}
	}
	return nil
}

// starts tells whether the restore brings a component up.
func (w *work) starts(component string) bool {
	return !w.isClone() || component != "sentinel"
}

// isClone tells whether the restored instance must not reach anybody.
func (w *work) isClone() bool { return !w.restore.Spec.GoLive && w.restore.Spec.InPlace == nil }

// has tells whether an object is of the backup. In place there are others too,
// which stay as they are.
func (w *work) has(o *unstructured.Unstructured) bool {
	return slices.ContainsFunc(w.source, func(s *unstructured.Unstructured) bool {
		return s.GetKind() == o.GetKind() && s.GetName() == o.GetName()
	})
}

// somewhere refuses unless there is a node that a workload's pods fit and whose
// taints they tolerate.
func somewhere(o *unstructured.Unstructured, spec corev1.PodSpec, nodes []corev1.Node) error {
	tainted := ""
	for i := range nodes {
		if !selected(spec, &nodes[i]) {
			continue
		}
		taint := untolerated(spec.Tolerations, nodes[i].Spec.Taints)
		if taint == nil {
			return nil
		}
		tainted = fmt.Sprintf("%s has %s", nodes[i].Name, taint.ToString())
	}
	what := "of this cluster"
	if len(spec.NodeSelector) > 0 {
		what = "with " + k8slabels.FormatLabels(spec.NodeSelector)
	}
	if spec.Affinity != nil && spec.Affinity.NodeAffinity != nil && spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		what += " that its nodeAffinity takes"
	}
	if tainted != "" {
		return reason.Refuse(api.ReasonNodeUnavailable, "%s %s could not run: every node %s has a taint that it does not tolerate (%s). Remap its tolerations (spec.remap.tolerations, --toleration) or choose other nodes (--node-selector)",
			o.GetKind(), o.GetName(), what, tainted)
	}
	hint := ""
	if spec.NodeSelector[corev1.LabelHostname] != "" {
		hint = ": that name is of a node of the source"
	}
	return reason.Refuse(api.ReasonNodeUnavailable, "%s %s could not run: there is no node %s%s. Choose others with --node-selector (spec.remap.nodeSelector; an empty one removes it) or, for CouchDB, --zone",
		o.GetKind(), o.GetName(), what, hint)
}

// selected tells whether a pod's node selector and its required node affinity take
// a node.
func selected(spec corev1.PodSpec, node *corev1.Node) bool {
	for k, v := range spec.NodeSelector {
		if have, ok := node.Labels[k]; !ok || have != v {
			return false
		}
	}
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil || spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	return slices.ContainsFunc(spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
		return len(term.MatchExpressions)+len(term.MatchFields) > 0 && // an empty term takes none
			all(term.MatchExpressions, node.Labels) && all(term.MatchFields, map[string]string{"metadata.name": node.Name})
	})
}

var operators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn, corev1.NodeSelectorOpExists: selection.Exists,
	corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist, corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
}

func all(requirements []corev1.NodeSelectorRequirement, have map[string]string) bool {
	for _, one := range requirements {
		r, err := k8slabels.NewRequirement(one.Key, operators[one.Operator], one.Values)
		if err != nil || !r.Matches(k8slabels.Set(have)) {
			return false
		}
	}
	return true
}

// untolerated is the first taint that keeps a pod off a node.
func untolerated(tolerations []corev1.Toleration, taints []corev1.Taint) *corev1.Taint {
	for i := range taints {
		taint := &taints[i]
		if taint.Effect == corev1.TaintEffectPreferNoSchedule {
			continue
		}
		if !slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool { return t.ToleratesTaint(klog.Background(), taint, false) }) {
			return taint
		}
	}
	return nil
}
