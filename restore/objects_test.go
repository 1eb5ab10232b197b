package restore

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func TestRestored(t *testing.T) {
	for name, tt := range map[string]struct {
		restore *api.Restore
		want    string
	}{
		"a clone": {restoreOf(), "ServiceAccount Secret Service Deployment Deployment Deployment Deployment Deployment"},
		"live":    {restoreOf(live), "ServiceAccount Secret Service Deployment Deployment Deployment Deployment Deployment Ingress"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := recorded(t)
			var kinds []string
			replicas := map[string]string{}
			for _, o := range restored(tt.restore, objects, newRewriter(source, target, objects)) {
				kinds = append(kinds, o.GetKind())
				if o.GetNamespace() != target || o.GetLabels()[api.RestoreUIDLabel] != "restore-5" {
					t.Errorf("%s %s: namespace %s, labels %v", o.GetKind(), o.GetName(), o.GetNamespace(), o.GetLabels())
				}
				if o.GetKind() == "Deployment" {
					replicas[o.GetName()] = o.GetAnnotations()[replicasAnnotation]
					if n, found, err := unstructured.NestedInt64(o.Object, "spec", "replicas"); n != 0 || !found || err != nil {
						t.Errorf("%s would start at once: replicas %d, %v %v", o.GetName(), n, found, err)
					}
				}
			}
			if got := strings.Join(kinds, " "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			for d, want := range map[string]string{"cht-couchdb-1": "1", "cht-api": "3", "cht-sentinel": "0", "cht-haproxy": "1"} {
				if replicas[d] != want {
					t.Errorf("%s is noted with %q replicas, want %s", d, replicas[d], want)
				}
			}
			if objects[1].GetNamespace() != source || objects[1].GetLabels() != nil {
				t.Error("the record's objects were changed")
			}
		})
	}
}

// Everything of a prepare pod that matters for a volume that is not yet safe.
func TestPreparePod(t *testing.T) {
	node := recordOf(t, "u").Nodes[0]
	node.DataSubPath = "storage/medic-core/couchdb/data"
	const begin = "/cht-backup prepare-volume --data /volume/storage/medic-core/couchdb/data --config /volume/local.d"
	for want, tt := range map[string]struct {
		nodes  int
		change func(*api.Restore)
	}{
		begin + " --cluster --hold-replication": {2, func(*api.Restore) {}},
		begin + " --hold-replication":           {1, func(*api.Restore) {}},
		begin + " --cluster":                    {2, live},
		begin:                                   {1, func(r *api.Restore) { r.Spec.InPlace = &api.InPlace{} }},
	} {
		w := workOf(t, restoreOf(tt.change))
		w.record.Nodes = w.record.Nodes[:tt.nodes]
		if got := strings.Join(w.preparePod(node, "i").Spec.Containers[0].Command, " "); got != want {
			t.Errorf("got %s", got)
		}
	}
	node.DataSubPath, node.ConfigOnVolume = "", false
	p := workOf(t, restoreOf()).preparePod(node, "i")
	if got := strings.Join(p.Spec.Containers[0].Command, " "); got != "/cht-backup prepare-volume --data /volume --cluster --hold-replication" {
		t.Errorf("got %s", got)
	}
	c := p.Spec.Containers[0].SecurityContext
	if *c.AllowPrivilegeEscalation || c.Privileged != nil || c.Capabilities.Drop[0] != "ALL" || slices.Contains(c.Capabilities.Add, "SYS_ADMIN") || p.Spec.HostNetwork {
		t.Errorf("security context %+v", c)
	}
}

// The copy points at the storage's snapshot and can never delete it.
func TestVolumeObjects(t *testing.T) {
	node := recordOf(t, "u").Nodes[0]
	node.RestoreBytes, node.ClaimLabels = 2<<30, map[string]string{"app": "cht", api.RestoreUIDLabel: "an older restore's"}
	c, s, pvc := content(restoreOf(), node), snapshotOf(restoreOf(), node), claim(restoreOf(), node)
	if c.Spec.DeletionPolicy != "Retain" || *c.Spec.Source.SnapshotHandle != "h-couchdb-1" || c.Spec.VolumeSnapshotRef.Namespace != target || c.Spec.VolumeSnapshotRef.Name != s.Name ||
		*s.Spec.Source.VolumeSnapshotContentName != c.Name {
		t.Errorf("content %+v, snapshot %+v", c.Spec, s.Spec)
	}
	if pvc.Name != "couchdb-1-claim0" || pvc.Namespace != target || pvc.Spec.DataSource.Name != s.Name || *pvc.Spec.StorageClassName != "gp3" || pvc.Spec.VolumeName != "" ||
		pvc.Spec.Resources.Requests.Storage().Value() != 2<<30 || pvc.Labels["app"] != "cht" || pvc.Labels[api.RestoreUIDLabel] != "restore-5" {
		t.Errorf("claim %+v", pvc)
	}
	node.StorageClass, node.RestoreBytes = "", 0
	if pvc := claim(restoreOf(), node); pvc.Spec.StorageClassName != nil || pvc.Spec.Resources.Requests.Storage().Value() != 1<<30 {
		t.Errorf("claim %+v", pvc.Spec)
	}
}
