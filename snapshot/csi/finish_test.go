package csi

import (
	"strings"
	"testing"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

func TestRefresh(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status *snapv1.VolumeSnapshotContentStatus
		gone   bool
		text   string // of the refusal
		check  func(v api.VolumeStatus) bool
	}{
		{name: "nothing known yet", check: func(v api.VolumeStatus) bool { return !v.Ready && v.Handle == "" }},
		{name: "in the making", status: cutStatus("snap-1", false), check: func(v api.VolumeStatus) bool { return !v.Ready && v.Handle == "snap-1" && v.CutTime.Time.Equal(cutAt) }},
		{name: "ready", status: cutStatus("snap-1", true), check: func(v api.VolumeStatus) bool { return v.Ready }},
		{name: "failed", status: failedStatus("disk on fire"), text: "disk on fire"},
		{name: "ready after an error that passed", status: func() *snapv1.VolumeSnapshotContentStatus {
			s := cutStatus("snap-1", true)
			s.Error = failedStatus("throttled").Error
			return s
		}(), check: func(v api.VolumeStatus) bool { return v.Ready }},
		{name: "deleted by somebody", gone: true, text: "gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			content := contentOf(&snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{UID: "u"}}, tt.status)
			c := cluster(t, nil)
			if !tt.gone {
				c = cluster(t, nil, content)
			}
			v := api.VolumeStatus{Node: "couchdb-1", Snapshot: "s", Content: content.Name}
			err := Snapshotter{Client: c}.Refresh(t.Context(), &v)
			if tt.text != "" {
				if e := reason.Of(err); e == nil || e.Reason != api.ReasonSnapshotFailed || !e.Final || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %v", err)
				}
			} else if err != nil || !tt.check(v) {
				t.Errorf("got %+v, %v", v, err)
			}
		})
	}
}

// Discard removes this backup's snapshots of every attempt, and what they hold
// in the storage, and nothing of anybody else.
func TestDiscard(t *testing.T) {
	b := backup()
	other := backup() // same name, made again after the first was deleted
	other.UID = "99999999-1111-2222-3333-444455556666"
	foreign := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Name: "by-hand", Namespace: ns, UID: "uid-hand"}}
	elsewhere := newSnapshot(b, nodes("couchdb-1")[0], "a")
	elsewhere.Namespace, elsewhere.UID = "other", "uid-elsewhere"
	theirs := newSnapshot(other, nodes("couchdb-1")[0], "a")
	theirs.UID = "uid-theirs"
	retained := func(s *snapv1.VolumeSnapshot) *snapv1.VolumeSnapshotContent {
		c := contentOf(s, cutStatus("h", true))
		c.Spec.DeletionPolicy = snapv1.VolumeSnapshotContentRetain
		return c
	}
	first := newSnapshot(b, nodes("couchdb-1")[0], "a")
	first.UID = "uid-first"
	b.Status.Attempt = 2
	second := newSnapshot(b, nodes("couchdb-2")[0], "a")
	second.UID = "uid-second" // its content is not made yet
	lost := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{UID: "uid-lost"}}
	b.Status.Volumes = []api.VolumeStatus{{Node: "couchdb-1", Content: contentName(first)}, {Node: "couchdb-2"}, {Node: "couchdb-3", Content: contentName(lost)}}

	c := cluster(t, nil, foreign, elsewhere, theirs, first, second, retained(foreign), retained(elsewhere), retained(theirs), retained(first), retained(lost))
	s := Snapshotter{Client: c}
	left, err := s.Discard(t.Context(), b)
	if err != nil || left != 3 {
		t.Fatalf("left %d, %v; want the two snapshots and the content that had lost its own", left, err)
	}
	policy := func(s *snapv1.VolumeSnapshot) string {
		var content snapv1.VolumeSnapshotContent
		if err := c.Get(t.Context(), client.ObjectKey{Name: contentName(s)}, &content); apierrors.IsNotFound(err) {
			return "gone"
		} else if err != nil {
			t.Fatal(err)
		}
		return string(content.Spec.DeletionPolicy)
	}
	for _, s := range []*snapv1.VolumeSnapshot{foreign, elsewhere, theirs} {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(s), &snapv1.VolumeSnapshot{}); err != nil || policy(s) != "Retain" {
			t.Errorf("%s is not of this backup: %v, %s", s.Name, err, policy(s))
		}
	}
	for _, s := range []*snapv1.VolumeSnapshot{first, second} {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(s), &snapv1.VolumeSnapshot{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s is still there: %v", s.Name, err)
		}
	}
	if p := policy(first); p != "Delete" {
		t.Errorf("the content of a discarded snapshot is %s: its storage would be orphaned", p)
	}
	if p := policy(lost); p != "gone" {
		t.Errorf("the retained content whose snapshot somebody deleted is %s", p)
	}
	// The snapshot controller does the rest; the next look finds nothing.
	if err := c.Delete(t.Context(), retained(first)); err != nil {
		t.Fatal(err)
	}
	if left, err := s.Discard(t.Context(), b); err != nil || left != 0 {
		t.Errorf("again: left %d, %v", left, err)
	}
}

// A snapshot that its driver still works on is counted, and asked to go once.
func TestDiscardWaits(t *testing.T) {
	b := backup()
	busy := newSnapshot(b, nodes("couchdb-1")[0], "a")
	busy.Finalizers = []string{"snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection"}
	s := Snapshotter{Client: cluster(t, nil, busy)}
	for range 3 {
		if left, err := s.Discard(t.Context(), b); err != nil || left != 1 {
			t.Errorf("left %d, %v", left, err)
		}
	}
}

func TestKeep(t *testing.T) {
	snapshot := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{UID: "u"}}
	content := contentOf(snapshot, nil)
	c := cluster(t, nil, content)
	if err := (Snapshotter{Client: c}).Keep(t.Context(), &api.VolumeStatus{Content: content.Name}); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(content), content); err != nil || content.Spec.DeletionPolicy != snapv1.VolumeSnapshotContentRetain {
		t.Errorf("%s, %v", content.Spec.DeletionPolicy, err)
	}
	if err := (Snapshotter{Client: c}).Keep(t.Context(), &api.VolumeStatus{Content: "nothing"}); err == nil {
		t.Error("kept a content that is not there")
	}
}
