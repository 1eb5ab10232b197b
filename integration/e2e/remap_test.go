package e2e

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
)

const (
	pool   = "e2e/pool"
	zone   = "e2e-zone"
	mirror = "registry.example.org/mirror"
	// library is where the testbed's own images are.
	library = "docker.io/library"
)

// TestRemap restores an instance to a place where nothing is as it was, and is
// refused where the place does not fit.
func TestRemap(t *testing.T) {
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("labels and taints the testbed's node, and gives its images other names")
	}
	ctx := bounded(t, 12*time.Minute)
	node := labelled(ctx, t, c, map[string]string{pool: "spare", corev1.LabelTopologyZone: zone})
	ingressClass(ctx, t, c, "e2e-new")
	o := deployed(ctx, t, c, 1, func(o *cht.Options) {
		o.Components, o.IngressHost, o.IngressClass, o.Hostname = cht.AllComponents, "cht.example.org", "e2e-old", node
		o.Toleration = &corev1.Toleration{Key: "dedicated", Operator: corev1.TolerationOpEqual, Value: "cht", Effect: corev1.TaintEffectNoSchedule}
	})
	b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{AllowedNamespaces: []string{"*"}})
	size := resource.MustParse("2Gi")
	everything := &api.Remap{
		StorageClassName: "loop-wait", ClaimSize: &size, Zone: zone, NodeSelector: &map[string]api.LabelValue{pool: "spare"},
		Tolerations: &[]corev1.Toleration{{Key: "spare", Operator: corev1.TolerationOpExists}},
		Ingress:     &api.IngressRemap{Host: "clone.example.org", ClassName: "e2e-new"},
		Replicas:    map[string]api.Replicas{"haproxy": 2, "api": 2},
		Images:      []api.ImageRemap{{From: library, To: mirror}},
		Labels:      map[string]api.LabelValue{"team": "field-office"},
	}
	t.Run("everything at once", func(t *testing.T) {
		mirrored(ctx, t, c, library, mirror)
		moved := c.TempNamespace(t, "moved")
		spec := sourceOf(b)
		spec.GoLive, spec.PlanOnly, spec.Remap = true, true, everything
		r := plannedRestore(ctx, t, c, moved, "r", spec)
		saysAll(t, planText(r), "class loop-wait", "2Gi", pool+"=spare", corev1.LabelTopologyZone+"="+zone, "tolerations spare", "host clone.example.org in the place of cht.example.org",
			"class e2e-new", "2 replicas", "from "+mirror+"/cht-tools:test", "scale Deployment cht-api to 2")
		merge(ctx, t, c, r.DeepCopy(), `{"spec":{"planOnly":false}}`)
		r, err := c.WaitRestore(ctx, r, restoreWithin, nil)
		if err != nil || r.Status.Phase != api.PhaseCompleted {
			t.Fatalf("the restore is %s: %s (%v)", r.Status.Phase, harness.Message(r.Status.Conditions), err)
		}
		remappedClaims(ctx, t, c, moved, size)
		remappedWorkloads(ctx, t, c, moved)
		remappedIngress(ctx, t, c, moved)
		if diff := load.Diff(contents(ctx, t, c, o), without(dumped(ctx, t, c, o, moved), "\x00")); len(diff) > 0 {
			t.Errorf("%d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
		}
	})
	t.Run("an ingress for a clone", func(t *testing.T) {
		clone := c.TempNamespace(t, "clone")
		spec := sourceOf(b)
		spec.Remap = &api.Remap{Ingress: &api.IngressRemap{Host: "clone-2.example.org", ClassName: "e2e-new"}}
		r := c.Restore(t, clone, "r", spec, restoreWithin)
		var ingresses networkingv1.IngressList
		var policies networkingv1.NetworkPolicyList
		for _, list := range []client.ObjectList{&ingresses, &policies} {
			if err := c.Client.List(ctx, list, client.InNamespace(clone)); err != nil {
				t.Fatal(err)
			}
		}
		if len(ingresses.Items) != 1 || ingresses.Items[0].Spec.Rules[0].Host != "clone-2.example.org" {
			t.Errorf("ingresses: %+v", ingresses.Items)
		}
		var doors []string
		for _, p := range policies.Items {
			doors = append(doors, p.Name)
			if slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) && len(p.Spec.Egress) == 0 {
				t.Errorf("policy %s shuts the clone off from itself", p.Name)
			}
		}
		saysAll(t, strings.Join(doors, " "), "cht-restore-isolation", "cht-restore-ingress-api")
		saysAll(t, strings.Join(r.Status.Notes, "\n"), "clone-2.example.org", "Sentinel stays at 0")
	})
	refusedRemaps(ctx, t, c, o, b, node)
}

