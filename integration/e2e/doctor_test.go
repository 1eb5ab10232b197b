package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/await"
)

// checkup is what `kubectl cht doctor -o json` says.
type checkup struct {
	Healthy  bool
	Findings []struct{ Severity, Kind, Name, What, Result string }
}

func (u checkup) of(severity string) (names []string) {
	for _, f := range u.Findings {
		if f.Severity == severity {
			names = append(names, f.Kind+" "+f.Name)
		}
	}
	slices.Sort(names)
	return names
}

func checked(ctx context.Context, t *testing.T, p plugin, namespace, flags string, code int) checkup {
	t.Helper()
	got, out, errOut := p.run(ctx, t, "doctor --check Controller,Progress,Leftovers --older-than 1s -o json -n "+namespace+" "+flags)
	says(t, "doctor "+flags, got, code, out+errOut)
	var u checkup
	if err := json.Unmarshal([]byte(out), &u); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return u
}

// examined plants what may be left behind beside a living backup, a record that is
// kept and a clone whose Restore was deleted, and has doctor find and fix it.
func examined(ctx context.Context, t *testing.T, c *harness.Cluster, p plugin, o cht.Options, living *api.Backup, class string, untouched func(*testing.T)) {
	kept := unheld(t, c, o.Namespace, "kept", class, api.DeletionRetain)
	deleted(ctx, t, c, kept)
	grown()
	healthy := checked(ctx, t, p, o.Namespace, "", 0)
	if !healthy.Healthy || !slices.Equal(healthy.of("information"), []string{"record kept"}) {
		t.Errorf("before: %+v", healthy)
	}
	want, deletedSnapshots := plant(ctx, t, c, o, living, class)
	grown()
	sick := checked(ctx, t, p, o.Namespace, "", 6)
	if got := sick.of("orphan"); !slices.Equal(got, want) || len(sick.of("problem")) > 0 {
		t.Errorf("found\n%v\nwant\n%v\nproblems %v", got, want, sick.of("problem"))
	}
	code, out, errOut := p.typed(ctx, t, "doctor --check Leftovers --fix --older-than 1s -n "+o.Namespace, "no\n")
	says(t, "not agreed to", code, 2, out+errOut, "nothing is removed")
	if got := checked(ctx, t, p, o.Namespace, "", 6).of("orphan"); !slices.Equal(got, want) {
		t.Errorf("not agreed to, and left are %v", got)
	}
	fixed := checked(ctx, t, p, o.Namespace, "--fix --yes", 0)
	for _, f := range fixed.Findings {
		if f.Severity == "orphan" && f.Result != "removed" {
			t.Errorf("%s %s: %s", f.Kind, f.Name, f.Result)
		}
	}
	for driver, handles := range deletedSnapshots {
		for _, handle := range handles {
			for c.StorageHas(t, driver, handle) {
				select {
				case <-ctx.Done():
					t.Fatalf("the storage still has %s", handle)
				case <-time.After(100 * time.Millisecond):
				}
			}
		}
	}
	over(ctx, t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: scratchOf(o.Namespace)}})
	over(ctx, t, c, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: o.Namespace + "-lost"}})
	if again := checked(ctx, t, p, o.Namespace, "", 0); !again.Healthy || !slices.Equal(again.of("information"), []string{"record kept"}) {
		t.Errorf("after: %+v", again)
	}
	stored(t, c, kept, true)
	code, out, errOut = p.run(ctx, t, "delete backup kept --yes -n "+o.Namespace)
	says(t, "delete the record", code, 0, out+errOut)
	stored(t, c, kept, false)
	untouched(t)
}

// grown waits until all there is is older than a second, by any clock: doctor leaves
// alone what is younger.
func grown() { time.Sleep(2 * time.Second) }

// nobody is the UID of an owner that never was.
var nobody = uuid.NewUUID()

func scratchOf(namespace string) string { return fmt.Sprintf("%.40s-scratch-%.8s", namespace, nobody) }

