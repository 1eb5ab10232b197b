package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
)

// unheld takes a backup for which nothing is held, under a class that keeps the
// storage's snapshots.
func unheld(t *testing.T, c *harness.Cluster, namespace, name, class string, policy api.DeletionPolicy) *api.Backup {
	t.Helper()
	return c.Backup(t, namespace, name, api.BackupSpec{Quiesce: api.QuiesceNone, VolumeSnapshotClassName: &class, DeletionPolicy: policy}, backupWithin)
}

// stored fails unless the storage has the backup's snapshots, or has them no more.
func stored(t *testing.T, c *harness.Cluster, b *api.Backup, want bool) {
	t.Helper()
	if len(b.Status.Volumes) == 0 {
		t.Fatalf("backup %s has no volumes", b.Name)
	}
	for _, v := range b.Status.Volumes {
		if got := c.StorageHas(t, v.Driver, v.Handle); got != want {
			t.Errorf("backup %s (UID %s): the storage has snapshot %s: %v, want %v", b.Name, b.UID, v.Handle, got, want)
		}
	}
}

// over waits until something is no longer there.
func over(ctx context.Context, t *testing.T, c *harness.Cluster, o client.Object) {
	t.Helper()
	uid := o.GetUID()
	for {
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) || err == nil && uid != "" && o.GetUID() != uid {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%T %s is still there: finalizers %v", o, o.GetName(), o.GetFinalizers())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// deleted deletes a backup and waits for its end.
func deleted(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup) {
	t.Helper()
	deleteBackup(ctx, t, c, b)
	over(ctx, t, c, b.DeepCopy())
}

// recorded gives the UIDs of the records that are kept of a namespace.
func recorded(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) (uids []string) {
	t.Helper()
	heads, err := records(c).List(ctx, namespace)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range heads {
		uids = append(uids, string(h.UID))
	}
	slices.Sort(uids)
	return uids
}

func says(t *testing.T, what string, code, want int, text string, words ...string) {
	t.Helper()
	if code != want {
		t.Fatalf("%s: exit code %d, want %d:\n%s", what, code, want, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s: it does not say %q:\n%s", what, w, text)
		}
	}
}

// TestDeletion deletes backups in every way there is, and asks the storage what is
// left.
func TestDeletion(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("asks the testbed's storage what snapshots it has")
	}
	ctx := bounded(t, 12*time.Minute)
	o := deployed(ctx, t, c, 1, nil)
	p := built(ctx, t, c)
	class := c.RetainingSnapshotClass(t)

	// The one that all others must leave alone.
	living := unheld(t, c, o.Namespace, "living", class, "")
	before := holdings(ctx, t, c, o.Namespace)
	untouched := func(t *testing.T) {
		t.Helper()
		stored(t, c, living, true)
		if after := holdings(ctx, t, c, o.Namespace); !slices.Equal(before, after) {
			t.Errorf("the namespace had\n%v\nand has\n%v", before, after)
		}
		if got := recorded(ctx, t, c, o.Namespace); !slices.Equal(got, []string{string(living.UID)}) {
			t.Errorf("records of %v, want that of %s alone", got, living.UID)
		}
	}

	t.Run("a class that retains", func(t *testing.T) {
		b := unheld(t, c, o.Namespace, "b", class, "")
		stored(t, c, b, true)
		// Labels that somebody put on what is not that backup's.
		merge(ctx, t, c, &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: living.Status.Volumes[0].Snapshot}}, `{"metadata":{"labels":{"`+api.BackupUIDLabel+`":"`+string(b.UID)+`"}}}`)
		deleted(ctx, t, c, b)
		merge(ctx, t, c, &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: living.Status.Volumes[0].Snapshot}}, `{"metadata":{"labels":{"`+api.BackupUIDLabel+`":"`+string(living.UID)+`"}}}`)
		stored(t, c, b, false)
		untouched(t)
	})
	t.Run("a snapshot deleted by hand before", func(t *testing.T) {
		b := unheld(t, c, o.Namespace, "b", class, "")
		snapshot := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: b.Status.Volumes[0].Snapshot}}
		if err := c.Client.Delete(ctx, snapshot); err != nil {
			t.Fatal(err)
		}
		over(ctx, t, c, snapshot)
		stored(t, c, b, true)
		// Nor does the status know the content any more.
		content := &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: b.Status.Volumes[0].Content}}
		if err := c.Client.Get(ctx, clientKey(content), content); err != nil || content.Labels[api.BackupUIDLabel] != string(b.UID) || content.Labels[api.SourceNamespaceLabel] != o.Namespace {
			t.Errorf("%v: the content is labelled %v", err, content.Labels)
		}
		deleted(ctx, t, c, b)
		stored(t, c, b, false)
		untouched(t)
	})
	t.Run("a content made after its snapshot was deleted", func(t *testing.T) {
		b := unheld(t, c, o.Namespace, "b", class, "")
		// As it is then: nobody wrote it down, labelled it, or told the sidecar that it goes.
		snapshot := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: b.Status.Volumes[0].Snapshot}}
		if err := c.Client.Delete(ctx, snapshot); err != nil {
			t.Fatal(err)
		}
		over(ctx, t, c, snapshot)
		content := &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: b.Status.Volumes[0].Content}}
		merge(ctx, t, c, content, `{"metadata":{"labels":null,"annotations":null}}`)
		if err := c.Client.Get(ctx, clientKey(b), b); err != nil {
			t.Fatal(err)
		}
		was := b.DeepCopy()
		b.Status.Phase, b.Status.Volumes = api.PhaseFailed, nil
		if err := c.Client.Status().Update(ctx, b); err != nil {
			t.Fatal(err)
		}
		deleted(ctx, t, c, b)
		stored(t, c, was, false)
		untouched(t)
	})
	t.Run("retained, and its name used again", func(t *testing.T) {
		b := unheld(t, c, o.Namespace, "r", class, api.DeletionRetain)
		code, out, errOut := p.run(ctx, t, "hold r --reason audit -n "+o.Namespace)
		says(t, "hold", code, 0, out+errOut, "is held: audit")
		code, out, errOut = p.run(ctx, t, "delete backup r --yes -n "+o.Namespace)
		says(t, "delete a held one", code, 4, out+errOut, "is held (audit)", "kubectl cht release r -n "+o.Namespace)
		code, out, errOut = p.run(ctx, t, "release r -n "+o.Namespace)
		says(t, "release", code, 0, out+errOut, "is released")
		code, out, errOut = p.run(ctx, t, "delete backup r --yes -n "+o.Namespace)
		says(t, "delete", code, 0, out+errOut, "its snapshots and its record stay")
		over(ctx, t, c, b.DeepCopy())
		toldOf(ctx, t, c, b)
		again := unheld(t, c, o.Namespace, "r", class, "")
		stored(t, c, b, true)
		code, out, errOut = p.run(ctx, t, "list -o wide -n "+o.Namespace)
		says(t, "list", code, 0, out+errOut, "record only", string(b.UID))
		clone := c.TempNamespace(t, "clone")
		code, out, errOut = p.run(ctx, t, "restore --from "+o.Namespace+"/r --uid "+string(b.UID)+" --to "+clone+" --couchdb-only --dry-run")
		says(t, "restore", code, 0, out+errOut, "nothing is left of it")
		code, out, errOut = p.run(ctx, t, "delete backup r --yes -n "+o.Namespace+" --uid "+string(b.UID))
		says(t, "delete the record", code, 0, out+errOut, b.Status.Volumes[0].Handle, "and its record are deleted")
		stored(t, c, b, false)
		stored(t, c, again, true)
		deleted(ctx, t, c, again)
		stored(t, c, again, false)
		untouched(t)
	})
	t.Run("held, and deleted by kubectl all the same", func(t *testing.T) {
		b := unheld(t, c, o.Namespace, "h", class, "")
		code, out, errOut := p.run(ctx, t, "hold h -n "+o.Namespace)
		says(t, "hold", code, 0, out+errOut)
		deleted(ctx, t, c, b)
		stored(t, c, b, true)
		code, out, errOut = p.run(ctx, t, "delete backup h --yes -n "+o.Namespace)
		says(t, "delete a held record", code, 4, out+errOut, "is held (held by kubectl cht hold")
		code, out, errOut = p.run(ctx, t, "release h -n "+o.Namespace)
		says(t, "release", code, 0, out+errOut)
		code, out, errOut = p.run(ctx, t, "delete backup h --yes -n "+o.Namespace)
		says(t, "delete the record", code, 0, out+errOut)
		stored(t, c, b, false)
		untouched(t)
	})
	t.Run("doctor", func(t *testing.T) { examined(ctx, t, c, p, o, living, class, untouched) })
}

// toldOf waits for the event that lists what a deleted backup left.
func toldOf(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup) {
	t.Helper()
	for {
		var events corev1.EventList
		if err := c.Client.List(ctx, &events, client.InNamespace(b.Namespace)); err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Items {
			if e.InvolvedObject.UID == b.UID && e.Reason == api.ReasonRetained && strings.Contains(e.Message, b.Status.Volumes[0].Handle) {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no event %s lists %s", api.ReasonRetained, b.Status.Volumes[0].Handle)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
