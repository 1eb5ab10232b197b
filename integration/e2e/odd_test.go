package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/await"
)

// provisionedBy names, on a volume, the driver that deletes it with its storage. A
// volume that was made by hand has no such annotation.
const provisionedBy = "pv.kubernetes.io/provisioned-by"

// TestOddVolumes backs up, clones and takes back in place instances whose volumes
// were made by hand, as those of migrated installations are.
func TestOddVolumes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*cht.Options)
		more   func(context.Context, *testing.T, *harness.Cluster, cht.Options, *api.Backup, *load.Dump)
	}{
		{"data of an old installation, configuration in the image", func(o *cht.Options) {
			o.DataSubPath, o.ConfigInImage = "storage/medic-core/couchdb/data", true
		}, nil},
		{"data at the volume's root", func(o *cht.Options) { o.DataSubPath = "" }, overInTree},
	} {
		t.Run(tt.name, func(t *testing.T) { // one at a time: each takes all volumes made by hand away
			c := suite.Cluster(t)
			if !c.Local {
				t.Skip("makes PersistentVolumes of the testbed's driver by hand")
			}
			ctx := bounded(t, 12*time.Minute)
			discardHandMade(t, c)
			o := deployed(ctx, t, c, 1, func(o *cht.Options) {
				o.Components = cht.Components{}
				tt.change(o)
				o.StaticVolumes = []cht.StaticVolume{handMade(ctx, t, c, o.Namespace, o.Size)}
			})
			admin := couch.New("http://"+o.Servers()[0]+":5984", o.User, o.Password, c.Transport())
			if err := c.Seed(ctx, o.Namespace, "--url", admin.Base, "--docs", "200", "--users", "2", "--attachments", "0.1"); err != nil {
				t.Fatal(err)
			}
			b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{AllowedNamespaces: []string{"*"}})
			backedUp := contents(ctx, t, c, o)

			clone := c.TempNamespace(t, "clone")
			c.Restore(t, clone, "r", couchOnly(b, api.VerifyFull), restoreWithin)
			if diff := load.Diff(backedUp, without(dumped(ctx, t, c, o, clone), "\x00")); len(diff) > 0 {
				t.Errorf("the clone has %d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
			}

			if _, err := admin.Put(ctx, "medic", "later-1", map[string]any{"type": "person"}); err != nil {
				t.Fatal(err)
			}
			spec := inPlace(b)
			spec.InPlace.SafetyBackup = api.SafetyBackupSkip
			r := c.Restore(t, o.Namespace, "r", spec, restoreWithin)
			if diff := load.Diff(backedUp, contents(ctx, t, c, o)); len(diff) > 0 {
				t.Errorf("in place there are %d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
			}
			v := r.Status.Volumes[0]
			if v.SetAside != o.Volume(0) || v.SetAside != "couchdb-pv-"+o.Namespace {
				t.Errorf("volume %q is set aside, want %s", v.SetAside, o.Volume(0))
			}
			keptAside(ctx, t, c, r, v)
			saysAll(t, strings.Join(r.Status.Plan.Warnings, "\n"), v.SetAside, "made by hand", "spec.volumeName")
			saysAll(t, planText(r), "set volume "+v.SetAside+" of claim "+o.Claim(0)+" aside")
			noneHalf(ctx, t, c, o, r)
			if tt.more != nil {
				tt.more(ctx, t, c, o, b, backedUp)
			}

			backupGone(ctx, t, c, b)
			for _, namespace := range []string{clone, o.Namespace} {
				if err := c.DeleteNamespace(ctx, namespace); err != nil {
					t.Fatal(err)
				}
				onlyVolumes(ctx, t, c, namespace, v.SetAside)
			}
		})
	}
}

