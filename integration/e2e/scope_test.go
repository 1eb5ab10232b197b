package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/await"
)

// TestScope installs a controller that has rights in two namespaces only, beside the one
// that serves all: it backs one up and restores into the other, can do nothing elsewhere, and
// the other leaves both alone. A tenant orders backups with the built-in role edit.
func TestScope(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 12*time.Minute)
	o := deployed(ctx, t, c, 1, nil)
	into, home := c.TempNamespace(t, "into"), o.Namespace+"-backup"
	install(ctx, t, c, home, []string{o.Namespace, into}, map[string]any{
		"namespaces": []any{"{{ .Release.Namespace }}", into}, "namespaceOverride": "{{ .Release.Namespace }}-backup",
		"rbac": map[string]any{"scope": "Namespaced"}, "controller": map[string]any{"catalog": map[string]any{"url": "none"}},
	})
	// A second one for all would work on what the first works on.
	if _, err := c.Helm(into).Install(ctx, "second", c.ChartFolder("cht-backup"), c.ControllerValues()); err == nil ||
		!strings.Contains(err.Error(), "release "+harness.ControllerName+" in namespace "+harness.ControllerNamespace+" serves all namespaces already") {
		t.Errorf("a second controller for all namespaces: %v", err)
	}
	account := as(t, c, "system:serviceaccount:"+home+":scope-cht-backup", "system:serviceaccounts", "system:serviceaccounts:"+home, "system:authenticated")
	for _, right := range []struct {
		namespace, group, resource, verb string
		granted                          bool
	}{
		{o.Namespace, "", "secrets", "get", true},
		{into, "", "secrets", "create", true},
		{into, "apps", "deployments", "create", true},
		{home, "", "secrets", "create", true},
		{"", "", "persistentvolumes", "create", true},
		{home, "apps", "deployments", "update", false},
		{"kube-system", "", "secrets", "get", false},
		{"kube-system", "", "secrets", "list", false},
		{"default", "", "secrets", "get", false},
		{harness.ControllerNamespace, "", "secrets", "list", false},
		{harness.ControllerNamespace, "backup.communityhealthtoolkit.org", "backups", "list", false},
		{"", "", "secrets", "list", false},
		{"", "", "pods", "list", false},
		{"", "", "namespaces", "create", false},
		{"", "", "namespaces", "delete", false},
		{"", "rbac.authorization.k8s.io", "clusterroles", "create", false},
		{"kube-system", "", "pods/exec", "create", false},
	} {
		if got := mayDo(ctx, t, account, right.namespace, right.group, right.resource, right.verb); got != right.granted {
			t.Errorf("%s %s in %q: allowed %v", right.verb, right.resource, right.namespace, got)
		}
	}

	// By a tenant, as who has the built-in role edit in his namespace, and nothing else.
	tenant := tenantOf(ctx, t, c, o.Namespace)
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: "b"}, Spec: api.BackupSpec{AllowedNamespaces: []string{into}}}
	thaw := func() bool { return false }
	if c.Local {
		guard, err := c.ArmThaw(t, 90*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		thaw = guard.Disarm
	}
	if err := tenant.Create(ctx, b); err != nil {
		t.Fatal(err)
	}
	b, err := c.WaitBackup(ctx, b, backupWithin, nil)
	if thaw() {
		t.Error("the thaw from outside fired")
	}
	if err != nil || b.Status.Phase != api.PhaseCompleted {
		t.Fatalf("%v: %s", err, harness.Message(b.Status.Conditions))
	}
	var record corev1.Secret
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: home, Name: b.Status.Record}, &record); err != nil {
		t.Errorf("the record is not in the controller's own namespace: %v", err)
	}
	for what, err := range map[string]error{
		"read the record":           tenant.Get(ctx, client.ObjectKeyFromObject(&record), &corev1.Secret{}),
		"order a backup of others":  tenant.Create(ctx, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: into, Name: "b"}}),
		"see the backups of others": tenant.List(ctx, &api.BackupList{}, client.InNamespace(into)),
		"see all backups":           tenant.List(ctx, &api.BackupList{}),
		"write a status":            tenant.Status().Patch(ctx, b.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"Failed"}}`))),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("a tenant can %s: %v", what, err)
		}
	}
	for _, namespace := range []string{o.Namespace, into, home} {
		var l coordinationv1.Lease
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "cht-backup-serves"}, &l); err != nil || *l.Spec.HolderIdentity != home+"/scope-cht-backup" {
			t.Errorf("%s is held by %v, %v", namespace, l.Spec.HolderIdentity, err)
		}
	}

	r := c.Restore(t, into, "r", sourceOf(b), restoreWithin)
	if v := r.Status.Verification; v == nil || v.Documents == 0 || len(v.Problems) > 0 {
		t.Errorf("verification %+v", v)
	}
	drill, err := c.CreateRestore(ctx, o.Namespace, "drill", api.RestoreSpec{Source: sourceOf(b).Source, Drill: &api.Drill{}})
	if err == nil {
		drill, err = c.WaitRestore(ctx, drill, time.Minute, nil)
	}
	if err != nil || drill.Status.Phase != api.PhaseFailed || harness.Reason(drill.Status.Conditions) != api.ReasonNotAllowed || !strings.Contains(harness.Message(drill.Status.Conditions), "rbac-scope") {
		t.Errorf("a drill: %v, %s", err, harness.Message(drill.Status.Conditions))
	}
}

// install installs a controller of its own for namespaces, as release scope in the first, and
// removes it when the test ends, after all that it alone may end.
func install(ctx context.Context, t *testing.T, c *harness.Cluster, home string, namespaces []string, values map[string]any) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
		defer cancel()
		for _, n := range namespaces {
			if err := emptied(ctx, c, n); err != nil {
				t.Error(err)
			}
		}
		_, err := c.Helm(namespaces[0]).Uninstall(ctx, "scope")
		if err := errors.Join(err, c.DeleteNamespace(ctx, home)); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.Helm(namespaces[0]).Install(ctx, "scope", c.ChartFolder("cht-backup"), harness.Overlaid(c.ControllerValues(), values)); err != nil {
		t.Fatal(err)
	}
}

// killable gives the cluster with a controller that serves that namespace alone, so that a
// test can kill it beside others. It has no catalog unless more values say so.
func killable(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string, more ...map[string]any) *harness.Cluster {
	t.Helper()
	own := *c
	own.Home = c.TempNamespace(t, "controller")
	h := c.Helm(own.Home)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
		defer cancel()
		err := emptied(ctx, c, namespace)
		_, uninstallErr := h.Uninstall(ctx, "own")
		if err := errors.Join(err, uninstallErr); err != nil {
			t.Error(err)
		}
	})
	values := harness.Overlaid(c.ControllerValues(), map[string]any{"namespaces": []any{namespace}, "controller": map[string]any{"catalog": map[string]any{"url": "none"}}})
	for _, m := range more {
		values = harness.Overlaid(values, m)
	}
	if _, err := h.Install(ctx, "own", c.ChartFolder("cht-backup"), values); err != nil {
		t.Fatal(err)
	}
	return &own
}

// emptied deletes the backups and restores of a namespace, and waits until they are gone.
func emptied(ctx context.Context, c *harness.Cluster, namespace string) error {
	for list, one := range map[client.ObjectList]client.Object{&api.RestoreList{}: &api.Restore{}, &api.BackupList{}: &api.Backup{}} {
		if err := c.Client.DeleteAllOf(ctx, one, client.InNamespace(namespace)); err != nil {
			return err
		}
		if err := await.List(ctx, c.Client, list, func() (string, error) {
			if n := meta.LenList(list); n > 0 {
				return fmt.Sprintf("the end of %d %T of %s", n, list, namespace), nil
			}
			return "", nil
		}, client.InNamespace(namespace)); err != nil {
			return err
		}
	}
	return nil
}

// as is a client of somebody else.
func as(t *testing.T, c *harness.Cluster, user string, groups ...string) client.Client {
	t.Helper()
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	somebody, err := client.New(config, client.Options{Scheme: c.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return somebody
}

func mayDo(ctx context.Context, t *testing.T, somebody client.Client, namespace, group, resource, verb string) bool {
	t.Helper()
	resource, sub, _ := strings.Cut(resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Group: group, Resource: resource, Subresource: sub, Verb: verb}}}
	if err := somebody.Create(ctx, review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// tenantOf is somebody with the built-in role edit in one namespace, once Kubernetes has
// added the chart's roles to it.
func tenantOf(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) client.Client {
	t.Helper()
	user := "tenant-of-" + namespace
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}}
	if err := c.Client.Create(ctx, binding); err != nil {
		t.Fatal(err)
	}
	var roles rbacv1.ClusterRoleList
	if err := await.List(ctx, c.Client, &roles, func() (string, error) {
		for _, rule := range roles.Items[0].Rules {
			if slices.Contains(rule.Resources, "backups") {
				return "", nil
			}
		}
		return "the chart's rights in ClusterRole edit", nil
	}, client.MatchingFields{"metadata.name": "edit"}); err != nil {
		t.Fatal(err)
	}
	return as(t, c, user, "system:authenticated")
}
