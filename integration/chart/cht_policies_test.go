package chart

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// end is one end of a connection.
type end struct{ namespace, service, role string }

func (e end) labels() labels.Set {
	l := labels.Set{}
	if e.service != "" {
		l["cht.service"] = e.service
	}
	if e.role != "" {
		l["backup.communityhealthtoolkit.org/role"] = e.role
	}
	return l
}

// mayConnect is what NetworkPolicy says of a connection into the CHT's namespace: the
// policies that select a pod add up, and without one it is open.
func mayConnect(t *testing.T, r *Rendered, from end, to string, port int) bool {
	t.Helper()
	matches := func(s *metav1.LabelSelector, l labels.Set) bool {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		return selector.Matches(l)
	}
	selected := false
	for _, o := range r.Objects {
		if o.GetKind() != "NetworkPolicy" {
			continue
		}
		p := named(t, r, &networkingv1.NetworkPolicy{}, o.GetName())
		if !matches(&p.Spec.PodSelector, end{service: to}.labels()) {
			continue
		}
		selected = true
		for _, rule := range p.Spec.Ingress {
			open := len(rule.Ports) == 0
			for _, allowed := range rule.Ports {
				open = open || allowed.Port.IntValue() == port
			}
			if !open {
				continue
			}
			if len(rule.From) == 0 {
				return true
			}
			for _, peer := range rule.From {
				namespace := from.namespace == "clinic"
				if peer.NamespaceSelector != nil {
					namespace = matches(peer.NamespaceSelector, labels.Set{corev1.LabelMetadataName: from.namespace})
				}
				if namespace && (peer.PodSelector == nil || matches(peer.PodSelector, from.labels())) {
					return true
				}
			}
		}
	}
	return !selected
}

func TestNetworkPolicies(t *testing.T) {
	const on = "{couchdb: {nodes: 3}, networkPolicy: {enabled: true}, cht-backup: {enabled: true}}"
	in := func(service string) end { return end{namespace: "clinic", service: service} }
	backup, stranger := end{namespace: "clinic-backup"}, end{namespace: "other", service: "haproxy"}
	rendered := map[string]*Rendered{}
	for _, c := range []struct {
		values string
		from   end
		to     string
		port   int
		may    bool
	}{
		{on, in("haproxy"), "couchdb-2", 5984, true}, {on, in("healthcheck"), "couchdb-1", 5984, true}, {on, in("couchdb-1"), "couchdb-3", 9100, true},
		{on, in("couchdb-1"), "couchdb-3", 4369, true}, {on, in("couchdb-1"), "couchdb-1", 5987, true}, {on, backup, "couchdb-1", 5984, true},
		{on, backup, "couchdb-1", 4369, true}, {on, backup, "haproxy", 5984, true}, // with which the isolation of a clone is proved
		{on, end{namespace: "clinic", role: "replicate"}, "couchdb-1", 5984, true},
		{on, in("api"), "couchdb-1", 5984, false}, {on, in("haproxy"), "couchdb-1", 9100, false}, {on, stranger, "couchdb-1", 5984, false},
		{on, end{namespace: "clinic"}, "couchdb-1", 5984, false}, {on, backup, "couchdb-1", 9100, false}, {on, in("haproxy"), "couchdb-1", 5987, false},
		{on, in("api"), "haproxy", 5984, true}, {on, in("sentinel"), "haproxy", 5984, true}, {on, end{namespace: "clinic"}, "haproxy", 5984, false}, {on, stranger, "haproxy", 5984, false},
		{on, in("haproxy"), "healthcheck", 5555, true}, {on, in("api"), "healthcheck", 5555, false},
		{on, in("api"), "upgrade-service", 5008, true}, {on, in("sentinel"), "upgrade-service", 5008, false},
		{on, stranger, "api", 5988, true}, {on, stranger, "api", 9229, false}, {on, in("api"), "sentinel", 80, false},
		{"{networkPolicy: {enabled: true}, ingress: {type: nginx}}", stranger, "api", 5988, false},
		{"{networkPolicy: {enabled: true}, ingress: {type: nginx}}", in("nginx"), "api", 5988, true},
		{"{networkPolicy: {enabled: true}, ingress: {type: nginx}}", in("sentinel"), "api", 5988, true},
		{"{networkPolicy: {enabled: true}, ingress: {type: nginx}}", stranger, "nginx", 8443, true},
		{"{networkPolicy: {enabled: true, users: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: traefik}}}]}}", stranger, "api", 5988, false},
		{"{networkPolicy: {enabled: true, users: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: traefik}}}]}}", end{namespace: "traefik"}, "api", 5988, true},
		{"{networkPolicy: {enabled: true, users: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: traefik}}}]}}", in("sentinel"), "api", 5988, true},
		{"{networkPolicy: {enabled: true, users: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: lb}}}]}, ingress: {type: nginx}}", stranger, "nginx", 8443, false},
		{"{networkPolicy: {enabled: true, users: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: lb}}}]}, ingress: {type: nginx}}", end{namespace: "lb"}, "nginx", 8443, true},
		{"{networkPolicy: {enabled: true, users: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: lb}}}]}, ingress: {type: nginx}}", end{namespace: "lb"}, "api", 5988, false},
		{"{networkPolicy: {enabled: true, haproxyClients: [{podSelector: {}}]}}", end{namespace: "clinic"}, "haproxy", 5984, true},
		{"{networkPolicy: {enabled: true, couchdbClients: [{podSelector: {}}]}}", end{namespace: "clinic"}, "couchdb", 5984, true},
		{"{networkPolicy: {enabled: true, backupNamespaces: [tools]}}", end{namespace: "tools"}, "couchdb", 5984, true},
		{"{networkPolicy: {enabled: true, backupNamespaces: [tools]}, cht-backup: {enabled: true}}", backup, "couchdb", 5984, false},
		{"{networkPolicy: {enabled: true}, cht-backup: {enabled: false}}", end{namespace: "cht-backup-system"}, "couchdb", 5984, true},
		{"{networkPolicy: {enabled: true}}", in("haproxy"), "couchdb", 5984, true},
		{"", stranger, "couchdb", 5984, true},
	} {
		if rendered[c.values] == nil {
			rendered[c.values] = renderCHT(t, c.values)
		}
		if may := mayConnect(t, rendered[c.values], c.from, c.to, c.port); may != c.may {
			t.Errorf("%s: %+v to %s:%d is %v", c.values, c.from, c.to, c.port, may)
		}
	}
}
