package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
)

// TestIsolation makes clones of one running source where the network enforces
// policies, where it does not, and where it does in vain.
func TestIsolation(t *testing.T) {
	c := suite.Cluster(t)
	ctx := bounded(t, 15*time.Minute)
	o := deployed(ctx, t, c, 1, everyPart)
	b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{AllowedNamespaces: []string{"*"}})

	t.Run("not enforced", func(t *testing.T) {
		if !c.Local {
			t.Skip("another cluster may enforce policies")
		}
		clone := c.TempNamespace(t, "clone")
		count := counted(t, c)
		r := c.Restore(t, clone, "r", sourceOf(b), restoreWithin)
		silent(t, c, count, o.Namespace, clone)
		found := judged(t, r, api.IsolationNotEnforced)
		for _, from := range []string{"cht-api", "upgrade-service", "cht-haproxy", "cht-haproxy-healthcheck"} {
			for kind, least := range map[api.TargetKind]int{api.TargetOwn: 1, api.TargetSource: 3, api.TargetAPIServer: 2} {
				if n := connected(found, from, kind); n < least {
					t.Errorf("%s connected to %d addresses of kind %s, want %d at least", from, n, kind, least)
				}
			}
		}
		runs(ctx, t, c, r, "cht-couchdb", "cht-haproxy", "cht-haproxy-healthcheck")
		closedIn(t, c, clone)
	})

	t.Run("enforced", func(t *testing.T) {
		stop := c.EnforcePolicies(t)
		clone := c.TempNamespace(t, "clone")
		r := c.Restore(t, clone, "r", sourceOf(b), restoreWithin)
		found := judged(t, r, api.IsolationEnforced)
		for _, one := range found.Targets {
			// A node that is alone need not have a port mapper.
			if one.Control != api.OutcomeConnected && !strings.HasSuffix(one.Address, ":4369") {
				t.Errorf("the controller did not reach %s, which is there: %s", one.Address, one.Control)
			}
		}
		runs(ctx, t, c, r, "cht-api", "cht-couchdb", "cht-haproxy", "cht-haproxy-healthcheck", "upgrade-service")
		// Not by the product's word: from the API's own pod.
		copied := o
		copied.Namespace = clone
		if err := reach(ctx, t, c, copied, copied); err != nil {
			t.Errorf("the clone's API cannot reach its CouchDB: %v", err)
		}
		if reach(ctx, t, c, copied, o) == nil {
			t.Error("the clone's API reaches the source's CouchDB")
		}
		stop()
		if err := reach(ctx, t, c, copied, o); err != nil {
			t.Errorf("without the enforcer the source is out of reach too, so that its policies were not what kept the clone away: %v", err)
		}
	})

	t.Run("another policy lets the API out", func(t *testing.T) {
		c.EnforcePolicies(t)
		clone := c.TempNamespace(t, "clone")
		hole := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: clone, Name: "api-egress"}, Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{cht.Label: "api"}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}, Egress: []networkingv1.NetworkPolicyEgressRule{{}}}}
		if err := c.Client.Create(ctx, hole); err != nil {
			t.Fatal(err)
		}
		r := c.Restore(t, clone, "r", sourceOf(b), restoreWithin)
		found := judged(t, r, api.IsolationNotEnforced)
		for from, out := range map[string]bool{"cht-api": true, "upgrade-service": false, "cht-haproxy": false} {
			if n := connected(found, from, api.TargetSource); (n > 0) != out {
				t.Errorf("%s connected to %d addresses of the source", from, n)
			}
		}
		runs(ctx, t, c, r, "cht-couchdb", "cht-haproxy", "cht-haproxy-healthcheck")
	})

	// Both happen while the restore runs: what it made at the beginning proves
	// nothing about the end.
	for name, meanwhile := range map[string]func(t *testing.T, clone string, stop func()){
		"the policy is deleted": func(t *testing.T, clone string, _ func()) {
			if err := c.Client.Delete(ctx, &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: clone, Name: "cht-restore-isolation"}}); err != nil {
				t.Error(err)
			}
		},
		"the plugin stops enforcing": func(_ *testing.T, _ string, stop func()) { stop() },
	} {
		t.Run(name, func(t *testing.T) {
			stop := c.EnforcePolicies(t)
			clone := c.TempNamespace(t, "clone")
			r, err := c.CreateRestore(ctx, clone, "r", sourceOf(b))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.WaitRestore(ctx, r, restoreWithin, func(r *api.Restore) bool { return r.Status.Phase == api.PhaseCouchDB }); err != nil {
				t.Fatal(err)
			}
			meanwhile(t, clone, stop)
			if r, err = c.WaitRestore(ctx, r, restoreWithin, nil); err != nil || r.Status.Phase != api.PhaseCompleted {
				t.Fatalf("%s, %v", r.Status.Phase, err)
			}
			judged(t, r, api.IsolationNotEnforced)
			runs(ctx, t, c, r, "cht-couchdb", "cht-haproxy", "cht-haproxy-healthcheck")
		})
	}
}

