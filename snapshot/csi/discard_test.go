package csi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// cutOf is one snapshot of a backup's attempt, as it is in the cluster.
func cutOf(b *api.Backup, attempt int32, node string) *snapv1.VolumeSnapshot {
	b = b.DeepCopy()
	b.Status.Attempt = attempt
	s := newSnapshot(b, nodes(node)[0], "a")
	s.UID = types.UID(fmt.Sprintf("uid-%.4s-%d-%s", b.UID, attempt, node))
	s.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
	return s
}

func retained(s *snapv1.VolumeSnapshot) *snapv1.VolumeSnapshotContent {
	c := contentOf(s, cutStatus("h", true))
	c.Spec.DeletionPolicy = snapv1.VolumeSnapshotContentRetain
	return c
}

func labelled(c *snapv1.VolumeSnapshotContent, uid types.UID) *snapv1.VolumeSnapshotContent {
	c.Labels = map[string]string{api.BackupUIDLabel: string(uid)}
	return c
}

// there tells what is left, in one word each.
func there(t *testing.T, c client.Client) (left []string) {
	t.Helper()
	var snapshots snapv1.VolumeSnapshotList
	var contents snapv1.VolumeSnapshotContentList
	for _, list := range []client.ObjectList{&snapshots, &contents} {
		if err := c.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range snapshots.Items {
		left = append(left, string(s.UID))
	}
	for _, one := range contents.Items {
		left = append(left, one.Name+"="+string(one.Spec.DeletionPolicy))
	}
	slices.Sort(left)
	return left
}

// Discard removes what this backup has, however it came to be left, with what it
// holds in the storage whatever its class says.
func TestDiscard(t *testing.T) {
	b := backup()
	b.Status.Phase = api.PhaseCompleted
	b.Status.Attempt = 2
	first, second := cutOf(b, 1, "couchdb-1"), cutOf(b, 2, "couchdb-2")
	withVolumes := func(contents ...string) *api.Backup {
		b := b.DeepCopy()
		for i, name := range contents {
			b.Status.Volumes = append(b.Status.Volumes, api.VolumeStatus{Node: fmt.Sprintf("couchdb-%d", i+1), Content: name})
		}
		return b
	}
	cutting := b.DeepCopy() // killed before it wrote down what it had
	cutting.Status.Phase = api.PhaseCleaningUp
	for _, tt := range []struct {
		name    string
		backup  *api.Backup
		objects []client.Object
		left    []int    // of each turn
		after   []string // the second turn: contents of deleted snapshots are the snapshot controller's
	}{
		{"nothing", b, nil, []int{0}, nil},
		{"snapshots of two attempts", withVolumes("", contentName(second)), []client.Object{first, second, retained(first), retained(second)},
			[]int{2}, []string{contentName(first) + "=Delete", contentName(second) + "=Delete"}},
		{"a snapshot deleted by hand, content in the status", withVolumes(contentName(first)), []client.Object{retained(first)}, []int{1, 0}, nil},
		{"a snapshot deleted by hand, content only labelled", b, []client.Object{labelled(retained(first), b.UID)}, []int{1, 0}, nil},
		{"content made after its snapshot was deleted, killed while cutting", cutting, []client.Object{retained(first)}, []int{1, 0}, nil},
		{"content made by a class that deletes, after its snapshot was deleted", cutting, []client.Object{contentOf(first, nil)}, []int{1, 0}, nil},
		{"one deleted by hand, one not", withVolumes(contentName(first), contentName(second)), []client.Object{retained(first), second, retained(second)},
			[]int{2}, []string{contentName(second) + "=Delete"}},
		{"the contents are gone", withVolumes(contentName(first)), []client.Object{first}, []int{1, 0}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cluster(t, nil, tt.objects...)
			for turn, want := range tt.left {
				if left, err := (Snapshotter{Client: c}).Discard(t.Context(), tt.backup); err != nil || left != want {
					t.Errorf("turn %d: left %d, %v; want %d", turn, left, err, want)
				}
			}
			if got := there(t, c); !slices.Equal(got, tt.after) {
				t.Errorf("there are %v, want %v", got, tt.after)
			}
		})
	}
}

