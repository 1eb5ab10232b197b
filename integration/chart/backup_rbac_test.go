package chart_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/integration/chart"
)

// kinds are all that the controller has a right to, and whether they are in a namespace.
// A kind that is not here fails the test: whoever adds one says here which it is.
var kinds = map[string]bool{
	"backups": true, "backupschedules": true, "restores": true, "volumesnapshots": true,
	"pods": true, "persistentvolumeclaims": true, "secrets": true, "configmaps": true, "services": true, "serviceaccounts": true, "events": true,
	"roles": true, "rolebindings": true, "deployments": true, "statefulsets": true, "daemonsets": true, "replicasets": true, "jobs": true, "cronjobs": true,
	"poddisruptionbudgets": true, "ingresses": true, "networkpolicies": true, "endpointslices": true, "leases": true,

	"namespaces": false, "nodes": false, "persistentvolumes": false, "volumesnapshotcontents": false, "volumesnapshotclasses": false,
	"storageclasses": false, "csidrivers": false, "csinodes": false, "ingressclasses": false,
}

// right is one verb on one kind.
type right struct{ group, resource, verb string }

func rightsOf(rules []rbacv1.PolicyRule) map[right]bool {
	all := map[right]bool{}
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					all[right{group, resource, verb}] = true
				}
			}
		}
	}
	return all
}

// generated are the rights that controller-gen reads from the code.
func generated(t *testing.T) map[right]bool {
	t.Helper()
	text, err := os.ReadFile(backupChart + "/files/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(text, &role); err != nil {
		t.Fatal(err)
	}
	return rightsOf(role.Rules)
}

func (r right) kind() string { return strings.Split(r.resource, "/")[0] }

func TestBackupRightsInTheCluster(t *testing.T) {
	r := renderBackup(t, inSystem, "{namespaces: [a]}")
	if got, want := rightsOf(as[rbacv1.ClusterRole](t, r, "ClusterRole", "cht-backup-controller").Rules), generated(t); len(got) != len(want) || len(want) < 50 {
		t.Errorf("%d rights, of %d that the code needs", len(got), len(want))
	}
	for _, o := range r.Objects {
		if o.GetKind() == "Role" || o.GetKind() == "RoleBinding" {
			t.Errorf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
		}
	}
	b := as[rbacv1.ClusterRoleBinding](t, r, "ClusterRoleBinding", "cht-backup-controller")
	if b.RoleRef.Name != "cht-backup-controller" || len(b.Subjects) != 1 || b.Subjects[0].Name != "cht-backup" || b.Subjects[0].Namespace != "cht-backup-system" {
		t.Errorf("binding %+v", b)
	}
}

// What the code needs is in the ClusterRole or in the Roles, each right in one of them,
// and no right over what is in a namespace is in the ClusterRole.
func TestBackupRightsInNamespaces(t *testing.T) {
	release := chart.Release{Name: "medic", Namespace: "medic"}
	r := renderBackup(t, release, `{namespaces: ["{{ .Release.Namespace }}", medic-restored], namespaceOverride: medic-backup, rbac: {scope: Namespaced}}`)
	const name = "medic-cht-backup.medic-backup"
	want := generated(t)
	for right := range want {
		if _, known := kinds[right.kind()]; !known {
			t.Errorf("%v: say in this test whether %s are in a namespace", right, right.kind())
		}
	}
	cluster := rightsOf(as[rbacv1.ClusterRole](t, r, "ClusterRole", name+"-controller").Rules)
	for right := range cluster {
		if kinds[right.kind()] || !want[right] {
			t.Errorf("the ClusterRole grants %v", right)
		}
	}
	roles, bound := map[string]map[right]bool{}, map[string]bool{}
	for _, o := range r.Objects {
		switch o.GetKind() {
		case "Role":
			one := &chart.Rendered{Objects: r.Objects[:0:0]}
			one.Objects = append(one.Objects, o)
			roles[o.GetNamespace()] = rightsOf(as[rbacv1.Role](t, one, "Role", o.GetName()).Rules)
		case "RoleBinding":
			one := &chart.Rendered{Objects: r.Objects[:0:0]}
			one.Objects = append(one.Objects, o)
			b := as[rbacv1.RoleBinding](t, one, "RoleBinding", o.GetName())
			bound[o.GetNamespace()] = b.RoleRef.Kind == "Role" && b.RoleRef.Name == b.Name && b.Subjects[0].Name == "medic-cht-backup" && b.Subjects[0].Namespace == "medic-backup"
		}
	}
	if len(roles) != 5 {
		t.Errorf("roles in %v", roles)
	}
	for namespace := range roles {
		if !bound[namespace] {
			t.Errorf("the role in %s is not bound", namespace)
		}
	}
	left := []right{}
	for right := range want {
		if !cluster[right] && !roles["medic"][right] {
			left = append(left, right)
		}
	}
	// No namespace is made or deleted by one that has rights in those that it was told.
	slices.SortFunc(left, func(a, b right) int { return strings.Compare(a.verb, b.verb) })
	if !slices.Equal(left, []right{{"", "namespaces", "create"}, {"", "namespaces", "delete"}}) {
		t.Errorf("granted nowhere: %v", left)
	}
	for right := range roles["medic"] {
		if !kinds[right.kind()] || !want[right] || !roles["medic-restored"][right] {
			t.Errorf("the Role in medic grants %v", right)
		}
	}
	// Its own namespace has no workloads to work on.
	for right := range roles["medic-backup"] {
		if !slices.Contains([]string{"secrets", "configmaps", "leases", "events", "backups"}, right.kind()) || !want[right] {
			t.Errorf("the Role in its own namespace grants %v", right)
		}
	}
	for _, needed := range []right{{"", "secrets", "create"}, {"coordination.k8s.io", "leases", "update"}, {"", "configmaps", "create"}, {"backup.communityhealthtoolkit.org", "backups/status", "patch"}, {"events.k8s.io", "events", "create"}} {
		if !roles["medic-backup"][needed] {
			t.Errorf("in its own namespace it lacks %v", needed)
		}
	}
	// Elsewhere it reads two addresses.
	for _, namespace := range []string{"default", "kube-system"} {
		for right := range roles[namespace] {
			if !slices.Contains([]string{"services", "endpointslices", "pods"}, right.kind()) || right.verb != "get" && right.verb != "list" {
				t.Errorf("the Role in %s grants %v", namespace, right)
			}
		}
	}
	if s := settings(t, r, "medic-cht-backup"); text(s["namespaces"]) != `["medic","medic-restored"]` || s["rbac-scope"] != "Namespaced" {
		t.Errorf("settings %v", s)
	}
	if !strings.Contains(r.Notes, "rights in these namespaces alone") {
		t.Error(r.Notes)
	}
}

