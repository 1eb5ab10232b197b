package e2e

import (
	"context"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/catalog"
)

func clientKey(o client.Object) client.ObjectKey { return client.ObjectKeyFromObject(o) }

// blankSnapshot is the storage's name of a snapshot of a volume that nobody used.
func blankSnapshot(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options) string {
	t.Helper()
	claim := "blank"
	volume := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: claim}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: o.Size}}}}
	snapshot := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: claim}, Spec: snapv1.VolumeSnapshotSpec{Source: snapv1.VolumeSnapshotSource{PersistentVolumeClaimName: &claim}}}
	for _, object := range []client.Object{volume, snapshot} {
		if err := c.Client.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
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
		return "the blank volume's snapshot", nil
	}); err != nil {
		t.Fatal(err)
	}
	return handle
}

// TestWrongVolumes restores sets whose volumes are on the wrong nodes, or empty.
func TestWrongVolumes(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 15*time.Minute)
	o := deployed(ctx, t, c, 3, func(o *cht.Options) {
		o.Components = cht.AllComponents
		o.Components.Ingress = false // the source runs on: its host would refuse going live
	})
	b := c.Backup(t, o.Namespace, "b", api.BackupSpec{AllowedNamespaces: []string{"*"}}, backupWithin)
	good, err := records(c).Get(ctx, b.Status.Record)
	if err != nil {
		t.Fatal(err)
	}

	// The volume of a CouchDB that was just set up: its own directories, no shard of ours.
	other := deployed(ctx, t, c, 1, func(o *cht.Options) { o.Components = cht.Components{} })
	fresh, err := records(c).Get(ctx, c.Backup(t, other.Namespace, "fresh", api.BackupSpec{}, backupWithin).Status.Record)
	if err != nil {
		t.Fatal(err)
	}
	blank := blankSnapshot(ctx, t, c, o)

	for _, test := range []struct {
		name   string
		change func(*catalog.Record)
		why    string
		says   []string
	}{
		{"two volumes swapped", func(r *catalog.Record) {
			r.Nodes[1].SnapshotHandle, r.Nodes[2].SnapshotHandle = good.Nodes[2].SnapshotHandle, good.Nodes[1].SnapshotHandle
		}, api.ReasonShardsMissing, []string{"node couchdb-", "lacks shard shards/"}},
		{"one volume empty but for a fresh CouchDB", func(r *catalog.Record) { r.Nodes[1].SnapshotHandle = fresh.Nodes[0].SnapshotHandle },
			api.ReasonShardsMissing, []string{"node couchdb-2 lacks shard shards/"}},
		{"one volume blank", func(r *catalog.Record) { r.Nodes[2].SnapshotHandle = blank }, api.ReasonPrepareFailed, []string{"couchdb-3", "there is no CouchDB data"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			alter(ctx, t, c, b, func(r *catalog.Record) {
				r.Nodes = append([]catalog.Node(nil), good.Nodes...)
				test.change(r)
			})
			target := c.TempNamespace(t, "wrong")
			spec := sourceOf(b)
			spec.GoLive = true // and yet nothing may go live
			refused(ctx, t, c, target, spec, test.why, test.says...)
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
			if down != 3 && test.why == api.ReasonShardsMissing {
				t.Errorf("%d of api, sentinel and haproxy were restored at 0, want all three", down)
			}
		})
	}
	alter(ctx, t, c, b, func(r *catalog.Record) { r.Nodes = good.Nodes })
}
