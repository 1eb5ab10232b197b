package e2e

import (
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
)

// TestCloneWithoutPrepareVolume is the proof that TestRoundTrip's packet count and
// its look at the source can fail: the same volumes, cloned as one would by hand,
// without prepare-volume, speak to the source.
func TestCloneWithoutPrepareVolume(t *testing.T) {
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("packets are seen on the testbed only, and no other cluster shall see such a clone")
	}
	ctx := bounded(t, 10*time.Minute)
	o := deployed(ctx, t, c, 3, nil)
	b := c.Backup(t, o.Namespace, "b", api.BackupSpec{}, backupWithin)
	before := state(ctx, t, c, o)
	record, err := records(c).Get(ctx, b.Status.Record)
	if err != nil {
		t.Fatal(err)
	}

	clone := o
	clone.Components = cht.Components{}
	clone.Namespace = c.TempNamespace(t, "trap")
	count := counted(t, c)
	group := snapv1.GroupName
	for _, node := range record.Nodes {
		name := clone.Namespace + "-" + node.Service
		t.Cleanup(func() {
			_ = c.Client.Delete(t.Context(), &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: name}})
		})
		content := &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: snapv1.VolumeSnapshotContentSpec{
			Driver: node.Driver, DeletionPolicy: snapv1.VolumeSnapshotContentRetain, Source: snapv1.VolumeSnapshotContentSource{SnapshotHandle: &node.SnapshotHandle},
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: clone.Namespace, Name: name}}}
		imported := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: clone.Namespace, Name: name},
			Spec: snapv1.VolumeSnapshotSpec{Source: snapv1.VolumeSnapshotSource{VolumeSnapshotContentName: &name}}}
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: clone.Namespace, Name: node.Claim}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: o.Size}},
			DataSource:  &corev1.TypedLocalObjectReference{APIGroup: &group, Kind: "VolumeSnapshot", Name: name}}}
		for _, err := range []error{c.Client.Create(ctx, content), c.Client.Create(ctx, imported), c.Client.Create(ctx, claim)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	objects, err := cht.Objects(clone)
	if err != nil {
		t.Fatal(err)
	}
	if err := cht.Apply(ctx, c.Client, objects); err != nil {
		t.Fatal(err)
	}
	if err := cht.WaitRolledOut(ctx, c.Client, clone.Namespace); err != nil {
		t.Fatal(err)
	}
	for ctx.Err() == nil {
		n, err := count.Between(o.Namespace, clone.Namespace)
		if err == nil && n > 0 && state(ctx, t, c, o) != before {
			t.Logf("%d packets, and the source's members or shard maps changed", n)
			return
		}
		time.Sleep(500 * time.Millisecond) // it joins when it likes
	}
	t.Error("a clone that still knows its source left it alone: the tests that look for this cannot fail")
}

// TestSharedFileSystem asks for a freeze of volumes that are directories of one
// file system which others use, as hostPath and local-path volumes are.
func TestSharedFileSystem(t *testing.T) {
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("needs the testbed's shared mount")
	}
	ctx := bounded(t, 6*time.Minute)
	var info corev1.ConfigMap
	info.Namespace, info.Name = metav1.NamespaceSystem, "testbed-info"
	if err := c.Client.Get(ctx, clientKey(&info), &info); err != nil {
		t.Fatal(err)
	}
	o := deployed(ctx, t, c, 1, func(o *cht.Options) {
		o.Components = cht.Components{HAProxy: true, Healthcheck: true}
		o.StaticVolumes = []cht.StaticVolume{{NodeName: info.Data["nodeName"],
			Source: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: info.Data["sharedMount"] + "/a"}}}}
	})
	c.ThawGuard(t, 3*time.Minute)
	writer := writing(ctx, t, c, o.Namespace, "writer", "--rate", "20", "--user-dbs", "0")

	// Its files would be copied, with a freeze if that is asked for.
	b := failed(ctx, t, c, o.Namespace, api.BackupSpec{Quiesce: api.QuiesceFreeze}, api.ReasonSharedFileSystem, "Pause")
	nothingLeft(ctx, t, c, o.Namespace, b)
	stopped(ctx, t, writer)
}
