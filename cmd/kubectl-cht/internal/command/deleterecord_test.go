package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// contentOf is a retained content of a backup of namespace medic.
func contentOf(backup string, uid types.UID, node string, change ...func(*snapv1.VolumeSnapshotContent)) *snapv1.VolumeSnapshotContent {
	snapshot := types.UID(fmt.Sprintf("vs-%s-%s", uid, node))
	handle := fmt.Sprintf("snap-%s-%s", uid, node)
	c := &snapv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: "snapcontent-" + string(snapshot), Labels: map[string]string{api.BackupUIDLabel: string(uid), api.SourceNamespaceLabel: "medic"}},
		Spec: snapv1.VolumeSnapshotContentSpec{DeletionPolicy: snapv1.VolumeSnapshotContentRetain,
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: "medic", Name: fmt.Sprintf("%s-%.8s-1-%s", backup, uid, node), UID: snapshot}},
		Status: &snapv1.VolumeSnapshotContentStatus{SnapshotHandle: &handle},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func unlabelled(c *snapv1.VolumeSnapshotContent) { c.Labels = nil }

// left names the contents and records that there are.
func (w *world) left(t *testing.T) (names []string) {
	t.Helper()
	var contents snapv1.VolumeSnapshotContentList
	var secrets corev1.SecretList
	for _, list := range []client.ObjectList{&contents, &secrets} {
		if err := w.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range contents.Items {
		names = append(names, strings.TrimPrefix(c.Name, "snapcontent-vs-")+"="+string(c.Spec.DeletionPolicy))
	}
	for _, s := range secrets.Items {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

func TestDeleteRecord(t *testing.T) {
	deleted := map[string]snapv1.DeletionPolicy{} // the policy of a content when it was deleted
	hooks := interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
		var content snapv1.VolumeSnapshotContent
		if c.Get(ctx, client.ObjectKeyFromObject(o), &content) == nil {
			deleted[content.Name] = content.Spec.DeletionPolicy
		}
		return c.Delete(ctx, o, opts...)
	}}
	again := backupIn(api.PhaseCompleted, "u-3") // the name was used again since
	again.Name = "old"
	done := restoreIn("clone", "r") // it has read what it needs
	done.Status.Phase, done.Status.BackupUID = api.PhaseCompleted, "u-1"
	w := newWorld(t, hooks, again, done, recordOf(t, "medic", "old", "u-1", noon), recordOf(t, "medic", "old", "u-2", noon), recordOf(t, "medic", "old", "u-3", noon), recordOf(t, "medic", "nightly", "u-4", noon),
		contentOf("old", "u-1", "couchdb-1"), contentOf("old", "u-1", "couchdb-2", unlabelled), contentOf("old", "u-2", "couchdb"), contentOf("old", "u-3", "couchdb"),
		contentOf("nightly", "u-4", "couchdb"), contentOf("nightly", "u-1", "couchdb-7"))
	before := w.left(t)
	w.mustRun(t, exit.Usage, []string{"give --yes"}, "delete", "backup", "old", "--uid", "u-1")
	w.mustRun(t, exit.Refused, []string{"no record with UID u-9"}, "delete", "backup", "old", "--uid", "u-9", "--yes")
	w.somebody("no\n")
	w.mustRun(t, exit.Usage, []string{`"no" is not the backup's name`}, "delete", "backup", "old", "--uid", "u-1")
	if asked := w.er.String(); !strings.Contains(asked, "only the record is left") || !strings.Contains(asked, "snap-u-1-couchdb-1, snap-u-1-couchdb-2") {
		t.Errorf("asked: %s", asked)
	}
	if after := w.left(t); !slices.Equal(before, after) {
		t.Fatalf("deleted without consent: %v", after)
	}
	w.somebody("old\n")
	w.mustRun(t, exit.Good, nil, "delete", "backup", "old", "--uid", "u-1")
	want := []string{"cht-backup-u-2", "cht-backup-u-3", "cht-backup-u-4", "u-1-couchdb-7=Retain", "u-2-couchdb=Retain", "u-3-couchdb=Retain", "u-4-couchdb=Retain"}
	if got := w.left(t); !slices.Equal(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
	if len(deleted) != 2 || deleted["snapcontent-vs-u-1-couchdb-1"] != "Delete" || deleted["snapcontent-vs-u-1-couchdb-2"] != "Delete" {
		t.Errorf("deleted with the policies %v: the storage keeps what is retained", deleted)
	}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(again), again); err != nil || again.DeletionTimestamp != nil {
		t.Errorf("the Backup of that name: %v", err)
	}
	if err := w.Delete(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	w.mustRun(t, exit.Refused, []string{"2 backups named medic/old are kept; choose one with --uid: u-2 (cut 2026-03-01T12:00:00Z), u-3"}, "delete", "backup", "old", "--yes")
}

func TestDeleteRecordWaitsForTheStorage(t *testing.T) {
	busy := contentOf("old", "u-1", "couchdb", func(c *snapv1.VolumeSnapshotContent) { c.Finalizers = []string{"the-driver/works"} })
	w := newWorld(t, interceptor.Funcs{}, recordOf(t, "medic", "old", "u-1", noon), busy)
	w.mustRun(t, exit.TimedOut, []string{"the storage still has snapshots of backup medic/old after 10ms; its record is kept"}, "delete", "backup", "old", "--yes", "--timeout", "10ms")
	if got := w.left(t); !slices.Equal(got, []string{"cht-backup-u-1", "u-1-couchdb=Delete"}) {
		t.Errorf("left %v", got)
	}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(busy), busy); err != nil {
		t.Fatal(err)
	}
	busy.Finalizers = nil
	if err := w.Update(t.Context(), busy); err != nil {
		t.Fatal(err)
	}
	w.mustRun(t, exit.Good, nil, "delete", "backup", "old", "--yes")
	if got := w.left(t); len(got) > 0 {
		t.Errorf("left %v", got)
	}
}

func TestDeleteRecordRefuses(t *testing.T) {
	forbid := func(kind string) interceptor.Funcs {
		return interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if strings.Contains(fmt.Sprintf("%T", list), kind) {
				return apierrors.NewForbidden(schema.GroupResource{Resource: kind}, "", errors.New("no"))
			}
			return c.List(ctx, list, opts...)
		}}
	}
	reading := restoreIn("clone", "r")
	reading.Status.Phase, reading.Status.BackupUID = api.PhaseVolumes, "u-1"
	for _, tt := range []struct {
		name  string
		hooks interceptor.Funcs
		with  []client.Object
		says  []string
	}{
		{"a restore of it is under way", interceptor.Funcs{}, []client.Object{reading}, []string{"restore clone/r of backup medic/old is under way (Volumes)", "wait"}},
		{"no right to list contents", forbid("VolumeSnapshotContentList"), nil, []string{"look for the snapshots of backup medic/old", "ask whoever administers"}},
		{"no right to list records", forbid("PartialObjectMetadataList"), nil, []string{"there is no Backup medic/old, and you may not look for its record in " + system}},
		{"no right to delete contents", interceptor.Funcs{Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "volumesnapshotcontents"}, "c", errors.New("no"))
		}}, nil, []string{"delete the snapshots of backup medic/old", "ask whoever administers"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.hooks, append(tt.with, recordOf(t, "medic", "old", "u-1", noon), contentOf("old", "u-1", "couchdb"))...)
			w.mustRun(t, exit.Refused, tt.says, "delete", "backup", "old", "--yes")
		})
	}
	reading.Status.Phase = api.PhaseCompleted
	w := newWorld(t, forbid("RestoreList"), reading, recordOf(t, "medic", "old", "u-1", noon))
	w.mustRun(t, exit.Good, nil, "delete", "backup", "old", "--yes")
	if !strings.Contains(w.er.String(), "you may not list the restores of all namespaces") {
		t.Errorf("stderr: %s", w.er)
	}
}

func TestDeleteRetaining(t *testing.T) {
	b := backupIn(api.PhaseCompleted, "u-1")
	b.Spec.DeletionPolicy = api.DeletionRetain
	w := newWorld(t, interceptor.Funcs{}, b)
	w.somebody("nightly\n")
	w.mustRun(t, exit.Good, nil, "delete", "backup", "nightly")
	if !strings.Contains(w.er.String(), "leaves its snapshots and its record") || !strings.Contains(w.out.String(), "kubectl cht delete backup nightly -n medic --uid u-1") {
		t.Errorf("asked %s, said %s", w.er, w.out)
	}
}
