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
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
		Images:      []api.ImageRemap{{From: "docker.io/library", To: mirror}},
		Labels:      map[string]api.LabelValue{"team": "field-office"},
	}
	t.Run("everything at once", func(t *testing.T) {
		mirrored(ctx, t, c)
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

// refusedRemaps asks for what cannot be, and looks at what is said.
func refusedRemaps(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, b *api.Backup, node string) {
	t.Helper()
	target := c.TempNamespace(t, "target")
	small := resource.MustParse("64Mi")
	selector := func(k string, v api.LabelValue) *api.Remap {
		return &api.Remap{NodeSelector: &map[string]api.LabelValue{k: v}}
	}
	for _, tt := range []struct {
		name  string
		remap *api.Remap
		live  bool
		why   string
		says  []string
	}{
		{"a class that is not there", &api.Remap{StorageClassName: "nope"}, false, api.ReasonStorageClassMissing, []string{"nope", "--storage-class", "loop, loop-wait"}},
		{"a class of another driver", &api.Remap{StorageClassName: "nosnap"}, false, api.ReasonRemapInvalid, []string{"nosnap", "cannot read the snapshot", "loop-wait"}},
		{"a claim that is too small", &api.Remap{ClaimSize: &small}, false, api.ReasonClaimTooSmall, []string{o.Claim(0), "64Mi", "needs 1Gi", "--claim-size"}},
		{"a zone that nobody is in", &api.Remap{Zone: "nowhere"}, false, api.ReasonNodeUnavailable, []string{"no node", "nowhere", zone, "--zone"}},
		{"a selector that fits no node", selector(pool, "other"), false, api.ReasonNodeUnavailable, []string{"Deployment", "no node", pool + "=other", "--node-selector"}},
		{"the name of a node of the source", selector(corev1.LabelHostname, "gone-1"), false, api.ReasonNodeUnavailable, []string{"gone-1", "node of the source", "--node-selector"}},
		{"a zone against a selector", &api.Remap{Zone: zone, NodeSelector: &map[string]api.LabelValue{corev1.LabelTopologyZone: "b"}}, false, api.ReasonRemapInvalid, []string{"zone is " + zone}},
		{"a selector that is no label", selector("a b", "x"), false, api.ReasonRemapInvalid, []string{"nodeSelector", "a b"}},
		{"a toleration that cannot be", &api.Remap{Tolerations: &[]corev1.Toleration{{Operator: corev1.TolerationOpEqual, Value: "x"}}}, false, api.ReasonRemapInvalid, []string{"without a key"}},
		{"an ingress class that is not there", &api.Remap{Ingress: &api.IngressRemap{Host: "x.example.org", ClassName: "nope"}}, false, api.ReasonIngressClassMissing, []string{"nope", "nobody would serve", "e2e-new", "--ingress-class"}},
		{"the source's own ingress class, which is not here", &api.Remap{Ingress: &api.IngressRemap{Host: "x.example.org"}}, false, api.ReasonIngressClassMissing, []string{"e2e-old", "--ingress-class"}},
		{"a host that the source serves", &api.Remap{Ingress: &api.IngressRemap{ClassName: "e2e-new"}}, true, api.ReasonIngressConflict, []string{"cht.example.org", o.Namespace + "/", "--ingress-host"}},
		{"a class for a clone without a host", &api.Remap{Ingress: &api.IngressRemap{ClassName: "e2e-new"}}, false, api.ReasonRemapInvalid, []string{"host of its own", "--ingress-host"}},
		{"what fits nothing", &api.Remap{Replicas: map[string]api.Replicas{"sentinal": 2}, Images: []api.ImageRemap{{From: "quay.example.org/cht", To: mirror}}}, false, api.ReasonRemapInvalid,
			[]string{"fits nothing", `"sentinal"`, "sentinel", "quay.example.org/cht"}},
		{"an image's tag", &api.Remap{Images: []api.ImageRemap{{From: "https://docker.io", To: mirror}}}, false, api.ReasonRemapInvalid, []string{"without https://"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := sourceOf(b)
			spec.Remap, spec.GoLive = tt.remap, tt.live
			deleteRestore(ctx, t, c, refused(ctx, t, c, target, spec, tt.why, tt.says...))
			nothingMade(ctx, t, c, target)
		})
	}
	t.Run("a taint that nobody tolerates", func(t *testing.T) {
		tainted(ctx, t, c, node, corev1.Taint{Key: "spare", Value: "yes", Effect: corev1.TaintEffectNoSchedule})
		deleteRestore(ctx, t, c, refused(ctx, t, c, target, sourceOf(b), api.ReasonNodeUnavailable, node, "spare=yes:NoSchedule", "does not tolerate", "--toleration"))
		nothingMade(ctx, t, c, target)
		spec := sourceOf(b)
		spec.PlanOnly, spec.Remap = true, &api.Remap{Tolerations: &[]corev1.Toleration{{Key: "spare", Operator: corev1.TolerationOpExists}}}
		deleteRestore(ctx, t, c, plannedRestore(ctx, t, c, target, "tolerated", spec))
	})
	t.Run("a class that does not wait, and a zone", func(t *testing.T) {
		spec := sourceOf(b)
		spec.PlanOnly, spec.Remap = true, &api.Remap{Zone: zone}
		r := plannedRestore(ctx, t, c, target, "zone", spec)
		saysAll(t, strings.Join(r.Status.Plan.Warnings, "\n"), "storage class loop", "another zone than "+zone, "pinned to node "+node)
		deleteRestore(ctx, t, c, r)
	})
	t.Run("in place, an ingress", func(t *testing.T) {
		spec := inPlace(b)
		spec.Remap = &api.Remap{Ingress: &api.IngressRemap{Host: "x.example.org"}}
		deleteRestore(ctx, t, c, refused(ctx, t, c, o.Namespace, spec, api.ReasonRemapInvalid, "in place the ingress stays"))
	})
	t.Run("what the API server takes", func(t *testing.T) { refusedByAPI(ctx, t, c, b, target) })
}

// refusedByAPI are the rules on the kind itself: nothing of the product need run.
func refusedByAPI(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup, namespace string) {
	t.Helper()
	none := resource.MustParse("0")
	with := func(change func(*api.Remap)) func(*api.RestoreSpec) {
		return func(s *api.RestoreSpec) {
			s.Remap = &api.Remap{}
			change(s.Remap)
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*api.RestoreSpec)
		says   string
	}{
		{"no size at all", with(func(r *api.Remap) { r.ClaimSize = &none }), "claimSize must be more than 0"},
		{"two of a CouchDB node", with(func(r *api.Remap) { r.Replicas = map[string]api.Replicas{"couchdb-2": 2} }), "a CouchDB node has one replica"},
		{"less than none", with(func(r *api.Remap) { r.Replicas = map[string]api.Replicas{"api": -1} }), "greater than or equal to 0"},
		{"too many", with(func(r *api.Remap) { r.Replicas = map[string]api.Replicas{"api": 101} }), "less than or equal to 100"},
		{"the CHT's own label", with(func(r *api.Remap) { r.Labels = map[string]api.LabelValue{"cht.service": "api"} }), "have meanings"},
		{"one of our labels", with(func(r *api.Remap) { r.Labels = map[string]api.LabelValue{api.RestoreUIDLabel: "x"} }), "have meanings"},
		{"a label too long", with(func(r *api.Remap) { r.Labels = map[string]api.LabelValue{"a": api.LabelValue(strings.Repeat("x", 64))} }), "63"},
		{"an ingress of nothing", with(func(r *api.Remap) { r.Ingress = &api.IngressRemap{} }), "names a host, a className, or both"},
		{"an image from nowhere", with(func(r *api.Remap) { r.Images = []api.ImageRemap{{To: mirror}} }), "spec.remap.images[0].from"},
		{"live, and for an hour", func(s *api.RestoreSpec) { s.GoLive, s.TimeToLive = true, &metav1.Duration{Duration: time.Hour} }, "timeToLive is for clones"},
		{"live, and in place", func(s *api.RestoreSpec) { s.GoLive, s.InPlace = true, &api.InPlace{} }, "exclude each other"},
		{"one database with new credentials", func(s *api.RestoreSpec) {
			s.Database, s.Credentials = &api.DatabaseRestore{Name: "medic"}, api.CredentialsRotate
		}, "credentials: Rotate has no meaning for one database"},
		{"CouchDB alone, live", func(s *api.RestoreSpec) { s.GoLive, s.Scope = true, api.ScopeCouchDB }, "scope CouchDB is for clones"},
	} {
		r := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "dry"}, Spec: sourceOf(b)}
		tt.change(&r.Spec)
		if err := c.Client.Create(ctx, r, client.DryRunAll); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: the API server says %v, want %q", tt.name, err, tt.says)
		} else {
			t.Logf("%s: %v", tt.name, err)
		}
	}
	spec := sourceOf(b)
	spec.PlanOnly = true
	r := plannedRestore(ctx, t, c, namespace, "changed", spec)
	err := c.Client.Patch(ctx, r.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"remap":{"zone":"x"}}}`)))
	if err == nil || !strings.Contains(err.Error(), "a restore's spec cannot be changed") {
		t.Errorf("a remap put in later: %v", err)
	}
	deleteRestore(ctx, t, c, r)
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
			if !strings.HasPrefix(one.Image, mirror+"/") {
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

// labelled gives the one node labels until the test ends, and its name.
func labelled(ctx context.Context, t *testing.T, c *harness.Cluster, labels map[string]string) string {
	t.Helper()
	var nodes corev1.NodeList
	if err := c.Client.List(ctx, &nodes); err != nil || len(nodes.Items) == 0 {
		t.Fatalf("%d nodes: %v", len(nodes.Items), err)
	}
	node := &nodes.Items[0]
	patch := func(value string) string {
		var all []string
		for k, v := range labels {
			if value != "" {
				v = value
			} else {
				v = fmt.Sprintf("%q", v)
			}
			all = append(all, fmt.Sprintf("%q:%s", k, v))
		}
		return `{"metadata":{"labels":{` + strings.Join(all, ",") + `}}}`
	}
	t.Cleanup(func() {
		if err := c.Client.Patch(context.Background(), node.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch("null")))); err != nil {
			t.Errorf("take the labels off node %s: %v", node.Name, err)
		}
	})
	merge(ctx, t, c, node.DeepCopy(), patch(""))
	return node.Name
}

// tainted gives a node a taint until the test ends.
func tainted(ctx context.Context, t *testing.T, c *harness.Cluster, name string, taint corev1.Taint) {
	t.Helper()
	change := func(ctx context.Context, change func([]corev1.Taint) []corev1.Taint) error {
		node, err := c.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		base := node.DeepCopy()
		node.Spec.Taints = change(node.Spec.Taints)
		return c.Client.Patch(ctx, node, client.MergeFrom(base))
	}
	t.Cleanup(func() {
		if err := change(context.Background(), func(all []corev1.Taint) []corev1.Taint {
			return slices.DeleteFunc(all, func(one corev1.Taint) bool { return one.Key == taint.Key })
		}); err != nil {
			t.Errorf("take the taint off node %s: %v", name, err)
		}
	})
	if err := change(ctx, func(all []corev1.Taint) []corev1.Taint { return append(all, taint) }); err != nil {
		t.Fatal(err)
	}
}

func ingressClass(ctx context.Context, t *testing.T, c *harness.Cluster, name string) {
	t.Helper()
	class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressClassSpec{Controller: "example.org/e2e"}}
	if err := c.Client.Create(ctx, class); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Client.Delete(context.Background(), class); err != nil {
			t.Errorf("delete ingress class %s: %v", name, err)
		}
	})
}

// mirrored gives the CHT's images the names they have in another registry.
func mirrored(ctx context.Context, t *testing.T, c *harness.Cluster) {
	t.Helper()
	for _, image := range []string{c.Images.CouchDB, c.Images.HAProxy, c.Images.Tools} {
		if _, err := c.Testbed(ctx, "image", "tag", image, mirror+"/"+image); err != nil {
			t.Fatal(err)
		}
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

// nothingMade fails if a refusal came after the first step.
func nothingMade(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) {
	t.Helper()
	var deployments appsv1.DeploymentList
	if err := c.Client.List(ctx, &deployments, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	if n := len(deployments.Items) + len(claims(ctx, t, c, namespace)); n > 0 {
		t.Errorf("the restore was refused, and %d workloads and claims are there", n)
	}
}
