package e2e

import (
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/catalog"
)

func clientKey(o client.Object) client.ObjectKey { return client.ObjectKeyFromObject(o) }

// TestWrongVolumes restores sets whose volumes are on the wrong nodes, or empty.
func TestWrongVolumes(t *testing.T) {
	c := suite.Cluster(t)
	ctx := bounded(t, 15*time.Minute)
	o := deployed(ctx, t, c, 3, func(o *cht.Options) { o.Components = cht.AllComponents })
	b := c.Backup(t, o.Namespace, "b", api.BackupSpec{AllowedNamespaces: []string{"*"}}, backupWithin)
	good, err := records(c).Get(ctx, b.Status.Record)
	if err != nil {
		t.Fatal(err)
	}

	// A volume that has CouchDB's directories and nothing in them.
	empty := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: "empty"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: o.Size}}}}
	maker := cht.ToolPod(o.Namespace, "maker", c.Images.Tools, "idle")
	maker.Spec.Volumes = append(maker.Spec.Volumes, corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "empty"}}})
	maker.Spec.Containers[0].VolumeMounts = append(maker.Spec.Containers[0].VolumeMounts,
		corev1.VolumeMount{Name: "v", MountPath: "/d", SubPath: "data"}, corev1.VolumeMount{Name: "v", MountPath: "/l", SubPath: "local.d"})
	for _, object := range []client.Object{empty, maker} {
		if err := c.Client.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	waitRunning(ctx, t, c, maker)
	claim := "empty"
	snapshot := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: "empty"}, Spec: snapv1.VolumeSnapshotSpec{Source: snapv1.VolumeSnapshotSource{PersistentVolumeClaimName: &claim}}}
	if err := c.Client.Create(ctx, snapshot); err != nil {
		t.Fatal(err)
	}
	var contents snapv1.VolumeSnapshotContentList
	handle := ""
	if err := await.List(ctx, c.Client, &contents, func() (string, error) {
		for _, one := range contents.Items {
			if one.Spec.VolumeSnapshotRef.UID == snapshot.UID && one.Status != nil && one.Status.SnapshotHandle != nil {
				handle = *one.Status.SnapshotHandle
				return "", nil
			}
		}
		return "the empty volume's snapshot", nil
	}); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		name   string
		change func(*catalog.Record)
		says   []string
	}{
		{"two volumes swapped", func(r *catalog.Record) {
			r.Nodes[1].SnapshotHandle, r.Nodes[2].SnapshotHandle = good.Nodes[2].SnapshotHandle, good.Nodes[1].SnapshotHandle
		}, []string{"node couchdb-", "lacks shard shards/"}},
		{"one volume empty", func(r *catalog.Record) { r.Nodes[1].SnapshotHandle = handle }, []string{"node couchdb-2 lacks shard shards/"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			alter(ctx, t, c, b, func(r *catalog.Record) {
				r.Nodes = append([]catalog.Node(nil), good.Nodes...)
				test.change(r)
			})
			target := c.TempNamespace(t, "wrong")
			spec := sourceOf(b)
			spec.GoLive = false
			refused(ctx, t, c, target, spec, api.ReasonShardsMissing, test.says...)
			var deployments appsv1.DeploymentList
			if err := c.Client.List(ctx, &deployments, client.InNamespace(target)); err != nil {
				t.Fatal(err)
			}
			down := 0
			for _, d := range deployments.Items {
				if service := d.Spec.Template.Labels[cht.Label]; service == "api" || service == "sentinel" || service == "haproxy" {
					down++
					if *d.Spec.Replicas != 0 {
						t.Errorf("%s runs on data that is not what was backed up", service)
					}
				}
			}
			if down != 3 {
				t.Errorf("%d of api, sentinel and haproxy were restored at 0, want all three", down)
			}
		})
	}
	alter(ctx, t, c, b, func(r *catalog.Record) { r.Nodes = good.Nodes })
}
