package restore

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/probe"
	"github.com/medic/cht-backup/snapshot/cht"
)

// cloneOf gives the work of a clone of a CHT with these workloads beside CouchDB.
func cloneOf(t *testing.T, texts ...string) *work {
	t.Helper()
	objects := []*unstructured.Unstructured{object(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: cht-couchdb-1, namespace: cht}, spec: {template: {metadata: {labels: {cht.service: couchdb-1}}, spec: {}}}}`)}
	for _, text := range texts {
		objects = append(objects, object(t, text))
	}
	w := &work{restore: restoreOf(), record: recordOf(t, "u1"), source: objects}
	w.rewrite = newRewriter(source, target, objects)
	w.target = restored(w.restore, objects, w.rewrite)
	return w
}

func workload(kind, name, labels, spec string) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: %s, metadata: {name: %s, namespace: cht}, spec: {replicas: 1, template: {metadata: {labels: {%s}}, spec: {%s}}}}`, kind, name, labels, spec)
}

const theAPI = `cht.service: api, app: cht, tier: "web"`

func TestProbes(t *testing.T) {
	w := cloneOf(t,
		workload("Deployment", "cht-api", theAPI, `nodeSelector: {pool: cht}, serviceAccountName: web, tolerations: [{key: cht, operator: Exists}], affinity: {nodeAffinity: {}, podAntiAffinity: {}}, volumes: [{name: v, secret: {secretName: s}}]`),
		workload("Deployment", "cht-sentinel", "cht.service: sentinel", ""),
		workload("Deployment", "cht-haproxy", "cht.service: haproxy", ""),
		workload("StatefulSet", "redis", "app: redis", ""),
		workload("Deployment", "host", "app: host", "hostNetwork: true"),
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: stopped, namespace: cht}, spec: {replicas: 0, template: {metadata: {labels: {app: stopped}}, spec: {}}}}`,
	)
	targets := []probe.Target{{Kind: api.TargetOwn, Address: "10.0.0.1:5984"}, {Kind: api.TargetOutside, Address: "192.0.2.1:443"}}
	pods := map[string]*corev1.Pod{}
	for _, p := range w.probes("image", targets) {
		pods[p.Annotations[standsForAnnotation]] = p
	}
	if got := strings.Join(sortedKeys(pods), " "); got != "cht-api cht-haproxy redis" {
		t.Fatalf("probes of %s", got)
	}
	p := pods["cht-api"]
	for k, v := range map[string]string{cht.ServiceLabel: "api", "app": "cht", "tier": "web", api.RestoreUIDLabel: "restore-5", api.RoleLabel: roleProbe} {
		if p.Labels[k] != v {
			t.Errorf("label %s is %q, want %q", k, p.Labels[k], v)
		}
	}
	if _, found := p.Labels[api.NodeLabel]; found {
		t.Error("bears the label of a CouchDB node")
	}
	if got := strings.Join(p.Spec.Containers[0].Command, " "); got != "/cht-backup probe-isolation --target Own=10.0.0.1:5984 --target Outside=192.0.2.1:443" {
		t.Error(got)
	}
	if p.Namespace != target || p.Spec.NodeSelector["pool"] != "cht" || len(p.Spec.Tolerations) != 1 || p.Spec.Affinity == nil || p.Spec.Affinity.NodeAffinity == nil || p.Spec.Affinity.PodAntiAffinity != nil {
		t.Errorf("placed %+v", p.Spec)
	}
	// What must not come with the labels.
	if p.Spec.ServiceAccountName != "" || *p.Spec.AutomountServiceAccountToken || len(p.Spec.Volumes) != 0 || p.Spec.HostNetwork || len(p.Spec.Containers) != 1 {
		t.Errorf("has more than it needs: %+v", p.Spec)
	}
	s := p.Spec.Containers[0].SecurityContext
	if !*s.RunAsNonRoot || *s.AllowPrivilegeEscalation || len(s.Capabilities.Add) != 0 {
		t.Errorf("security context %+v", s)
	}
	// No Service finds it ready, no ReplicaSet adopts it, and it ends.
	if len(p.Spec.ReadinessGates) != 1 || p.Spec.ReadinessGates[0].ConditionType != neverReady {
		t.Errorf("readiness gates %v", p.Spec.ReadinessGates)
	}
	if len(p.OwnerReferences) != 1 || p.OwnerReferences[0].UID != "restore-5" || !*p.OwnerReferences[0].Controller {
		t.Errorf("owners %v", p.OwnerReferences)
	}
	if p.Spec.ActiveDeadlineSeconds == nil || p.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("deadline %v, restart %s", p.Spec.ActiveDeadlineSeconds, p.Spec.RestartPolicy)
	}
	if pods["cht-api"].Name == pods["redis"].Name {
		t.Error("two probes have one name")
	}

	for enforced, want := range map[bool]string{true: "cht-api cht-haproxy redis; held: host", false: "cht-haproxy; held: cht-api host redis"} {
		rise, held := w.parted(enforced)
		names := map[string]bool{}
		for _, o := range rise {
			names[o.GetName()] = true
		}
		if got := strings.Join(sortedKeys(names), " ") + "; held: " + strings.Join(sortedKeys(held), " "); got != want {
			t.Errorf("enforced %v: %s, want %s", enforced, got, want)
		}
		if !strings.Contains(held["host"], "node's network") {
			t.Errorf("held for %q", held["host"])
		}
	}
}

func TestProbesAreBounded(t *testing.T) {
	var many []string
	for i := range 2 * mostProbes {
		many = append(many, workload("Deployment", fmt.Sprintf("x-%02d", i), fmt.Sprintf("app: x-%d", i), ""))
	}
	w := cloneOf(t, many...)
	if n := len(w.probes("i", nil)); n != mostProbes {
		t.Errorf("%d probes", n)
	}
	rise, held := w.parted(true)
	if len(rise) != mostProbes || len(held) != mostProbes {
		t.Errorf("%d would start, %d are held: what is not probed must not start", len(rise), len(held))
	}
}

func TestOwnNode(t *testing.T) {
	pod := corev1.Pod{Status: corev1.PodStatus{HostIP: "192.168.0.1", HostIPs: []corev1.HostIP{{IP: "192.168.0.1"}, {IP: "fd00::1"}}}}
	for _, tt := range []struct {
		kind    api.TargetKind
		address string
		servers []string
		want    bool
	}{
		{api.TargetAPIServer, "192.168.0.1:6443", []string{"192.168.0.1"}, true},
		{api.TargetAPIServer, "[fd00::1]:6443", []string{"fd00::1"}, true},
		{api.TargetAPIServer, "192.168.0.2:6443", []string{"192.168.0.1", "192.168.0.2"}, false},
		{api.TargetAPIServer, "10.96.0.1:443", []string{"192.168.0.2", "192.168.0.1"}, true},
		{api.TargetAPIServer, "10.96.0.1:443", []string{"192.168.0.2"}, false},
		{api.TargetSource, "192.168.0.1:5984", nil, true},
		{api.TargetSource, "10.96.0.9:5984", []string{"192.168.0.1"}, false},
		{api.TargetOutside, "example.org:443", []string{"192.168.0.1"}, false},
	} {
		if got := ownNode(pod, probe.Target{Kind: tt.kind, Address: tt.address}, tt.servers); got != tt.want {
			t.Errorf("%s %s, servers %v: %v", tt.kind, tt.address, tt.servers, got)
		}
	}
	if ownNode(corev1.Pod{}, probe.Target{Address: ":1"}, nil) {
		t.Error("a pod without a node is on the node without an address")
	}
}