func remappedClaims(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string, size resource.Quantity) {
	t.Helper()
	all := claims(ctx, t, c, namespace)
	if len(all) != 1 {
		t.Errorf("%d claims", len(all))
	}
	for _, claim := range all {
		request, capacity := claim.Spec.Resources.Requests[corev1.ResourceStorage], claim.Status.Capacity[corev1.ResourceStorage]
		if *claim.Spec.StorageClassName != "loop-wait" || request.Cmp(size) != 0 || capacity.Cmp(size) != 0 || claim.Labels["team"] != "field-office" {
			t.Errorf("claim %s: class %s, asks for %s, has %s, labels %v", claim.Name, *claim.Spec.StorageClassName, &request, &capacity, claim.Labels)
		}
	}
}

func remappedWorkloads(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) {
	t.Helper()
	var deployments appsv1.DeploymentList
	var services corev1.ServiceList
	var secret corev1.Secret
	for _, list := range []client.ObjectList{&deployments, &services} {
		if err := c.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: cht.CredentialsSecret}, &secret); err != nil || secret.Labels["team"] == "" {
		t.Errorf("the Secret's labels are %v (%v)", secret.Labels, err)
	}
	for _, s := range services.Items {
		if s.Labels["team"] == "" {
			t.Errorf("Service %s has no label", s.Name)
		}
	}
	for _, d := range deployments.Items {
		component, pod := d.Spec.Template.Labels[cht.Label], d.Spec.Template.Spec
		want := map[string]string{pool: "spare"}
		if strings.HasPrefix(component, "couchdb") {
			want[corev1.LabelTopologyZone] = zone
		}
		if !maps.Equal(pod.NodeSelector, want) {
			t.Errorf("%s has the node selector %v, want %v", d.Name, pod.NodeSelector, want)
		}
		if len(pod.Tolerations) != 1 || pod.Tolerations[0].Key != "spare" {
			t.Errorf("%s has the tolerations %+v", d.Name, pod.Tolerations)
		}
		if d.Labels["team"] == "" || d.Spec.Template.Labels["team"] != "" {
			t.Errorf("%s has the labels %v, its pods %v", d.Name, d.Labels, d.Spec.Template.Labels)
		}
		replicas := int32(1)
		if component == "api" || component == "haproxy" {
			replicas = 2
		}
		if *d.Spec.Replicas != replicas || d.Status.ReadyReplicas != replicas {
			t.Errorf("%s has %d of %d replicas ready, want %d", d.Name, d.Status.ReadyReplicas, *d.Spec.Replicas, replicas)
		}
		for _, one := range pod.Containers {
			if strings.HasPrefix(one.Image, library+"/") || !strings.HasPrefix(one.Image, mirror+"/") && one.Image != c.Images.CouchDB {
				t.Errorf("%s runs %s", d.Name, one.Image)
			}
		}
	}
}

func remappedIngress(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) {
	t.Helper()
	var ingresses networkingv1.IngressList
	if err := c.Client.List(ctx, &ingresses, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	if len(ingresses.Items) != 1 {
		t.Fatalf("%d ingresses", len(ingresses.Items))
	}
	in := ingresses.Items[0]
	if len(in.Spec.Rules) != 1 || in.Spec.Rules[0].Host != "clone.example.org" || in.Spec.IngressClassName == nil || *in.Spec.IngressClassName != "e2e-new" || in.Labels["team"] == "" {
		t.Errorf("the ingress is %+v with labels %v", in.Spec, in.Labels)
	}
}

// plannedRestore waits for a plan.
func plannedRestore(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, name string, spec api.RestoreSpec) *api.Restore {
	t.Helper()
	r, err := c.CreateRestore(ctx, namespace, name, spec)
	if err == nil {
		r, err = c.WaitRestore(ctx, r, restoreWithin, func(r *api.Restore) bool { return r.Status.Phase == api.PhasePlanned || ended(r) })
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Status.Phase != api.PhasePlanned || r.Status.Plan == nil {
		t.Fatalf("the restore is %s and not Planned: %s", r.Status.Phase, harness.Message(r.Status.Conditions))
	}
	return r
}

func planText(r *api.Restore) string {
	var lines []string
	for _, s := range r.Status.Plan.Steps {
		lines = append(lines, s.Actions...)
	}
	return strings.Join(lines, "\n")
}

func saysAll(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("there is no %q in:\n%s", word, text)
		}
	}
}
