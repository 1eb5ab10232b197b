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
			err := Snapshotter{Client: c}.Refresh(t.Context(), nil, &v)
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

func TestMarkAndKeep(t *testing.T) {
	b := backup()
	content := contentOf(cutOf(b, 1, "couchdb-1"), nil)
	content.Labels = map[string]string{"theirs": "stays"}
	foreign := contentOf(cutOf(b, 1, "couchdb-2"), nil)
	foreign.Spec.VolumeSnapshotRef.Name = "another"
	c := cluster(t, nil, content, foreign)
	s, v := Snapshotter{Client: c}, &api.VolumeStatus{Node: "couchdb-1", Content: content.Name}
	check := func(policy snapv1.DeletionPolicy, retained string) {
		t.Helper()
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(content), content); err != nil || content.Spec.DeletionPolicy != policy || content.Labels["theirs"] != "stays" ||
			content.Labels[api.BackupUIDLabel] != string(b.UID) || content.Labels[api.SourceNamespaceLabel] != ns || content.Annotations[api.RetainedAnnotation] != retained {
			t.Errorf("%v: %s, %+v", err, content.Spec.DeletionPolicy, content.ObjectMeta)
		}
	}
	if err := s.Mark(t.Context(), b, v); err != nil {
		t.Fatal(err)
	}
	check(snapv1.VolumeSnapshotContentDelete, "")
	if err := s.Keep(t.Context(), b, v); err != nil {
		t.Fatal(err)
	}
	check(snapv1.VolumeSnapshotContentRetain, "")
	b.DeletionTimestamp = &metav1.Time{Time: cutAt}
	if err := s.Keep(t.Context(), b, v); err != nil {
		t.Fatal(err)
	}
	check(snapv1.VolumeSnapshotContentRetain, "2026-07-01T12:00:00Z")
	if err := s.Keep(t.Context(), b, &api.VolumeStatus{Content: "nothing"}); !apierrors.IsNotFound(err) {
		t.Errorf("kept a content that is not there: %v", err)
	}
	if err := s.Keep(t.Context(), b, &api.VolumeStatus{Content: foreign.Name}); reason.Of(err) == nil || !strings.Contains(err.Error(), ns+"/another") {
		t.Errorf("kept another's: %v", err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign); err != nil || foreign.Spec.DeletionPolicy != snapv1.VolumeSnapshotContentDelete || len(foreign.Labels) > 0 {
		t.Errorf("another's was changed: %+v, %v", foreign, err)
	}
}