// overInTree puts an instance on an in-tree EBS volume, which nothing here can
// mount, as an instance is whose nodes lost it: it is set aside like any other.
func overInTree(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, b *api.Backup, backedUp *load.Dump) {
	t.Helper()
	name := "ebs-" + o.Namespace
	scaleCouch(ctx, t, c, o, 0)
	if err := c.Client.Delete(ctx, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Claim(0)}}); err != nil {
		t.Fatal(err)
	}
	claimsGone(ctx, t, c, o.Namespace, o.Claim(0))
	none := ""
	size := corev1.ResourceList{corev1.ResourceStorage: o.Size}
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		Capacity: size, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
		PersistentVolumeSource: corev1.PersistentVolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "aws://eu-west-2b/vol-0123456789abcdef0", FSType: "ext4"}}}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Claim(0), Labels: map[string]string{"own": "label"}}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: volume.Spec.AccessModes, Resources: corev1.VolumeResourceRequirements{Requests: size}, StorageClassName: &none, VolumeName: name}}
	t.Cleanup(func() {
		if err := c.Client.Delete(context.Background(), volume); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	for _, made := range []client.Object{volume, claim} {
		if err := c.Client.Create(ctx, made); err != nil {
			t.Fatal(err)
		}
	}
	bound(ctx, t, c, o.Namespace, o.Claim(0), name)
	scaleCouch(ctx, t, c, o, 1) // its pod waits for the volume

	spec := inPlace(b)
	refused(ctx, t, c, o.Namespace, spec, api.ReasonSafetyBackupFailed, "nothing was touched", "--no-safety-backup")
	spec.InPlace.SafetyBackup = api.SafetyBackupSkip
	r := aborted(ctx, t, c, o.Namespace, "aborted", spec, api.PhaseObjects, "former volumes again")
	noneHalf(ctx, t, c, o, r)
	bound(ctx, t, c, o.Namespace, o.Claim(0), name)
	if err := c.Client.Get(ctx, client.ObjectKeyFromObject(volume), volume); err != nil || volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || volume.Labels[api.SetAsideLabel] != "" {
		t.Errorf("after the way back volume %s has policy %s and labels %v (%v)", name, volume.Spec.PersistentVolumeReclaimPolicy, volume.Labels, err)
	}

	r = c.Restore(t, o.Namespace, "over-in-tree", spec, restoreWithin)
	if diff := load.Diff(backedUp, contents(ctx, t, c, o)); len(diff) > 0 {
		t.Errorf("%d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
	}
	if v := r.Status.Volumes[0]; v.SetAside != name {
		t.Errorf("volume %q is set aside, want %s", v.SetAside, name)
	}
	keptAside(ctx, t, c, r, r.Status.Volumes[0])
	saysAll(t, strings.Join(r.Status.Plan.Warnings, "\n"), name, "in-tree EBS volume (aws://eu-west-2b/vol-0123456789abcdef0)", "made by hand")
	if err := c.Client.Get(ctx, client.ObjectKeyFromObject(volume), volume); err != nil || volume.Spec.AWSElasticBlockStore == nil || volume.Status.Phase != corev1.VolumeReleased {
		t.Errorf("volume %s is %s (%v)", name, volume.Status.Phase, err)
	}
	if err := c.Client.Delete(ctx, volume); err != nil {
		t.Error(err)
	}
}

// handMade is storage of the testbed's driver that no PersistentVolume names: what
// an operator finds when he attaches a disk from elsewhere.
func handMade(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string, size resource.Quantity) cht.StaticVolume {
	t.Helper()
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "disk"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}}}}
	if err := c.Client.Create(ctx, claim); err != nil {
		t.Fatal(err)
	}
	volume := bound(ctx, t, c, namespace, claim.Name, "")
	merge(ctx, t, c, volume.DeepCopy(), `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`)
	if err := c.Client.Delete(ctx, claim); err != nil {
		t.Fatal(err)
	}
	claimsGone(ctx, t, c, namespace, claim.Name)
	if err := c.Client.Delete(ctx, volume); err != nil {
		t.Fatal(err)
	}
	volumeGone(ctx, t, c, volume.Name)
	return cht.StaticVolume{Source: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
		Driver: volume.Spec.CSI.Driver, VolumeHandle: volume.Spec.CSI.VolumeHandle, FSType: "ext4", VolumeAttributes: map[string]string{handMadeMark: "true"}}}}
}

// handMadeMark tells the volumes that handMade began from others; the driver does
// not look at it.
const handMadeMark = "e2e-hand-made"

// discardHandMade deletes, after the test's namespaces, what handMade made with its
// storage: a volume made by hand goes only if it is said whose it is.
func discardHandMade(t *testing.T, c *harness.Cluster) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var volumes corev1.PersistentVolumeList
		if err := c.Client.List(ctx, &volumes); err != nil {
			t.Error(err)
		}
		for i := range volumes.Items {
			pv := &volumes.Items[i]
			if pv.Spec.CSI == nil || pv.Spec.CSI.VolumeAttributes[handMadeMark] == "" {
				continue
			}
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}},"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`, provisionedBy, pv.Spec.CSI.Driver)
			if err := c.Client.Patch(ctx, pv, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
				t.Error(err)
				continue
			}
			var left corev1.PersistentVolumeList
			if err := await.List(ctx, c.Client, &left, volumeLeft(&left, pv.Name), client.MatchingFields{"metadata.name": pv.Name}); err != nil {
				t.Error(err)
			}
		}
	})
}

