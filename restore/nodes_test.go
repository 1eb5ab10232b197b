package restore

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

func TestSomewhere(t *testing.T) {
	node := func(name string, labels map[string]string, taints ...corev1.Taint) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: corev1.NodeSpec{Taints: taints}}
	}
	hard := corev1.Taint{Key: "dedicated", Value: "db", Effect: corev1.TaintEffectNoSchedule}
	soft := corev1.Taint{Key: "old", Effect: corev1.TaintEffectPreferNoSchedule}
	out := corev1.Taint{Key: "node.kubernetes.io/unschedulable", Effect: corev1.TaintEffectNoSchedule}
	nodes := []corev1.Node{node("a", map[string]string{"zone": "z1", "size": "8"}), node("b", map[string]string{"zone": "z2", "disk": "ssd", "size": "16"}, hard), node("c", map[string]string{"zone": "z3"}, soft), node("d", map[string]string{"zone": "z4"}, out)}
	term := func(key string, op corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}}
	}
	affine := func(terms ...corev1.NodeSelectorTerm) corev1.PodSpec {
		return corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}}}
	}
	selecting := func(k, v string, tolerations ...corev1.Toleration) corev1.PodSpec {
		return corev1.PodSpec{NodeSelector: map[string]string{k: v}, Tolerations: tolerations}
	}
	for _, tt := range []struct {
		name string
		spec corev1.PodSpec
		says []string // nil: it runs somewhere
	}{
		{"anywhere", corev1.PodSpec{}, nil},
		{"selected", selecting("zone", "z1"), nil},
		{"a taint that only asks", selecting("zone", "z3"), nil},
		{"no such label", selecting("zone", "z9"), []string{"no node with zone=z9", "--node-selector"}},
		{"the node of the source", selecting(corev1.LabelHostname, "ip-10-0-0-1"), []string{"node of the source"}},
		{"a taint", selecting("disk", "ssd"), []string{"every node with disk=ssd", "b has dedicated=db:NoSchedule", "--toleration"}},
		{"a taint, tolerated", selecting("disk", "ssd", corev1.Toleration{Key: "dedicated", Operator: corev1.TolerationOpExists}), nil},
		{"a taint, tolerated with another value", selecting("disk", "ssd", corev1.Toleration{Key: "dedicated", Value: "web"}), []string{"dedicated=db:NoSchedule"}},
		{"a taint, all tolerated", selecting("disk", "ssd", corev1.Toleration{Operator: corev1.TolerationOpExists}), nil},
		{"cordoned", selecting("zone", "z4"), []string{"unschedulable"}},
		{"affine", affine(term("zone", corev1.NodeSelectorOpIn, "z9", "z1")), nil},
		{"affine to any of two", affine(term("zone", corev1.NodeSelectorOpIn, "z9"), term("size", corev1.NodeSelectorOpLt, "10")), nil},
		{"affine to none", affine(term("zone", corev1.NodeSelectorOpIn, "z9")), []string{"nodeAffinity takes"}},
		{"affine to an empty term", affine(corev1.NodeSelectorTerm{}), []string{"nodeAffinity takes"}},
		{"affine by the node's name", affine(corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}}}}), nil},
		{"affine to what is too large", affine(term("size", corev1.NodeSelectorOpGt, "100")), []string{"nodeAffinity takes"}},
	} {
		o := &unstructured.Unstructured{Object: map[string]any{"kind": "Deployment", "metadata": map[string]any{"name": "cht-couchdb"}}}
		err := somewhere(o, tt.spec, nodes)
		if e := reason.Of(err); (err == nil) != (tt.says == nil) || err != nil && (e == nil || e.Reason != api.ReasonNodeUnavailable) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, word := range tt.says {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: no %q in: %v", tt.name, word, err)
			}
		}
	}
}
