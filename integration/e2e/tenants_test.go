package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
)

// TestTenants has three CHTs in one cluster, each a release of charts/cht with a
// controller of its own, and for each a tenant with the built-in role admin in his namespace
// and nothing else. All are backed up at once; one is restored into a namespace of another
// tenant, once its owner allows that.
func TestTenants(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 10*time.Minute)
	names := []string{"uat", "staging", "production"}
	all := make([]*stack, len(names))
	for i, name := range names {
		all[i] = newStack(t, c, 1)
		all[i].release = name
	}
	from := all[2]
	// The namespace of staging that production is to be restored into. Who restores is
	// production's controller: it alone has the records.
	sibling := c.TempNamespace(t, "sibling")
	from.alsoServes = sibling
	var group sync.WaitGroup
	for _, s := range all {
		group.Go(func() {
			served := []any{"{{ .Release.Namespace }}"}
			if s == from {
				served = append(served, sibling)
			}
			values := s.values(map[string]any{"nouveau": map[string]any{"enabled": false}, "ingress": map[string]any{"type": "none"}, "cht-backup": map[string]any{"namespaces": served}})
			if _, err := c.Helm(s.Namespace).Install(ctx, s.release, c.ChartFolder("cht"), values); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	tenants := make([]*tenantAccount, len(all))
	for i, s := range all {
		s.answers(ctx, t)
		seeded(ctx, t, c, s.Options)
		tenants[i] = newTenant(ctx, t, c, s.Namespace)
	}
	tenants[1].mayUse(ctx, t, sibling)

	thaw(t, c)
	backups := make([]*api.Backup, len(all))
	for i, s := range all {
		backups[i] = &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "mine"}}
		if err := tenants[i].client.Create(ctx, backups[i]); err != nil {
			t.Fatalf("a tenant orders his backup: %v", err)
		}
	}
	for i, s := range all {
		b, err := c.WaitBackup(ctx, backups[i], backupWithin, nil)
		if err != nil || b.Status.Phase != api.PhaseCompleted {
			t.Fatalf("the backup of %s: %+v, %v", s.release, b, err)
		}
		var record corev1.Secret
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: controllerOf(s.Namespace), Name: b.Status.Record}, &record); err != nil {
			t.Errorf("the record of %s is not with its own controller: %v", s.release, err)
		}
		backups[i] = b
	}
	for i := range all {
		tenants[i].isAlone(ctx, t, all[i].Namespace, all[(i+1)%len(all)].Namespace)
	}

	asked := func(name string) *api.Restore {
		t.Helper()
		r := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: sibling, Name: name}, Spec: sourceOf(backups[2])}
		if err := tenants[1].client.Create(ctx, r); err != nil {
			t.Fatalf("a tenant asks for a restore in his namespace: %v", err)
		}
		r, err := c.WaitRestore(ctx, r, restoreWithin, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := asked("not-allowed")
	judge(t, "restore", r.Status.Phase, r.Status.Conditions, api.ReasonNotAllowed, []string{"allowedNamespaces", sibling})
	patch := client.RawPatch("application/merge-patch+json", []byte(fmt.Sprintf(`{"spec":{"allowedNamespaces":[%q]}}`, sibling)))
	if err := tenants[1].client.Patch(ctx, backups[2].DeepCopy(), patch); !apierrors.IsForbidden(err) {
		t.Errorf("a tenant allows himself the backup of another: %v", err)
	}
	if err := tenants[2].client.Patch(ctx, backups[2].DeepCopy(), patch); err != nil {
		t.Fatalf("a tenant allows another his backup: %v", err)
	}
	if r = asked("allowed"); r.Status.Phase != api.PhaseCompleted {
		t.Fatalf("the restore into a namespace of another tenant: %s", harness.Message(r.Status.Conditions))
	}
	was := contents(ctx, t, c, from.Options)
	if diff := load.Diff(was, without(dumped(ctx, t, c, from.Options, sibling), "\x00")); len(diff) > 0 {
		t.Errorf("%d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
	}
}

// tenantAccount is somebody with a kubeconfig of his own.
type tenantAccount struct {
	name, home string
	c          *harness.Cluster
	client     client.Client
}

// newTenant makes an account with the built-in role admin in one namespace, and connects
// with its token.
func newTenant(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) *tenantAccount {
	t.Helper()
	who := &tenantAccount{name: "tenant", home: namespace, c: c}
	if err := c.Client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: who.name}}); err != nil {
		t.Fatal(err)
	}
	token, err := c.Kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, who.name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(c.Config)
	config.BearerToken, config.WarningHandler = token.Status.Token, rest.NoWarnings{}
	if who.client, err = client.New(config, client.Options{Scheme: c.Client.Scheme(), Mapper: c.Client.RESTMapper()}); err != nil {
		t.Fatal(err)
	}
	who.mayUse(ctx, t, namespace)
	return who
}

