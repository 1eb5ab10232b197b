package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
)

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
		{"a class of another file system", &api.Remap{StorageClassName: "loop-xfs"}, false, api.ReasonRemapInvalid, []string{"loop-xfs", "file system xfs", "has ext4", "--storage-class"}},
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
		{"an address as a registry", &api.Remap{Images: []api.ImageRemap{{From: "https://docker.io", To: mirror}}}, false, api.ReasonRemapInvalid, []string{"without https://"}},
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