// judged fails unless the status tells the result everywhere that it tells one.
func judged(t *testing.T, r *api.Restore, want api.IsolationResult) *api.Isolation {
	t.Helper()
	found := r.Status.Isolation
	if found == nil || found.Result != want {
		t.Fatalf("isolation %+v, want %s", found, want)
	}
	t.Logf("%s: %s", found.Result, found.Message)
	condition := meta.FindStatusCondition(r.Status.Conditions, api.ConditionIsolated)
	if condition == nil || condition.Reason != string(want) || (condition.Status == metav1.ConditionTrue) != (want == api.IsolationEnforced) {
		t.Errorf("condition %+v", condition)
	}
	notes := strings.Join(r.Status.Notes, "\n")
	if strings.Contains(notes, "What could reach out") == (want == api.IsolationEnforced) || !strings.Contains(notes, "Sentinel stays at 0") {
		t.Errorf("notes: %s", notes)
	}
	return found
}

// connected counts the addresses of a kind that a workload's probe reached.
func connected(found *api.Isolation, from string, kind api.TargetKind) (n int) {
	for _, one := range found.Targets {
		if one.From == from && one.Kind == kind && one.Outcome == api.OutcomeConnected {
			n++
		}
	}
	return n
}

// runs fails unless exactly these Deployments of a clone are up and have pods, and
// no probe is left.
func runs(ctx context.Context, t *testing.T, c *harness.Cluster, r *api.Restore, want ...string) {
	t.Helper()
	var deployments appsv1.DeploymentList
	var pods corev1.PodList
	for _, list := range []client.ObjectList{&deployments, &pods} {
		if err := c.Client.List(ctx, list, client.InNamespace(r.Namespace)); err != nil {
			t.Fatal(err)
		}
	}
	up := map[string]bool{}
	for _, d := range deployments.Items {
		if *d.Spec.Replicas > 0 {
			up[d.Name] = true
			if d.Status.ReadyReplicas < 1 {
				t.Errorf("%s is not ready", d.Name)
			}
		}
	}
	if got := slices.Sorted(maps.Keys(up)); !slices.Equal(got, want) {
		t.Errorf("up are %v, want %v", got, want)
	}
	for _, p := range pods.Items {
		if p.Labels[api.RoleLabel] != "" && p.DeletionTimestamp == nil {
			t.Errorf("pod %s is left behind", p.Name)
		}
		if service := p.Labels[cht.Label]; service == "sentinel" || service == "api" && !up["cht-api"] {
			if p.Labels[api.RoleLabel] == "" {
				t.Errorf("pod %s runs", p.Name)
			}
		}
	}
}

// reach asks the CouchDB of one CHT from the API's pod of another.
func reach(ctx context.Context, t *testing.T, c *harness.Cluster, from, to cht.Options) error {
	t.Helper()
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(from.Namespace), client.MatchingLabels{cht.Label: "api"}); err != nil {
		t.Fatal(err)
	}
	pods.Items = slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.Labels[api.RoleLabel] != "" })
	if len(pods.Items) != 1 {
		t.Fatalf("%s has %d pods of the API", from.Namespace, len(pods.Items))
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	out, err := c.Exec(ctx, from.Namespace, pods.Items[0].Name, "/cht-tools", "get", "--url", "http://"+to.Servers()[0]+":5984", "/_all_dbs")
	if err == nil && !strings.Contains(out, "medic") {
		return fmt.Errorf("it answered %q", out)
	}
	return err
}
