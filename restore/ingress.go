package restore

import (
	"context"
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// hasIngress tells whether a restore makes the backup's ingresses: live, and a
// clone that has a host of its own.
func hasIngress(restore *api.Restore) bool {
	remap := restore.Spec.Remap
	return restore.Spec.GoLive || remap != nil && remap.Ingress != nil && remap.Ingress.Host != ""
}

const doorwayName = "cht-restore-ingress"

// openIngress lets a clone's ingress in: the isolation denies the ingress
// controller, which runs in another namespace or outside the cluster. Nothing
// more can go out than before.
func (r *Reconciler) openIngress(ctx context.Context, w *work) error {
	if !hasIngress(w.restore) {
		return nil
	}
	for _, policy := range doorways(w.restore, w.target) {
		if err := r.create(ctx, w.restore, policy); err != nil {
			return fmt.Errorf("create NetworkPolicy %s/%s: %w", policy.Namespace, policy.Name, err)
		}
	}
	return r.applyObjects(ctx, w.restore, w.target, true)
}

// doorways are NetworkPolicies that let traffic from anywhere to the ports of the
// pods that the ingresses lead to, one for each Service.
func doorways(restore *api.Restore, objects []*unstructured.Unstructured) []*networkingv1.NetworkPolicy {
	behind := map[string]bool{}
	for _, o := range objects {
		if o.GetKind() == "Ingress" {
			backends(o.Object["spec"], behind)
		}
	}
	var policies []*networkingv1.NetworkPolicy
	for _, o := range objects {
		if o.GetKind() != "Service" || !behind[o.GetName()] {
			continue
		}
		selector, found, _ := unstructured.NestedStringMap(o.Object, "spec", "selector")
		if !found || len(selector) == 0 {
			continue // it leads out of the cluster, or nowhere
		}
		ports := podPorts(o)
		if len(ports) == 0 {
			continue // a rule without ports would open all
		}
		policies = append(policies, &networkingv1.NetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: doorwayName + "-" + o.GetName(), Namespace: restore.Namespace, Labels: marks(restore, "")},
			Spec: networkingv1.NetworkPolicySpec{
				PodSelector: metav1.LabelSelector{MatchLabels: selector}, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
				Ingress: []networkingv1.NetworkPolicyIngressRule{{Ports: ports}},
			},
		})
	}
	return policies
}

// backends finds the Services that an ingress names, wherever it does.
func backends(v any, found map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			backends(one, found)
		}
	case map[string]any:
		if name, ok, _ := unstructured.NestedString(v, "service", "name"); ok {
			found[name] = true
		}
		for _, one := range v {
			backends(one, found)
		}
	}
}

// podPorts are the ports of the pods behind a Service.
func podPorts(service *unstructured.Unstructured) []networkingv1.NetworkPolicyPort {
	var ports []networkingv1.NetworkPolicyPort
	all, _, _ := unstructured.NestedSlice(service.Object, "spec", "ports")
	for _, one := range all {
		m, ok := one.(map[string]any)
		if !ok {
			continue
		}
		var port intstr.IntOrString
		switch target := m["targetPort"].(type) {
		case string:
			port = intstr.FromString(target)
		case int64:
			port = intstr.FromInt32(int32(target)) //nolint:gosec // a port
		default: // the API server puts the Service's own port there
			number, _ := m["port"].(int64)
			port = intstr.FromInt32(int32(number)) //nolint:gosec // a port
		}
		ports = append(ports, networkingv1.NetworkPolicyPort{Port: &port})
	}
	return ports
}

// cloneNote says what a clone lacks.
func cloneNote(restore *api.Restore) string {
	if hasIngress(restore) {
		return fmt.Sprintf("this is a clone: Sentinel stays at 0, and its ingress serves %s; restore with goLive to run it for real", restore.Spec.Remap.Ingress.Host)
	}
	return "this is a clone: Sentinel stays at 0 and no ingress was made; restore with goLive to run it for real"
}