func volumeLeft(list *corev1.PersistentVolumeList, name string) func() (string, error) {
	return func() (string, error) {
		if len(list.Items) > 0 {
			return fmt.Sprintf("the end of volume %s (%s)", name, list.Items[0].Status.Phase), nil
		}
		return "", nil
	}
}

func volumeGone(ctx context.Context, t *testing.T, c *harness.Cluster, name string) {
	t.Helper()
	var volumes corev1.PersistentVolumeList
	if err := await.List(ctx, c.Client, &volumes, volumeLeft(&volumes, name), client.MatchingFields{"metadata.name": name}); err != nil {
		t.Fatal(err)
	}
}

// bound waits until a claim has a volume ("" takes any), and gives that.
func bound(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, name, volume string) *corev1.PersistentVolume {
	t.Helper()
	var list corev1.PersistentVolumeClaimList
	if err := await.List(ctx, c.Client, &list, func() (string, error) {
		for _, claim := range list.Items {
			if claim.Status.Phase == corev1.ClaimBound && (volume == "" || claim.Spec.VolumeName == volume) {
				volume = claim.Spec.VolumeName
				return "", nil
			}
		}
		return "claim " + name + " to be bound", nil
	}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name}); err != nil {
		t.Fatal(err)
	}
	var pv corev1.PersistentVolume
	if err := c.Client.Get(ctx, client.ObjectKey{Name: volume}, &pv); err != nil {
		t.Fatal(err)
	}
	return &pv
}

func claimsGone(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, name string) {
	t.Helper()
	var list corev1.PersistentVolumeClaimList
	if err := await.List(ctx, c.Client, &list, func() (string, error) {
		if len(list.Items) > 0 {
			return "the end of claim " + name, nil
		}
		return "", nil
	}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name}); err != nil {
		t.Fatal(err)
	}
}

// scaleCouch sets the replicas of a CouchDB that is alone, and waits for its pod to
// go or to come to a node.
func scaleCouch(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, replicas int) {
	t.Helper()
	if _, err := c.Kube.AppsV1().Deployments(o.Namespace).Patch(ctx, "cht-couchdb", types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	var pods corev1.PodList
	if err := await.List(ctx, c.Client, &pods, func() (string, error) {
		if len(pods.Items) != replicas {
			return fmt.Sprintf("%d CouchDB pods, not %d", replicas, len(pods.Items)), nil
		}
		return "", nil
	}, client.InNamespace(o.Namespace), client.MatchingLabels{cht.Label: "couchdb"}); err != nil {
		t.Fatal(err)
	}
}

// backupGone deletes a backup and waits until its snapshots went with it.
func backupGone(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup) {
	t.Helper()
	deleteBackup(ctx, t, c, b)
	var backups api.BackupList
	if err := await.List(ctx, c.Client, &backups, func() (string, error) {
		if len(backups.Items) > 0 {
			return "the end of backup " + b.Name, nil
		}
		return "", nil
	}, client.InNamespace(b.Namespace), client.MatchingFields{"metadata.name": b.Name}); err != nil {
		t.Fatal(err)
	}
}

// onlyVolumes waits until of the volumes that served a namespace only the named are
// left, and fails if anything else of storage is.
func onlyVolumes(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var volumes corev1.PersistentVolumeList
	if err := await.List(ctx, c.Client, &volumes, func() (string, error) {
		for _, v := range volumes.Items {
			if ref := v.Spec.ClaimRef; ref != nil && ref.Namespace == namespace && v.Name != name {
				return fmt.Sprintf("the end of volume %s (%s) of claim %s", v.Name, v.Status.Phase, ref.Name), nil
			}
		}
		return "", nil
	}); err != nil {
		t.Error(err)
	}
	for _, one := range holdings(ctx, t, c, namespace) {
		if !strings.HasPrefix(one, "volume "+name+" ") {
			t.Errorf("left of %s: %s", namespace, one)
		}
	}
}