// plant makes an orphan of each kind, and tells which, and what of it the storage has.
func plant(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, living *api.Backup, class string) (names []string, handles map[string][]string) {
	t.Helper()
	create := func(kind string, object client.Object) {
		t.Helper()
		if err := c.Client.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
		names = append(names, kind+" "+object.GetName())
	}
	backup, restore := map[string]string{api.BackupUIDLabel: string(nobody)}, map[string]string{api.RestoreUIDLabel: string(nobody)}
	meta := func(name string, labels map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: o.Namespace, Name: name, Labels: labels}
	}
	volume := living.Status.Volumes[0]
	handles = map[string][]string{}

	// Two snapshots of no backup, of one of them only the content.
	for i, node := range []string{"couchdb-1", "couchdb-2"} {
		snapshot := &snapv1.VolumeSnapshot{ObjectMeta: meta(fmt.Sprintf("gone-%.8s-1-%s", nobody, node), backup),
			Spec: snapv1.VolumeSnapshotSpec{VolumeSnapshotClassName: &class, Source: snapv1.VolumeSnapshotSource{PersistentVolumeClaimName: &volume.Claim}}}
		create("VolumeSnapshot", snapshot)
		content := usable(ctx, t, c, snapshot)
		merge(ctx, t, c, content, fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, api.BackupUIDLabel, nobody))
		names = append(names, "VolumeSnapshotContent "+content.Name)
		handles[content.Spec.Driver] = append(handles[content.Spec.Driver], *content.Status.SnapshotHandle)
		if i == 1 {
			if err := c.Client.Delete(ctx, snapshot); err != nil {
				t.Fatal(err)
			}
			over(ctx, t, c, snapshot)
			names = slices.DeleteFunc(names, func(n string) bool { return n == "VolumeSnapshot "+snapshot.Name })
		}
	}
	// An import of the living backup's snapshot, which must stay in the storage even
	// though somebody made the import one that deletes.
	imported := fmt.Sprintf("cht-restore-%.8s-couchdb", nobody)
	create("VolumeSnapshotContent", &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: imported, Labels: restore}, Spec: snapv1.VolumeSnapshotContentSpec{Driver: volume.Driver,
		DeletionPolicy: snapv1.VolumeSnapshotContentDelete, Source: snapv1.VolumeSnapshotContentSource{SnapshotHandle: &volume.Handle},
		VolumeSnapshotRef: corev1.ObjectReference{Kind: "VolumeSnapshot", APIVersion: snapv1.SchemeGroupVersion.String(), Namespace: o.Namespace, Name: imported}}})
	snapshot := &snapv1.VolumeSnapshot{ObjectMeta: meta(imported, restore), Spec: snapv1.VolumeSnapshotSpec{Source: snapv1.VolumeSnapshotSource{VolumeSnapshotContentName: &imported}}}
	create("VolumeSnapshot", snapshot)
	usable(ctx, t, c, snapshot)

	part := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: harness.ControllerNamespace, Name: fmt.Sprintf("cht-backup-%s-1", nobody), Labels: maps.Clone(backup)}}
	part.Labels[api.SourceNamespaceLabel], part.Labels["backup.communityhealthtoolkit.org/record-part"] = o.Namespace, "1"
	create("Secret", part)
	freezer := &corev1.Pod{ObjectMeta: meta(fmt.Sprintf("cht-freezer-%.8s-1-couchdb", nobody), maps.Clone(backup)),
		Spec: corev1.PodSpec{NodeSelector: map[string]string{"no": "where"}, Containers: []corev1.Container{{Name: "freezer", Image: c.Images.Tools}}}}
	freezer.Labels[api.RoleLabel] = "freezer"
	create("pod", freezer)
	none, size := "", corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}
	create("claim", &corev1.PersistentVolumeClaim{ObjectMeta: meta(fmt.Sprintf("couchdb-claim0-%.8s", nobody), restore),
		Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &none, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: corev1.VolumeResourceRequirements{Requests: size}}})
	// A volume whose claim is gone; the driver does not know it, which ends it as well.
	create("volume", &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: o.Namespace + "-lost", Labels: restore, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": volume.Driver}},
		Spec: corev1.PersistentVolumeSpec{Capacity: size, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:               &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: o.Namespace, Name: "claim-that-went", UID: nobody},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: volume.Driver, VolumeHandle: "none-" + string(nobody)}}}})
	released(ctx, t, c, o.Namespace+"-lost")
	create("namespace", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: scratchOf(o.Namespace), Labels: restore,
		Annotations: map[string]string{api.ScratchForAnnotation: o.Namespace + "/gone", api.CreatedForAnnotation: "scratch"}}})
	slices.Sort(names)
	return names, handles
}

// usable waits until a snapshot is ready, and gives its content.
func usable(ctx context.Context, t *testing.T, c *harness.Cluster, snapshot *snapv1.VolumeSnapshot) *snapv1.VolumeSnapshotContent {
	t.Helper()
	var list snapv1.VolumeSnapshotList
	content := &snapv1.VolumeSnapshotContent{}
	if err := await.List(ctx, c.Client, &list, func() (string, error) {
		for _, s := range list.Items {
			if s.Status != nil && s.Status.ReadyToUse != nil && *s.Status.ReadyToUse && s.Status.BoundVolumeSnapshotContentName != nil {
				content.Name = *s.Status.BoundVolumeSnapshotContentName
				return "", nil
			}
		}
		return "snapshot " + snapshot.Name, nil
	}, client.InNamespace(snapshot.Namespace), client.MatchingFields{"metadata.name": snapshot.Name}); err != nil {
		t.Fatal(err)
	}
	if err := c.Client.Get(ctx, clientKey(content), content); err != nil {
		t.Fatal(err)
	}
	return content
}

// released waits until a volume is known to have lost its claim.
func released(ctx context.Context, t *testing.T, c *harness.Cluster, name string) {
	t.Helper()
	var list corev1.PersistentVolumeList
	if err := await.List(ctx, c.Client, &list, func() (string, error) {
		for _, v := range list.Items {
			if v.Status.Phase == corev1.VolumeReleased {
				return "", nil
			}
		}
		return "volume " + name + " to be released", nil
	}, client.MatchingFields{"metadata.name": name}); err != nil {
		t.Fatal(err)
	}
}