func TestBackupRightsRefused(t *testing.T) {
	for values, want := range map[string]string{
		"{rbac: {scope: Namespaced}}":             "list the namespaces of the CHTs",
		`{namespaces: ["{{ .Values.nowhere }}"]}`: `which gives ""`,
		"{namespaces: [Medic]}":                   "Medic",
		"{namespaceOverride: a.b}":                `namespaceOverride gives "a.b"`,
	} {
		if _, err := tryBackup(inSystem, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", values, err)
		}
	}
	r := renderBackup(t, inSystem, "{rbac: {create: false}}")
	for _, o := range r.Objects {
		if strings.HasPrefix(o.GetKind(), "Role") || strings.HasPrefix(o.GetKind(), "ClusterRole") && o.GetName() != "cht-backup-serves-all" {
			t.Errorf("%s %s", o.GetKind(), o.GetName())
		}
	}
}

// The roles of tenants are added to the built-in ones, each to one.
func TestBackupTenants(t *testing.T) {
	r := renderBackup(t, chart.Release{Name: "medic", Namespace: "a"}, "")
	for role, writes := range map[string]bool{"view": false, "edit": true, "admin": true} {
		c := as[rbacv1.ClusterRole](t, r, "ClusterRole", "medic-cht-backup.a-"+role)
		for _, other := range []string{"view", "edit", "admin"} {
			if (c.Labels["rbac.authorization.k8s.io/aggregate-to-"+other] == "true") != (other == role) {
				t.Errorf("%s: %v", role, c.Labels)
			}
		}
		rights := rightsOf(c.Rules)
		for _, kind := range []string{"backups", "backupschedules", "restores"} {
			const group = "backup.communityhealthtoolkit.org"
			if !rights[right{group, kind, "watch"}] || rights[right{group, kind, "create"}] != writes || rights[right{group, kind, "delete"}] != writes || !rights[right{group, kind + "/status", "get"}] {
				t.Errorf("%s of %s: %v", role, kind, rights)
			}
			// Whoever wrote a status could make a bad backup a good one.
			for _, verb := range []string{"update", "patch"} {
				if rights[right{group, kind + "/status", verb}] || rights[right{group, kind + "/finalizers", verb}] {
					t.Errorf("%s may %s the status of %s", role, verb, kind)
				}
			}
		}
		for right := range rights {
			if right.resource == "secrets" {
				t.Errorf("%s grants %v, and records of others are Secrets", role, right)
			}
		}
	}
	r = renderBackup(t, inSystem, "{rbac: {tenants: false}}")
	for _, role := range []string{"view", "edit", "admin"} {
		if r.Find("ClusterRole", "cht-backup-"+role) != nil {
			t.Errorf("role %s is there", role)
		}
	}
}

// One release alone can hold the name that says that it serves all.
func TestBackupServesAll(t *testing.T) {
	if c := as[rbacv1.ClusterRole](t, renderBackup(t, inSystem, ""), "ClusterRole", "cht-backup-serves-all"); len(c.Rules) > 0 {
		t.Errorf("it grants %v", c.Rules)
	}
	r := renderBackup(t, inSystem, "{namespaces: [a, a, b]}")
	if r.Find("ClusterRole", "cht-backup-serves-all") != nil {
		t.Error("a release that serves two namespaces takes the name of one that serves all")
	}
	if s := settings(t, r, "cht-backup"); text(s["namespaces"]) != `["a","b"]` || s["rbac-scope"] != nil {
		t.Errorf("settings %v", s)
	}
	if !strings.Contains(r.Notes, "It serves a, b, and no other namespace.") || !strings.Contains(r.Notes, "kubectl cht backup -n a") {
		t.Error(r.Notes)
	}
}