// Nothing of anybody else, whatever it is labelled.
func TestDiscardLeavesOthersAlone(t *testing.T) {
	b := backup()
	other := backup() // same name, made again after the first was deleted
	other.UID = "99999999-1111-2222-3333-444455556666"
	theirs, gone := cutOf(other, 1, "couchdb-1"), cutOf(other, 1, "couchdb-2")
	byHand := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Name: "by-hand", Namespace: ns, UID: "uid-hand"}}
	forged := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Name: "forged", Namespace: ns, UID: "uid-forged", Labels: map[string]string{api.BackupUIDLabel: string(b.UID)}}}
	stolen := cutOf(other, 2, "couchdb-1")
	stolen.Labels[api.BackupUIDLabel] = string(b.UID)
	elsewhere := cutOf(b, 1, "couchdb-1")
	elsewhere.Namespace = "other"
	rebound := retained(cutOf(b, 1, "couchdb-3")) // ours once, and bound to another's snapshot by now
	rebound.Spec.VolumeSnapshotRef.Name, rebound.Spec.VolumeSnapshotRef.UID = "by-hand", "uid-hand"
	imported := retained(cutOf(b, 1, "couchdb-4")) // under our snapshot's name, by an administrator who restores by hand
	imported.Name, imported.Spec.VolumeSnapshotRef.UID = "imported", ""
	bound := retained(cutOf(b, 1, "couchdb-6")) // likewise, when it was bound
	bound.Name = "imported-and-bound"
	likeName := retained(&snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: ns, UID: "uid-like", Name: fmt.Sprintf("%s-%.8s-1-couchdb-12345678-1-couchdb", b.Name, b.UID)}})
	objects := []client.Object{theirs, byHand, forged, stolen, elsewhere, retained(theirs), labelled(retained(gone), b.UID), labelled(retained(byHand), b.UID), retained(forged), retained(stolen), retained(elsewhere),
		labelled(rebound, b.UID), labelled(imported, b.UID), labelled(bound, b.UID), likeName, labelled(retained(cutOf(b, 1, "couchdb-5")), other.UID)}
	b.Status.Volumes = []api.VolumeStatus{{Content: rebound.Name}, {Content: imported.Name}, {Content: contentName(theirs)}, {Content: contentName(byHand)}}
	for _, phase := range []api.Phase{api.PhaseCompleted, api.PhaseCleaningUp} {
		c := cluster(t, nil, objects...)
		before := there(t, c)
		b.Status.Phase = phase
		if left, err := (Snapshotter{Client: c}).Discard(t.Context(), b); err != nil || left != 0 {
			t.Errorf("%s: left %d, %v", phase, left, err)
		}
		if after := there(t, c); !slices.Equal(before, after) {
			t.Errorf("%s: there were\n%v and are\n%v", phase, before, after)
		}
	}
}

// A snapshot that its driver still works on is counted, and asked to go once.
func TestDiscardWaits(t *testing.T) {
	b := backup()
	busy := cutOf(b, 1, "couchdb-1")
	busy.Finalizers = []string{"snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection"}
	s := Snapshotter{Client: cluster(t, nil, busy)}
	for range 3 {
		if left, err := s.Discard(t.Context(), b); err != nil || left != 1 {
			t.Errorf("left %d, %v", left, err)
		}
	}
}

// A young snapshot has no content yet because it is being made: deleted now, its
// content would come afterwards, and stay under a class that retains.
func TestDiscardWaitsForTheContent(t *testing.T) {
	b := backup()
	young := cutOf(b, 1, "couchdb-1")
	young.CreationTimestamp = metav1.Now()
	c := cluster(t, nil, young)
	s := Snapshotter{Client: c}
	if left, err := s.Discard(t.Context(), b); err != nil || left != 1 || len(there(t, c)) != 1 {
		t.Fatalf("left %d, %v, there are %v; want the snapshot to wait for its content", left, err, there(t, c))
	}
	if err := c.Create(t.Context(), retained(young)); err != nil {
		t.Fatal(err)
	}
	if left, err := s.Discard(t.Context(), b); err != nil || left != 1 || !slices.Equal(there(t, c), []string{contentName(young) + "=Delete"}) {
		t.Errorf("left %d, %v, there are %v", left, err, there(t, c))
	}
}

