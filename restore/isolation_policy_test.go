package restore

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The clone's walls: nothing goes out but questions for names, and to each other.
func TestIsolation(t *testing.T) {
	p := isolation(restoreOf(), home, resolvers{namespaces: []string{"dns"}, addresses: []string{"169.254.20.10", "fd00::a", "no address"}, ports: []int32{5353}}).Spec
	if len(p.PodSelector.MatchLabels)+len(p.PodSelector.MatchExpressions) != 0 {
		t.Error("not all pods are isolated")
	}
	if !slices.Contains(p.PolicyTypes, networkingv1.PolicyTypeEgress) || !slices.Contains(p.PolicyTypes, networkingv1.PolicyTypeIngress) {
		t.Errorf("policy types %v", p.PolicyTypes)
	}
	var open []string
	for _, rule := range p.Egress {
		if len(rule.To) == 0 {
			t.Error("a rule without peers lets everything out")
		}
		for _, to := range rule.To {
			if to.PodSelector != nil && to.NamespaceSelector == nil && to.IPBlock == nil {
				continue // within the namespace
			}
			if len(rule.Ports) == 0 {
				t.Errorf("all ports of %+v are open", to)
			}
			for _, port := range rule.Ports {
				if n := port.Port.IntValue(); n != 53 && n != 5353 || port.EndPort != nil {
					t.Errorf("port %v is open", port)
				}
			}
			switch {
			case to.IPBlock != nil:
				open = append(open, to.IPBlock.CIDR)
			case to.NamespaceSelector != nil:
				open = append(open, to.NamespaceSelector.MatchLabels[corev1.LabelMetadataName])
			}
		}
	}
	if got := strings.Join(open, " "); got != "kube-system dns 169.254.20.10/32 fd00::a/128" {
		t.Errorf("open are %s", got)
	}
}

func TestResolvers(t *testing.T) {
	const system = metav1.NamespaceSystem
	dns := func(namespace, name, ip string) *corev1.Service {
		s := serviceOf(namespace, name, "", ip, 53)
		s.Spec.Ports = []corev1.ServicePort{{Name: "dns", Port: 53}, {Name: "metrics", Port: 9153}}
		return s
	}
	leads := func(namespace, service string, port int32, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
		name, metrics, other := "dns", int32(9153), "metrics"
		return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}, {Name: &other, Port: &metrics}}, Endpoints: endpoints}
	}
	to := func(ip, pod string) discoveryv1.Endpoint {
		e := discoveryv1.Endpoint{Addresses: []string{ip}}
		if pod != "" {
			e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: pod}
		}
		return e
	}
	pod := func(namespace, name string, host bool) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.PodSpec{HostNetwork: host}}
	}
	for _, tt := range []struct {
		name        string
		nameservers []string
		objects     []client.Object
		want        string // namespaces; addresses; ports
	}{
		{"CoreDNS in pods", []string{"10.96.0.10"}, []client.Object{dns(system, "kube-dns", "10.96.0.10"), leads(system, "kube-dns", 53, to("10.1.0.5", "coredns")), pod(system, "coredns", false), serviceOf(system, "metrics", "", "10.96.0.7", 443)}, "; 10.96.0.10; "},
		{"a cache on each node", []string{"169.254.20.10"}, []client.Object{dns(system, "kube-dns", "10.96.0.10"), leads(system, "kube-dns", 53, to("10.1.0.5", "coredns")), pod(system, "coredns", false)}, "; 169.254.20.10 10.96.0.10; "},
		{"on the nodes' network", []string{"10.96.0.10"}, []client.Object{dns(system, "kube-dns", "10.96.0.10"), leads(system, "kube-dns", 53, to("192.168.0.1", "coredns")), pod(system, "coredns", true)}, "; 10.96.0.10 192.168.0.1; "},
		{"no pods at all, another port", []string{"10.96.0.10"}, []client.Object{dns(system, "kube-dns", "10.96.0.10"), leads(system, "kube-dns", 1053, to("192.168.0.1", ""))}, "; 10.96.0.10 192.168.0.1; 1053"},
		{"a namespace of its own, another port", []string{"172.30.0.10"}, []client.Object{dns("openshift-dns", "dns-default", "172.30.0.10"), leads("openshift-dns", "dns-default", 5353, to("10.1.0.5", "dns")), pod("openshift-dns", "dns", false)}, "openshift-dns; 172.30.0.10; 5353"},
		{"nothing known", nil, []client.Object{serviceOf("any", "any", "", "10.96.0.11", 53)}, "; ; "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.objects...)
			b.Nameservers = tt.nameservers
			found, err := b.resolvers(t.Context())
			var ports []string
			for _, p := range found.ports {
				ports = append(ports, strconv.Itoa(int(p)))
			}
			if got := strings.Join(found.namespaces, " ") + "; " + strings.Join(found.addresses, " ") + "; " + strings.Join(ports, " "); err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}
