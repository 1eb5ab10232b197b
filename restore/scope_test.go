package restore

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Every way in which a pod names what it needs, once.
const couchWithAll = `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: couch-3, namespace: cht}, spec: {replicas: 1, template: {metadata: {labels: {cht.service: couchdb-3}}, spec: {
  serviceAccountName: couch, imagePullSecrets: [{name: pull}],
  initContainers: [{name: i, envFrom: [{secretRef: {name: env-from}}, {configMapRef: {name: env-from-map}}]}],
  containers: [{name: c, env: [{name: A, valueFrom: {secretKeyRef: {name: env, key: k}}}, {name: B, valueFrom: {configMapKeyRef: {name: env-map, key: k}}}, {name: C, value: plain}]}],
  volumes: [{name: s, secret: {secretName: mounted}}, {name: m, configMap: {name: mounted-map}}, {name: e, emptyDir: {}},
    {name: p, projected: {sources: [{secret: {name: projected}}, {configMap: {name: projected-map}}]}}]}}}}`

func scopeObjects(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	objects := append(recorded(t), object(t, couchWithAll))
	named := func(kind string, names ...string) {
		for _, n := range names {
			objects = append(objects, object(t, `{apiVersion: v1, kind: `+kind+`, metadata: {name: `+n+`, namespace: cht}}`))
		}
	}
	named("Secret", "pull", "env-from", "env", "mounted", "projected", "account-pull", "api-tls", "couch")
	named("ConfigMap", "env-from-map", "env-map", "mounted-map", "projected-map", "api-config")
	service := func(name, selects, more string) {
		objects = append(objects, object(t, `{apiVersion: v1, kind: Service, metadata: {name: `+name+`, namespace: cht}, spec: {`+more+` selector: {cht.service: `+selects+`}}}`))
	}
	service("couchdb-3", "couchdb-3", "clusterIP: None,")
	service("nouveau-3", "couchdb-3", "")
	service("haproxy", "haproxy", "")
	service("open-to-the-world", "couchdb-3", "type: LoadBalancer,")
	service("open-on-nodes", "couchdb-3", "type: NodePort,")
	return append(objects,
		object(t, `{apiVersion: v1, kind: ServiceAccount, metadata: {name: couch, namespace: cht}, imagePullSecrets: [{name: account-pull}]}`),
		object(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: deployment-manager, namespace: cht}}`),
		object(t, `{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: api, namespace: cht}}`))
}

func TestScoped(t *testing.T) {
	objects := scopeObjects(t)
	for scope, want := range map[api.Scope][]string{
		api.ScopeCouchDB: {"Deployment/cht-couchdb-1", "Deployment/cht-couchdb-2", "StatefulSet/couch-3", "Secret/cht-couchdb-credentials", "ServiceAccount/couch",
			"Secret/pull", "Secret/env-from", "Secret/env", "Secret/mounted", "Secret/projected", "Secret/account-pull",
			"ConfigMap/env-from-map", "ConfigMap/env-map", "ConfigMap/mounted-map", "ConfigMap/projected-map", "Service/couchdb-3", "Service/nouveau-3",
			"Service/open-to-the-world", "Service/open-on-nodes"},
		api.ScopeInstance: keys(objects),
		"":                keys(objects),
	} {
		kept, err := scoped(scope, objects)
		got := keys(kept)
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("scope %q: %v\ngot  %s\nwant %s", scope, err, strings.Join(got, " "), strings.Join(want, " "))
		}
	}
}

func keys(objects []*unstructured.Unstructured) (all []string) {
	for _, o := range objects {
		all = append(all, objectKey(o.GetKind(), o.GetName()))
	}
	return all
}

// Scope CouchDB ends with the verification: there is nothing to start.
func TestStepsOfScope(t *testing.T) {
	all, couch := Steps(api.RestoreSpec{Scope: api.ScopeInstance}), Steps(api.RestoreSpec{Scope: api.ScopeCouchDB})
	if !slices.Equal(couch, all[:len(all)-1]) || all[len(all)-1] != api.PhaseStarting {
		t.Errorf("%v and %v", all, couch)
	}
}

// What is applied, from the record on.
func TestLoadScope(t *testing.T) {
	restore := restoreOf(phase(api.PhaseObjects), func(r *api.Restore) { r.Spec.Scope = api.ScopeCouchDB })
	b := newBench(t, restore)
	b.put("u1", target)
	w, err := b.load(t.Context(), restore)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(keys(w.target), " "); got != "Secret/cht-couchdb-credentials Deployment/cht-couchdb-1 Deployment/cht-couchdb-2" || len(w.source) != len(recorded(t))-1 { // all but the CronJob
		t.Errorf("applied are %s, of %d", got, len(w.source))
	}
}

// A clone's Services are not reachable from outside the cluster.
func TestClosed(t *testing.T) {
	for text, want := range map[string]string{
		`{type: LoadBalancer, externalTrafficPolicy: Local, loadBalancerIP: 192.0.2.1, loadBalancerClass: x, allocateLoadBalancerNodePorts: false, loadBalancerSourceRanges: [192.0.2.0/24], ports: [{port: 1}]}`: `{type: ClusterIP, ports: [{port: 1}]}`,
		`{type: NodePort, externalTrafficPolicy: Cluster, ports: [{port: 1}]}`: `{type: ClusterIP, ports: [{port: 1}]}`,
		`{type: ClusterIP, externalIPs: [192.0.2.1], ports: [{port: 1}]}`:      `{type: ClusterIP, ports: [{port: 1}]}`,
		`{clusterIP: None, ports: [{port: 1}]}`:                                `{clusterIP: None, ports: [{port: 1}]}`,
	} {
		service := func(spec string) *unstructured.Unstructured {
			return object(t, `{apiVersion: v1, kind: Service, metadata: {name: s}, spec: `+spec+`}`)
		}
		in := service(text)
		if got := closed([]*unstructured.Unstructured{in}); !equality.Semantic.DeepEqual(got[0].Object, service(want).Object) || !equality.Semantic.DeepEqual(in.Object, service(text).Object) {
			t.Errorf("%s becomes %v", text, got[0].Object["spec"])
		}
	}
}
