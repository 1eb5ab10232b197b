package cht

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func TestClean(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"what the cluster wrote", `
kind: Deployment
metadata: {name: d, namespace: n, uid: u, resourceVersion: "7", generation: 3, creationTimestamp: x, selfLink: s, finalizers: [f], managedFields: [{manager: m}],
  annotations: {kubectl.kubernetes.io/last-applied-configuration: big, deployment.kubernetes.io/revision: "4", meta.helm.sh/release-name: cht},
  labels: {backup.communityhealthtoolkit.org/restore-uid: old, app: cht}}
spec: {replicas: 1}
status: {readyReplicas: 1}`, `
kind: Deployment
metadata: {name: d, namespace: n, annotations: {meta.helm.sh/release-name: cht}, labels: {app: cht}}
spec: {replicas: 1}`},
		{"nothing but the cluster's annotations", `
kind: ConfigMap
metadata: {name: c, annotations: {kubectl.kubernetes.io/last-applied-configuration: big}}`, `
kind: ConfigMap
metadata: {name: c}`},
		{"a service's addresses", `
kind: Service
metadata: {name: s}
spec: {clusterIP: 10.1.2.3, clusterIPs: [10.1.2.3], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, internalTrafficPolicy: Cluster, healthCheckNodePort: 30001,
  ports: [{name: http, port: 5984, nodePort: 30123}, {name: epmd, port: 4369}], selector: {a: b}}`, `
kind: Service
metadata: {name: s}
spec: {ports: [{name: http, port: 5984}, {name: epmd, port: 4369}], selector: {a: b}}`},
		{"a headless service stays headless", `
kind: Service
metadata: {name: s}
spec: {clusterIP: None, clusterIPs: [None]}`, `
kind: Service
metadata: {name: s}
spec: {clusterIP: None, clusterIPs: [None]}`},
		{"who is let in beside the instance's own account", `
kind: RoleBinding
metadata: {name: r, namespace: cht}
roleRef: {kind: Role, name: r}
subjects: [{kind: User, name: u}, {kind: ServiceAccount, name: a, namespace: cht}, {kind: ServiceAccount, name: a, namespace: other}, {kind: Group, name: system:authenticated}, {kind: ServiceAccount, name: b}]`, `
kind: RoleBinding
metadata: {name: r, namespace: cht}
roleRef: {kind: Role, name: r}
subjects: [{kind: ServiceAccount, name: a, namespace: cht}, {kind: ServiceAccount, name: b}]`},
		{"a service account's tokens", `
kind: ServiceAccount
metadata: {name: a}
imagePullSecrets: [{name: reg}]
secrets: [{name: token-x}]`, `
kind: ServiceAccount
metadata: {name: a}
imagePullSecrets: [{name: reg}]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := parse(t, tt.in)
			before := o.DeepCopy()
			got, _ := yaml.Marshal(clean(o).Object)
			want, _ := yaml.Marshal(parse(t, tt.want).Object)
			if string(got) != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if fmt.Sprint(before.Object) != fmt.Sprint(o.Object) {
				t.Error("its input was changed")
			}
		})
	}
}

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestObjects(t *testing.T) {
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Namespace: ns} }
	owned := meta("owned")
	owned.OwnerReferences = []metav1.OwnerReference{{Kind: "Certificate", Name: "c", UID: "u"}}
	elsewhere := meta("elsewhere")
	elsewhere.Namespace = "other"
	ours := func(name string, labels map[string]string) metav1.ObjectMeta {
		m := meta(name)
		m.Labels = labels
		return m
	}
	product := map[string]string{"app.kubernetes.io/name": "cht-backup", "app.kubernetes.io/instance": "medic"}
	mine := []client.Object{
		&corev1.Secret{ObjectMeta: meta(CredentialsSecret), Type: corev1.SecretTypeOpaque},
		&corev1.ConfigMap{ObjectMeta: meta("couchdb-servers-configmap")},
		&corev1.ServiceAccount{ObjectMeta: meta("cht-upgrade-service-user")},
		&rbacv1.Role{ObjectMeta: meta("deployment-manager")},
		&rbacv1.RoleBinding{ObjectMeta: meta("deployment-manager"), Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "cht-upgrade-service-user", Namespace: ns}}},
		&corev1.Service{ObjectMeta: meta("haproxy")},
		&appsv1.Deployment{ObjectMeta: meta("cht-api")},
		&networkingv1.Ingress{ObjectMeta: meta("api-ingress")},
	}
	others := []client.Object{
		&corev1.Secret{ObjectMeta: meta("token"), Type: corev1.SecretTypeServiceAccountToken},
		&corev1.Secret{ObjectMeta: meta("sh.helm.release.v1.cht.v1"), Type: "helm.sh/release.v1"},
		&corev1.Secret{ObjectMeta: owned},
		&corev1.ConfigMap{ObjectMeta: meta("kube-root-ca.crt")},
		&corev1.ServiceAccount{ObjectMeta: meta("default")},
		&corev1.Pod{ObjectMeta: meta("cht-api-x")},
		&corev1.PersistentVolumeClaim{ObjectMeta: meta("couchdb-claim0")},
		&corev1.Service{ObjectMeta: elsewhere},
		// Who is let in is the namespace's, not the instance's.
		&rbacv1.RoleBinding{ObjectMeta: meta("people"), Subjects: []rbacv1.Subject{{Kind: "User", Name: "u"}, {Kind: "Group", Name: "g"}}},
		&rbacv1.RoleBinding{ObjectMeta: meta("robot"), Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "deployer", Namespace: "ci"}}},
		&rbacv1.RoleBinding{ObjectMeta: meta("deployer"), RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "admin"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "deployer", Namespace: ns}}},
		&rbacv1.RoleBinding{ObjectMeta: meta("nobody")},
		// A controller in the instance's own namespace, and the records that it keeps.
		&appsv1.Deployment{ObjectMeta: ours("medic-cht-backup", product)},
		&corev1.ServiceAccount{ObjectMeta: ours("medic-cht-backup", product)},
		&rbacv1.RoleBinding{ObjectMeta: ours("medic-cht-backup", product)},
		&corev1.Secret{ObjectMeta: ours("cht-backup-record-1", map[string]string{api.BackupUIDLabel: "u"})},
	}
	c := fake.NewClientBuilder().WithObjects(append(slices.Clone(others), mine...)...).Build()
	objects, err := Objects(t.Context(), c, ns)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		got = append(got, o.GetKind()+"/"+o.GetName())
		if o.GetResourceVersion() != "" || o.GetAPIVersion() == "" {
			t.Errorf("%s is not clean, or has no version: %v", o.GetName(), o.Object)
		}
	}
	// In the order of ObjectKinds: what a workload needs comes before it.
	want := []string{"ServiceAccount/cht-upgrade-service-user", "Secret/" + CredentialsSecret, "ConfigMap/couchdb-servers-configmap", "Role/deployment-manager",
		"RoleBinding/deployment-manager", "Service/haproxy", "Deployment/cht-api", "Ingress/api-ingress"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), strings.Join(want, " "))
	}
}

// Load gives Discover what a real API server has.
func TestLoad(t *testing.T) {
	inv := instance(3)
	var objects []client.Object
	for i := range inv.Pods {
		objects = append(objects, &inv.Pods[i])
	}
	for i := range inv.Deployments {
		objects = append(objects, &inv.Deployments[i])
	}
	for name, c := range inv.Claims {
		c.Name, c.Namespace = name, ns
		objects = append(objects, &c)
	}
	for _, v := range inv.Volumes {
		objects = append(objects, &v)
	}
	unbound := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: ns}}
	foreign := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "other", Labels: map[string]string{ServiceLabel: "couchdb-4"}}}
	inv.Credentials.Name, inv.Credentials.Namespace = CredentialsSecret, ns
	c := fake.NewClientBuilder().WithObjects(append(objects, unbound, foreign, inv.Credentials)...).Build()
	loaded, err := Load(t.Context(), c, ns)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Discover(loaded)
	if err != nil || len(got.Nodes) != 3 || got.Nodes[2].Claim.Name != "couchdb-3-claim0" || got.Password != "password" {
		t.Errorf("discovered %+v, %v", got, err)
	}
	if empty, err := Load(t.Context(), c, "nowhere"); err != nil || len(empty.Pods) != 0 || empty.Credentials != nil {
		t.Errorf("an empty namespace: %+v, %v", empty, err)
	}
}
