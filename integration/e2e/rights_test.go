package e2e

import (
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/medic/cht-backup/integration/harness"
)

// TestRights asks the API server what nobody of the product may, in the scope that gives
// it most: the controller of the whole cluster, and the account that freezers, copiers,
// fillers and probes run as, which is the namespace's own and whose token they do not get.
// What tenants may is TestTenants', what a controller of some namespaces may TestScope's.
func TestRights(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 2*time.Minute)
	namespace := c.TempNamespace(t, "rights")
	account := func(namespace, name string) (string, []string) {
		return "system:serviceaccount:" + namespace + ":" + name, []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}
	}
	user, groups := account(harness.ControllerNamespace, harness.ControllerName)
	controller := as(t, c, user, groups...)
	user, groups = account(namespace, "default")
	pod := as(t, c, user, groups...)

	// So that a name that is misspelt is noticed: these it has.
	for _, right := range [][3]string{{"", "secrets", "get"}, {"", "pods/exec", "create"}, {"", "persistentvolumes", "patch"}, {"rbac.authorization.k8s.io", "rolebindings", "create"}} {
		if !mayDo(ctx, t, controller, namespace, right[0], right[1], right[2]) {
			t.Errorf("the controller may not %s %s", right[2], right[1])
		}
	}
	const rbac, ours = "rbac.authorization.k8s.io", "backup.communityhealthtoolkit.org"
	for _, right := range [][3]string{
		{rbac, "roles", "escalate"}, {rbac, "roles", "bind"}, {rbac, "roles", "update"}, {rbac, "roles", "patch"}, {rbac, "rolebindings", "update"}, {rbac, "rolebindings", "patch"},
		{rbac, "clusterroles", "bind"}, {rbac, "clusterroles", "escalate"}, {rbac, "clusterroles", "create"}, {rbac, "clusterroles", "get"}, {rbac, "clusterrolebindings", "create"}, {rbac, "clusterrolebindings", "patch"},
		{"", "users", "impersonate"}, {"", "groups", "impersonate"}, {"", "serviceaccounts", "impersonate"}, {"", "serviceaccounts/token", "create"}, {"", "serviceaccounts", "update"},
		{"", "nodes/proxy", "get"}, {"", "nodes/proxy", "create"}, {"", "nodes", "update"}, {"", "nodes", "patch"}, {"", "pods/proxy", "get"}, {"", "services/proxy", "get"},
		{"", "pods/attach", "create"}, {"", "pods/portforward", "create"}, {"", "pods/log", "get"}, {"", "pods/ephemeralcontainers", "update"}, {"", "pods/status", "patch"},
		{"", "namespaces", "update"}, {"", "namespaces", "patch"}, {"", "namespaces", "list"}, {"", "persistentvolumeclaims/status", "patch"}, {"", "secrets", "watch"},
		{"apiextensions.k8s.io", "customresourcedefinitions", "create"}, {"apiextensions.k8s.io", "customresourcedefinitions", "update"}, {"apiregistration.k8s.io", "apiservices", "create"},
		{"admissionregistration.k8s.io", "mutatingwebhookconfigurations", "create"}, {"admissionregistration.k8s.io", "validatingwebhookconfigurations", "delete"}, {"admissionregistration.k8s.io", "validatingadmissionpolicies", "delete"},
		{"certificates.k8s.io", "certificatesigningrequests", "create"}, {"certificates.k8s.io", "certificatesigningrequests/approval", "update"},
		{"storage.k8s.io", "storageclasses", "create"}, {"snapshot.storage.k8s.io", "volumesnapshotclasses", "create"}, {"batch", "cronjobs", "create"}, {"batch", "jobs", "create"}, {"apps", "daemonsets", "create"},
		{ours, "backupschedules", "create"}, {ours, "backupschedules", "update"}, {"*", "*", "*"},
	} {
		if mayDo(ctx, t, controller, namespace, right[0], right[1], right[2]) {
			t.Errorf("the controller may %s %s", right[2], right[1])
		}
	}
	for _, right := range [][3]string{{"", "secrets", "get"}, {"", "pods", "list"}, {"", "pods/exec", "create"}, {"", "pods", "create"}, {"", "persistentvolumeclaims", "get"}, {ours, "backups", "get"}, {ours, "backups/status", "patch"}, {"coordination.k8s.io", "leases", "update"}} {
		for _, at := range []string{namespace, harness.ControllerNamespace} {
			if mayDo(ctx, t, pod, at, right[0], right[1], right[2]) {
				t.Errorf("a pod of the product may %s %s in %s", right[2], right[1], at)
			}
		}
	}

	// A restore makes roles and bindings with the controller's rights: none that has more.
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "more"}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "default"}}
	for _, role := range []string{"cluster-admin", "admin", "system:node"} {
		if err := controller.Create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbac, Kind: "ClusterRole", Name: role}, Subjects: subjects}); !apierrors.IsForbidden(err) {
			t.Errorf("the controller binds %s: %v", role, err)
		}
	}
	for _, rule := range []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}, {APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}}} {
		if err := controller.Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}}); !apierrors.IsForbidden(err) {
			t.Errorf("the controller makes a role with %v: %v", rule, err)
		}
	}
}
