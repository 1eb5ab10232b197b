package restore

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/paged"
)

const isolationName = "cht-restore-isolation"

// resolvers are those whom a clone may ask for names.
type resolvers struct {
	// namespaces of their pods, beside kube-system.
	namespaces []string
	// addresses of those that are no pods, or that are on their node's network, where
	// no selector finds them.
	addresses []string
	// ports beside 53, that a Service leads to.
	ports []int32
}

// isolation denies the namespace's pods everything but names and each other. The
// controller may come in: it verifies CouchDB.
func isolation(restore *api.Restore, controllerNamespace string, names resolvers) *networkingv1.NetworkPolicy {
	within := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}}
	namespace := func(name string) networkingv1.NetworkPolicyPeer {
		return networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: name}}}
	}
	dns := networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{namespace(metav1.NamespaceSystem)}}
	for _, name := range names.namespaces {
		dns.To = append(dns.To, namespace(name))
	}
	for _, a := range names.addresses {
		if ip, err := netip.ParseAddr(a); err == nil {
			dns.To = append(dns.To, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: netip.PrefixFrom(ip, ip.BitLen()).String()}})
		}
	}
	for _, number := range slices.Concat([]int32{53}, names.ports) {
		for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
			port := intstr.FromInt32(number)
			dns.Ports = append(dns.Ports, networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &port})
		}
	}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: isolationName, Namespace: restore.Namespace, Labels: marks(restore, "")},
		Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{within, namespace(controllerNamespace)}}},
			Egress:      []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{within}}, dns},
		},
	}
}

// resolvers finds whom pods ask for names here. Usually those are pods of
// kube-system at port 53; but a cache on each node has an address of its own, some
// run on their node's network, and a Service may lead to another port, which is the
// one that policies see. Without names a clone's CouchDB nodes do not find each
// other.
func (r *Reconciler) resolvers(ctx context.Context) (resolvers, error) {
	found := resolvers{addresses: slices.Clone(r.Nameservers)}
	var services corev1.ServiceList
	if err := paged.All(ctx, r.Client, &services); err != nil {
		return found, fmt.Errorf("look for the Service that resolves names: %w", err)
	}
	for _, s := range services.Items {
		named := s.Namespace == metav1.NamespaceSystem && s.Name == "kube-dns"
		if !named && !slices.ContainsFunc(clusterIPs(s), func(ip string) bool { return slices.Contains(r.Nameservers, ip) }) {
			continue
		}
		found.add(&found.addresses, clusterIPs(s)...)
		if s.Namespace != metav1.NamespaceSystem {
			found.add(&found.namespaces, s.Namespace)
		}
		if err := r.behind(ctx, s, &found); err != nil {
			return found, err
		}
	}
	return found, nil
}

// behind adds what a Service leads to.
func (r *Reconciler) behind(ctx context.Context, s corev1.Service, found *resolvers) error {
	var list discoveryv1.EndpointSliceList
	if err := r.Client.List(ctx, &list, client.InNamespace(s.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: s.Name}); err != nil {
		return fmt.Errorf("list what is behind Service %s/%s: %w", s.Namespace, s.Name, err)
	}
	resolves := map[string]bool{} // its other ports are for metrics
	for _, p := range s.Spec.Ports {
		resolves[p.Name] = p.Port == 53
	}
	for _, slice := range list.Items {
		for _, p := range slice.Ports {
			if p.Port != nil && *p.Port != 53 && resolves[deref(p.Name)] && !slices.Contains(found.ports, *p.Port) {
				found.ports = append(found.ports, *p.Port)
			}
		}
		for _, e := range slice.Endpoints {
			if ref := e.TargetRef; ref != nil && ref.Kind == "Pod" {
				var pod corev1.Pod
				if err := r.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: ref.Name}, &pod); client.IgnoreNotFound(err) != nil {
					return fmt.Errorf("get pod %s/%s, which resolves names: %w", s.Namespace, ref.Name, err)
				}
				if !pod.Spec.HostNetwork {
					continue // the selector finds it, whatever address it will have
				}
			}
			found.add(&found.addresses, e.Addresses...)
		}
	}
	return nil
}

func (*resolvers) add(to *[]string, texts ...string) {
	for _, text := range texts {
		if !slices.Contains(*to, text) {
			*to = append(*to, text)
		}
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
