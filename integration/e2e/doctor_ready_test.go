package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
	readiness "github.com/medic/cht-backup/snapshot/checkup"
)

// examination is what `kubectl cht doctor -o json` says of readiness.
type examination struct {
	NotLookedAt []string
	Findings    []struct{ Severity, Check, Name, What, Next string }
}

func (e examination) has(severity, check, part string) bool {
	for _, f := range e.Findings {
		if f.Severity == severity && f.Check == check && strings.Contains(f.What, part) && f.Next != "" {
			return true
		}
	}
	return false
}

func examine(ctx context.Context, t *testing.T, p plugin, args string, code int) examination {
	t.Helper()
	got, out, errOut := p.run(ctx, t, "doctor -o json "+args)
	says(t, "doctor "+args, got, code, out+errOut)
	var e examination
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return e
}

// restricted gives a kubeconfig of somebody who may do that in a namespace and nothing else.
func restricted(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string, rules ...rbacv1.PolicyRule) string {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "tenant"}
	for _, o := range []client.Object{&corev1.ServiceAccount{ObjectMeta: meta}, &rbacv1.Role{ObjectMeta: meta, Rules: rules},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tenant"}, Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "tenant"}}}} {
		if err := c.Client.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	asked := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:" + namespace + ":tenant",
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "list", Group: "backup.communityhealthtoolkit.org", Resource: "backups"}}}
	for {
		answer, err := c.Kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, asked, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status.Allowed {
			break
		}
		time.Sleep(100 * time.Millisecond) // nobody tells when the binding counts
	}
	token, err := c.Kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "tenant", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Config.Host, CertificateAuthorityData: c.Config.CAData, CertificateAuthority: c.Config.CAFile}
	config.AuthInfos["tenant"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "tenant", Namespace: namespace}
	config.CurrentContext = "c"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A CHT whose driver has no snapshot class, in a namespace that admits no freezer, and
// that nothing backs up: doctor tells of each, to the administrator and, of what he may
// see, to a tenant. The controller has looked at itself, and lacks no right.
func TestDoctorBeforeTheNight(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("needs the testbed's storage class nosnap")
	}
	ctx := bounded(t, 8*time.Minute)
	o := deployed(ctx, t, c, 1, func(o *cht.Options) { o.StorageClass, o.Components = "nosnap", cht.Components{} })
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.Namespace}}
	merge(ctx, t, c, namespace, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline"}}}`)
	p := built(ctx, t, c)

	e := examine(ctx, t, p, "-n "+o.Namespace, 6)
	for _, want := range [][3]string{
		{"warning", "Storage", "are copied into the catalog file:///"},
		{"problem", "Schedules", "(NeverBackedUp)"},
		{"problem", "Schedules", "(NoSchedule)"},
		{"information", "Freezer", `violates PodSecurity "baseline:latest"`},
	} {
		if !e.has(want[0], want[1], want[2]) {
			t.Errorf("as the administrator, nothing is said of %q: %+v", want, e)
		}
	}
	if len(e.NotLookedAt) > 0 {
		t.Errorf("the administrator may see all: %q", e.NotLookedAt)
	}
	for _, f := range e.Findings {
		if slices.Contains([]string{"Controller", "Serving", "Permissions", "Clock", "Checkup", "Version", "SnapshotController", "Driver", "CatalogWritable"}, f.Check) {
			t.Errorf("nothing is wrong with that: %+v", f)
		}
	}

	p.kubeconfig = restricted(ctx, t, c, o.Namespace,
		rbacv1.PolicyRule{APIGroups: []string{"backup.communityhealthtoolkit.org"}, Resources: []string{"backups", "restores", "backupschedules"}, Verbs: []string{"get", "list", "watch"}},
		rbacv1.PolicyRule{APIGroups: []string{"", "apps"}, Resources: []string{"pods", "deployments", "statefulsets", "persistentvolumeclaims"}, Verbs: []string{"get", "list"}})
	e = examine(ctx, t, p, "-n "+o.Namespace, 6)
	if !e.has("problem", "Schedules", "(NoSchedule)") || !e.has("information", "YourRights", "take backups") || e.has("problem", "Storage", "") || e.has("problem", "Instance", "") {
		t.Errorf("as a tenant: %+v", e)
	}
	for _, want := range []string{"the controller's check-up", "VolumeSnapshotClasses", "the CHT of " + o.Namespace, "Deployments of the controller", "whether a freezer would be admitted"} {
		if !slices.ContainsFunc(e.NotLookedAt, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("a tenant is not told that %s could not be looked at: %q", want, e.NotLookedAt)
		}
	}

	var found corev1.ConfigMap
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: harness.ControllerNamespace, Name: readiness.Name}, &found); err != nil {
		t.Fatal(err)
	}
	r, err := readiness.Read(&found)
	if err != nil {
		t.Fatal(err)
	}
	passed := map[string]bool{}
	for _, check := range r.Checks {
		passed[check.Check] = check.OK
		t.Logf("%s ok=%t %s", check.Check, check.OK, check.Message)
	}
	for _, check := range []string{readiness.Permissions, readiness.Clock, readiness.CatalogReachable, readiness.CatalogWritable, readiness.SnapshotKinds} {
		if !passed[check] {
			t.Errorf("the controller's check-up: %s: %+v", check, r.Checks)
		}
	}
}