// mayUse gives him the role in a namespace, and waits until it counts.
func (w *tenantAccount) mayUse(ctx context.Context, t *testing.T, namespace string) {
	t.Helper()
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "tenant-of-" + w.home},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.home, Name: w.name}}}
	if err := w.c.Client.Create(ctx, binding); err != nil {
		t.Fatal(err)
	}
	for !w.may(ctx, t, "create", namespace, api.GroupVersion.Group, "backups", "") {
		select {
		case <-ctx.Done():
			t.Fatalf("the role admin has no rights over backups in %s: %v", namespace, context.Cause(ctx))
		case <-time.After(200 * time.Millisecond): // the API server tells nobody when it has read a binding
		}
	}
}

// may asks the API server, as him.
func (w *tenantAccount) may(ctx context.Context, t *testing.T, verb, namespace, group, resource, sub string) bool {
	t.Helper()
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Namespace: namespace, Group: group, Resource: resource, Subresource: sub}}}
	if err := w.client.Create(ctx, review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// isAlone asks for everything that he may and may not do, and tries some of it.
func (w *tenantAccount) isAlone(ctx context.Context, t *testing.T, own, others string) {
	t.Helper()
	ours, snapshots := api.GroupVersion.Group, "snapshot.storage.k8s.io"
	all := "get list watch create update patch delete"
	for _, rule := range []struct {
		group, resources, verbs string
		own, others, home, all  bool // his namespace, another tenant's, his controller's, all of them
	}{
		{ours, "backups backupschedules restores", all, true, false, false, false},
		{ours, "backups/status backupschedules/status restores/status", "update patch", false, false, false, false},
		{snapshots, "volumesnapshots", "get list watch", true, false, false, false},
		{snapshots, "volumesnapshots", "create delete patch", false, false, false, false},
		{snapshots, "volumesnapshotcontents volumesnapshotclasses", all, false, false, false, false},
		{"", "secrets configmaps persistentvolumeclaims services", all, true, false, false, false},
		{"", "pods/exec serviceaccounts/token", "create", true, false, false, false},
		{"apps", "deployments", all, true, false, false, false},
		{"", "persistentvolumes namespaces nodes", "create patch delete", false, false, false, false},
		{"apiextensions.k8s.io", "customresourcedefinitions", all, false, false, false, false},
		{"rbac.authorization.k8s.io", "clusterroles clusterrolebindings", all, false, false, false, false},
	} {
		for _, resource := range strings.Fields(rule.resources) {
			resource, sub, _ := strings.Cut(resource, "/")
			for _, verb := range strings.Fields(rule.verbs) {
				for namespace, want := range map[string]bool{own: rule.own, others: rule.others, controllerOf(own): rule.home, controllerOf(others): rule.home, harness.ControllerNamespace: false, "": rule.all} {
					if got := w.may(ctx, t, verb, namespace, rule.group, resource, sub); got != want {
						t.Errorf("the tenant of %s may %s %s/%s in namespace %q: %v, want %v", own, verb, resource, sub, namespace, got, want)
					}
				}
			}
		}
	}
	var backups api.BackupList
	if err := w.client.List(ctx, &backups, client.InNamespace(own)); err != nil || len(backups.Items) == 0 {
		t.Errorf("the tenant of %s sees %d backups of his own: %v", own, len(backups.Items), err)
	}
	theirs := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: others, Name: "mine"}}
	for what, err := range map[string]error{
		"lists another's backups":         w.client.List(ctx, &api.BackupList{}, client.InNamespace(others)),
		"lists all backups":               w.client.List(ctx, &api.BackupList{}),
		"lists all secrets":               w.client.List(ctx, &corev1.SecretList{}),
		"lists all namespaces":            w.client.List(ctx, &corev1.NamespaceList{}),
		"reads another's password":        w.client.Get(ctx, client.ObjectKey{Namespace: others, Name: "cht-couchdb-credentials"}, &corev1.Secret{}),
		"reads his controller's records":  w.client.List(ctx, &corev1.SecretList{}, client.InNamespace(controllerOf(own))),
		"lists another's pods":            w.client.List(ctx, &corev1.PodList{}, client.InNamespace(others)),
		"deletes another's backup":        w.client.Delete(ctx, theirs.DeepCopy()),
		"orders a backup of another":      w.client.Create(ctx, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: others, Name: "from-outside"}}),
		"runs a pod by his controller":    w.client.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: controllerOf(own), Name: "as-controller"}}),
		"orders a restore into another's": w.client.Create(ctx, &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: others, Name: "r"}, Spec: sourceOf(theirs)}),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("the tenant of %s %s: %v", own, what, err)
		}
	}
}