// The sidecar deletes nothing in the storage for a content that nobody marked, and
// the snapshot controller marks none whose snapshot is gone.
func TestDiscardMarksForTheSidecar(t *testing.T) {
	b := backup()
	lost := labelled(retained(cutOf(b, 1, "couchdb-1")), b.UID)
	lost.Finalizers = []string{"snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"}
	c := cluster(t, nil, lost)
	for range 2 {
		if left, err := (Snapshotter{Client: c}).Discard(t.Context(), b); err != nil || left != 1 {
			t.Errorf("left %d, %v", left, err)
		}
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(lost), lost); err != nil || lost.DeletionTimestamp == nil || lost.Annotations[beingDeleted] != "yes" || lost.Annotations[api.DeletionAskedAnnotation] == "" {
		t.Errorf("%v: %+v", err, lost.ObjectMeta)
	}
}

// After any error, the next turn ends the work.
func TestDiscardAfterAFailure(t *testing.T) {
	b := backup()
	for failing := range 12 {
		c := failingAt(t, failing, cutOf(b, 1, "couchdb-1"), retained(cutOf(b, 1, "couchdb-1")), labelled(retained(cutOf(b, 1, "couchdb-2")), b.UID))
		failed := false
		left, err := 1, error(nil)
		for range 6 {
			if left, err = (Snapshotter{Client: c}).Discard(t.Context(), b); err != nil {
				failed = true
				continue
			}
			// The snapshot controller's part.
			content := &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: contentName(cutOf(b, 1, "couchdb-1"))}}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(content), content); err == nil && content.Spec.DeletionPolicy == snapv1.VolumeSnapshotContentDelete {
				_ = c.Delete(t.Context(), content)
			} else if client.IgnoreNotFound(err) != nil && !errors.Is(err, errRefused) {
				t.Fatal(err)
			}
			if left == 0 {
				break
			}
		}
		if left != 0 || err != nil || len(there(t, c)) > 0 {
			t.Errorf("request %d failed: left %d, %v, there are %v", failing, left, err, there(t, c))
		}
		if !failed && failing < 6 {
			t.Errorf("request %d did not fail", failing)
		}
	}
}

func TestOwned(t *testing.T) {
	b := backup()
	if !Owned(retained(cutOf(b, 3, "couchdb")), b.Namespace, b.Name, b.UID) || Owned(retained(cutOf(b, 3, "couchdb")), b.Namespace, "night", b.UID) ||
		Owned(retained(cutOf(b, 3, "couchdb")), "elsewhere", b.Name, b.UID) || Owned(&snapv1.VolumeSnapshotContent{}, b.Namespace, b.Name, b.UID) {
		t.Error("the owner of a content is not the one it was made for")
	}
}

// onePerPage gives contents one at a time, as an API server does that has many.
func onePerPage(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		var o client.ListOptions
		o.ApplyOptions(opts)
		err := c.List(ctx, list, opts...)
		if l, is := list.(*snapv1.VolumeSnapshotContentList); is && err == nil && o.Limit > 0 {
			at, _ := strconv.Atoi(o.Continue)
			if at+1 < len(l.Items) {
				l.Continue = strconv.Itoa(at + 1)
			}
			l.Items = l.Items[min(at, len(l.Items)):min(at+1, len(l.Items))]
		}
		return err
	}})
}

func TestDiscardTurnsThePages(t *testing.T) {
	b := backup()
	other := backup()
	other.Name, other.UID = "weekly", "00000000-1111-2222-3333-444455556666"
	c := cluster(t, nil, retained(cutOf(other, 1, "couchdb-1")), retained(cutOf(b, 1, "couchdb-2")), retained(cutOf(other, 1, "couchdb-3")), retained(cutOf(b, 1, "couchdb-4")))
	// The fake's pages are those of what is left, so that a deletion in the middle of a
	// turn may hide one; the next turn finds it.
	for turn := range 4 {
		left, err := (Snapshotter{Client: onePerPage(c)}).Discard(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			if got := there(t, c); turn == 0 || len(got) != 2 {
				t.Errorf("after %d turns there are %v", turn, got)
			}
			return
		}
	}
	t.Error("there is always something left")
}
