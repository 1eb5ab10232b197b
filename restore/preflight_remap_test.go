package restore

import (
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/reason"
)

func TestFits(t *testing.T) {
	class := func(name, driver string, change ...func(*storagev1.StorageClass)) client.Object {
		c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: driver}
		for _, f := range change {
			f(c)
		}
		return c
	}
	standard := func(age time.Duration) func(*storagev1.StorageClass) {
		return func(c *storagev1.StorageClass) {
			c.Annotations, c.CreationTimestamp = map[string]string{defaultClassAnnotation: "true"}, metav1.NewTime(epoch.Add(-age))
		}
	}
	waits := func(c *storagev1.StorageClass) {
		late := storagev1.VolumeBindingWaitForFirstConsumer
		c.VolumeBindingMode = &late
	}
	quantity := func(s string) *resource.Quantity {
		q := resource.MustParse(s)
		return &q
	}
	byHand := func(r *catalog.Record) {
		for i := range r.Nodes {
			r.Nodes[i].StorageClass = ""
		}
	}
	needs := func(bytes int64) func(*catalog.Record) {
		return func(r *catalog.Record) { r.Nodes[0].RestoreBytes = bytes }
	}
	for _, tt := range []struct {
		name   string
		with   []client.Object
		remap  *api.Remap
		live   bool
		record func(*catalog.Record)
		reason string
		says   []string // of the refusal, or of the cautions
	}{
		{name: "as it was", with: []client.Object{gp3()}},
		{name: "the class is not here", with: []client.Object{class("fast", "d"), class("x", "other")}, reason: api.ReasonStorageClassMissing, says: []string{"gp3", "couchdb-1-claim0", "--storage-class", "there are: fast"}},
		{name: "the class is another driver's here", with: []client.Object{class("gp3", "other"), class("fast", "d")}, reason: api.ReasonStorageClassMissing, says: []string{"of other in this cluster", "of driver d", "fast"}},
		{name: "no class of the driver at all", with: []client.Object{class("x", "other")}, reason: api.ReasonStorageClassMissing, says: []string{"no storage class of driver d", "install the driver"}},
		{name: "remapped", with: []client.Object{class("fast", "d")}, remap: &api.Remap{StorageClassName: "fast"}},
		{name: "remapped to nothing", with: []client.Object{gp3()}, remap: &api.Remap{StorageClassName: "fast"}, reason: api.ReasonStorageClassMissing, says: []string{"fast", "spec.remap.storageClassName", "gp3"}},
		{name: "remapped to another driver's", with: []client.Object{gp3(), class("x", "other")}, remap: &api.Remap{StorageClassName: "x"}, reason: api.ReasonRemapInvalid, says: []string{"of other", "cannot read the snapshot"}},
		{name: "made by hand, into the default", with: []client.Object{gp3(), class("fast", "d", standard(0))}, record: byHand},
		{name: "made by hand, into the newest default", with: []client.Object{class("old", "other", standard(time.Hour)), class("fast", "d", standard(0))}, record: byHand},
		{name: "made by hand, no default", with: []client.Object{gp3()}, record: byHand, reason: api.ReasonStorageClassMissing, says: []string{"made by hand", "no default", "--storage-class", "gp3"}},
		{name: "made by hand, a default of another driver", with: []client.Object{gp3(), class("x", "other", standard(0))}, record: byHand, reason: api.ReasonStorageClassMissing, says: []string{"default class x is of other", "gp3"}},
		{name: "made by hand, remapped", with: []client.Object{gp3(), class("x", "other", standard(0))}, remap: &api.Remap{StorageClassName: "gp3"}, record: byHand},
		{name: "of another file system", with: []client.Object{gp3(), class("fast", "d", func(c *storagev1.StorageClass) { c.Parameters = map[string]string{"csi.storage.k8s.io/fstype": "xfs"} })},
			remap: &api.Remap{StorageClassName: "fast"}, record: func(r *catalog.Record) { r.Nodes[1].FSType = "ext4" }, reason: api.ReasonRemapInvalid, says: []string{"class fast", "xfs", "couchdb-2 has ext4", "--storage-class"}},
		{name: "of a file system that nobody knows", with: []client.Object{gp3(), class("fast", "d", func(c *storagev1.StorageClass) { c.Parameters = map[string]string{"fstype": "xfs"} })},
			remap: &api.Remap{StorageClassName: "fast"}, says: []string{"class fast", "xfs", "couchdb-1-claim0 did not say"}},
		{name: "of the same file system", with: []client.Object{class("fast", "d", func(c *storagev1.StorageClass) { c.Parameters = map[string]string{"fsType": "ext4"} })},
			remap: &api.Remap{StorageClassName: "fast"}, record: func(r *catalog.Record) { r.Nodes[0].FSType, r.Nodes[1].FSType = "ext4", "ext4" }},
		{name: "on a partition", with: []client.Object{gp3()}, record: func(r *catalog.Record) { r.Nodes[0].Partition = "1" }, says: []string{"couchdb-1-claim0", "partition 1", "may not mount"}},
		{name: "larger", with: []client.Object{gp3()}, remap: &api.Remap{ClaimSize: quantity("5Gi")}},
		{name: "smaller than the volume, large enough for the snapshot", with: []client.Object{gp3()}, remap: &api.Remap{ClaimSize: quantity("600Mi")}, record: func(r *catalog.Record) {
			for i := range r.Nodes {
				r.Nodes[i].RestoreBytes = 512 << 20
			}
		}},
		{name: "smaller than the snapshot", with: []client.Object{gp3()}, remap: &api.Remap{ClaimSize: quantity("1Gi")}, record: needs(2 << 30), reason: api.ReasonClaimTooSmall, says: []string{"couchdb-1-claim0", "1Gi", "needs 2Gi", "--claim-size"}},
		{name: "smaller than the volume, and the storage says nothing", with: []client.Object{gp3()}, remap: &api.Remap{ClaimSize: quantity("600Mi")}, reason: api.ReasonClaimTooSmall, says: []string{"needs 1Gi"}},
		{name: "a zone that is not here", with: []client.Object{gp3()}, remap: &api.Remap{Zone: "z1"}, reason: api.ReasonNodeUnavailable, says: []string{"zone z1", "nodes in: none"}},
		{name: "a zone, of volumes that are made at once", with: []client.Object{gp3(), zoned("z1")}, remap: &api.Remap{Zone: "z1"}, says: []string{"storage class gp3", "another zone than z1"}},
		{name: "a zone, of volumes that wait", with: []client.Object{class("gp3", "d", waits), zoned("z1")}, remap: &api.Remap{Zone: "z1"}},
		{name: "what is no label", with: []client.Object{gp3()}, remap: &api.Remap{Labels: map[string]api.LabelValue{"a b": "c"}}, reason: api.ReasonRemapInvalid, says: []string{"labels", `"a b"`}},
		{name: "what fits nothing", with: []client.Object{gp3()}, remap: &api.Remap{Replicas: map[string]api.Replicas{"apy": 2}}, reason: api.ReasonRemapInvalid, says: []string{"fits nothing", `"apy"`, "api, couchdb-1"}},
		{name: "a class for an ingress that a clone lacks", with: []client.Object{gp3(), ingressClassOf("nginx")}, remap: &api.Remap{Ingress: &api.IngressRemap{ClassName: "nginx"}}, reason: api.ReasonRemapInvalid, says: []string{"host of its own", "--ingress-host"}},
		{name: "an ingress class", with: []client.Object{gp3(), ingressClassOf("nginx")}, live: true, remap: &api.Remap{Ingress: &api.IngressRemap{ClassName: "nginx"}}},
		{name: "an ingress class that is not here", with: []client.Object{gp3(), ingressClassOf("nginx")}, live: true, remap: &api.Remap{Ingress: &api.IngressRemap{ClassName: "traefik"}}, reason: api.ReasonIngressClassMissing, says: []string{"traefik", "nobody would serve", "nginx", "--ingress-class"}},
		{name: "no class at all, as on k3s", with: []client.Object{gp3()}, live: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			restore := restoreOf(func(r *api.Restore) { r.Spec.Remap, r.Spec.GoLive = tt.remap, tt.live })
			w := workOf(t, restore)
			if tt.record != nil {
				tt.record(&w.record)
			}
			err := newBench(t, tt.with...).fits(t.Context(), w)
			if e := reason.Of(err); (err == nil) != (tt.reason == "") || err != nil && (e == nil || e.Reason != tt.reason || !e.Final) {
				t.Fatalf("got %v, want %q", err, tt.reason)
			}
			text := strings.Join(w.cautions, "\n")
			if err != nil {
				text = err.Error()
			} else if len(tt.says) == 0 && text != "" {
				t.Errorf("cautions: %s", text)
			}
			for _, word := range tt.says {
				if !strings.Contains(text, word) {
					t.Errorf("no %q in: %s", word, text)
				}
			}
		})
	}
	t.Run("in place, an ingress", func(t *testing.T) {
		restore := restoreOf(func(r *api.Restore) {
			r.Spec.InPlace, r.Spec.Remap = &api.InPlace{}, &api.Remap{Ingress: &api.IngressRemap{Host: "x.example.org"}}
		})
		if e := reason.Of(newBench(t, gp3()).fits(t.Context(), workOf(t, restore))); e == nil || e.Reason != api.ReasonRemapInvalid || !strings.Contains(e.Error(), "in place the ingress stays") {
			t.Errorf("%+v", e)
		}
	})
}

func ingressClassOf(name string) client.Object {
	return &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
