package csi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// cutting is a cut under test, with the test in the place of the watch.
type cutting struct {
	targets []target
	events  chan watch.Event
	cancel  context.CancelCauseFunc
	done    chan result
}

type result struct {
	volumes []api.VolumeStatus
	err     error
}

func startCut(t *testing.T, services ...string) *cutting {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	c := &cutting{events: make(chan watch.Event), cancel: cancel, done: make(chan result, 1)}
	for _, n := range nodes(services...) {
		c.targets = append(c.targets, target{node: n.Service, snapshot: newSnapshot(backup(), n, "a")})
	}
	s := Snapshotter{Client: cluster(t, nil)}
	go func() {
		v, err := s.cut(ctx, c.events, c.targets)
		c.done <- result{v, err}
	}()
	// An unbuffered send is taken only once all snapshots are created.
	c.events <- watch.Event{Type: watch.Bookmark, Object: &snapv1.VolumeSnapshotContent{}}
	return c
}

func (c *cutting) says(i int, status *snapv1.VolumeSnapshotContentStatus) {
	c.events <- watch.Event{Type: watch.Modified, Object: contentOf(c.targets[i].snapshot, status)}
}

func (c *cutting) notDone(t *testing.T, why string) {
	t.Helper()
	select {
	case r := <-c.done:
		t.Fatalf("returned %+v %v: %s", r.volumes, r.err, why)
	default:
	}
}

func TestCutReturnsWhenAllTimesAreFixed(t *testing.T) {
	c := startCut(t, "couchdb-1", "couchdb-2", "couchdb-3")
	c.says(1, nil)                                   // only just made
	c.says(1, &snapv1.VolumeSnapshotContentStatus{}) // no time yet
	c.says(1, cutStatus("snap-2", false))            // cut, far from ready
	c.says(1, cutStatus("snap-2", true))             // again: counts once
	foreign := contentOf(&snapv1.VolumeSnapshot{}, cutStatus("x", true))
	foreign.Name = "snapcontent-somebody-elses"
	for range 3 {
		c.events <- watch.Event{Type: watch.Added, Object: foreign}
	}
	c.events <- watch.Event{Type: watch.Added, Object: contentOf(&snapv1.VolumeSnapshot{}, failedStatus("another's trouble"))}
	c.says(0, cutStatus("snap-1", true))
	c.notDone(t, "the third volume is not cut")
	c.says(2, cutStatus("snap-3", false))
	r := <-c.done
	if r.err != nil || len(r.volumes) != 3 {
		t.Fatalf("%+v, %v", r.volumes, r.err)
	}
	for _, v := range r.volumes {
		n := strings.TrimPrefix(v.Node, "couchdb-")
		if v.Claim != v.Node+"-claim0" || v.Handle != "snap-"+n || v.Driver != driver || !v.CutTime.Time.Equal(cutAt) || v.Ready != (n == "1") ||
			v.RestoreSize.Value() != 100<<30 || !strings.HasSuffix(v.Snapshot, "-1-"+v.Node) || !strings.HasPrefix(v.Content, "snapcontent-uid-") {
			t.Errorf("volume %+v", v)
		}
	}
}

func TestCutFails(t *testing.T) {
	overtime := reason.Refuse(api.ReasonStallExceeded, "not done within maxStall")
	for _, tt := range []struct {
		name   string
		end    func(c *cutting)
		reason string // "" for an error without one
		text   string
	}{
		{"the storage reports an error", func(c *cutting) { c.says(1, failedStatus("volume is busy")) }, api.ReasonSnapshotFailed, "couchdb-2: snapshot of claim couchdb-2-claim0: volume is busy"},
		{"the watch ends", func(c *cutting) { close(c.events) }, api.ReasonSnapshotFailed, "watch"},
		{"the watch fails", func(c *cutting) {
			c.events <- watch.Event{Type: watch.Error, Object: &metav1.Status{Code: 410, Message: "too old resource version"}}
		}, api.ReasonSnapshotFailed, "too old resource version"},
		{"the stall's bound", func(c *cutting) { c.cancel(overtime) }, api.ReasonStallExceeded, "maxStall"},
		{"cancelled without a reason", func(c *cutting) { c.cancel(nil) }, "", context.Canceled.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := startCut(t, "couchdb-1", "couchdb-2")
			c.says(0, cutStatus("snap-1", true))
			tt.end(c)
			r := <-c.done
			if r.err == nil || !strings.Contains(r.err.Error(), tt.text) || r.volumes != nil {
				t.Fatalf("%+v, %v", r.volumes, r.err)
			}
			if e := reason.Of(r.err); tt.reason == "" && e != nil || tt.reason != "" && (e == nil || e.Reason != tt.reason) {
				t.Errorf("reason %+v, want %q", e, tt.reason)
			}
		})
	}
}

// A name that is taken, even by ours, is of an earlier cut.
func TestCutDoesNotAdopt(t *testing.T) {
	taken := newSnapshot(backup(), nodes("couchdb-2")[0], "a")
	s := Snapshotter{Client: cluster(t, nil, taken)}
	var targets []target
	for _, n := range nodes("couchdb-1", "couchdb-2") {
		targets = append(targets, target{node: n.Service, snapshot: newSnapshot(backup(), n, "a")})
	}
	// One that adopts would wait for ever.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := s.cut(ctx, make(chan watch.Event), targets)
	if e := reason.Of(err); e == nil || e.Reason != api.ReasonSnapshotFailed || e.Final || !strings.Contains(err.Error(), "couchdb-2: create VolumeSnapshot") {
		t.Errorf("got %v", err)
	}
}

// When the bound has passed, it explains the failed call, not the other way round.
func TestCutPrefersTheCauseOfItsContext(t *testing.T) {
	s := Snapshotter{Client: cluster(t, func(client.Client, *snapv1.VolumeSnapshot) error { return errors.New("connection reset") })}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason.Refuse(api.ReasonQuiesceLost, "couchdb-2 was lost"))
	_, err := s.cut(ctx, nil, []target{{node: "couchdb", snapshot: newSnapshot(backup(), nodes("couchdb")[0], "a")}})
	if e := reason.Of(err); e == nil || e.Reason != api.ReasonQuiesceLost {
		t.Errorf("got %v", err)
	}
}

// Through Prepare, with the fake API server's own watch.
func TestPrepareAndCut(t *testing.T) {
	play := func(c client.Client, s *snapv1.VolumeSnapshot) error {
		return c.Create(t.Context(), contentOf(s, cutStatus("snap-of-"+s.Name, false)))
	}
	old := contentOf(&snapv1.VolumeSnapshot{}, failedStatus("old"))
	c := cluster(t, play, class("a", driver, true), old)
	cut, err := Snapshotter{Client: c}.Prepare(t.Context(), backup(), nodes("couchdb-1", "couchdb-2"))
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Done()
	var made snapv1.VolumeSnapshotList
	if err := c.List(t.Context(), &made); err != nil || len(made.Items) != 0 {
		t.Fatalf("Prepare cut already: %v, %v", made.Items, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	volumes, err := cut.Make(ctx)
	if err != nil || len(volumes) != 2 {
		t.Fatalf("%+v, %v", volumes, err)
	}
	if err := c.List(t.Context(), &made); err != nil {
		t.Fatal(err)
	}
	for _, s := range made.Items {
		if s.Labels[api.BackupUIDLabel] != string(backup().UID) || s.Labels[api.AttemptLabel] != "1" || len(s.OwnerReferences) != 1 ||
			*s.Spec.VolumeSnapshotClassName != "a" || *s.Spec.Source.PersistentVolumeClaimName != s.Labels[api.NodeLabel]+"-claim0" {
			t.Errorf("snapshot %+v", s)
		}
	}
	if _, err := (Snapshotter{Client: c}).Prepare(t.Context(), backup(), append(nodes("couchdb-1"), nodes("couchdb-2")[0])); err != nil {
		t.Error(err)
	}
	foreign := nodes("couchdb")
	foreign[0].Claim.Driver = "other"
	if _, err := (Snapshotter{Client: c}).Prepare(t.Context(), backup(), foreign); reason.Of(err) == nil {
		t.Errorf("a driver without a class: %v", err)
	}
}

// The API allows a Backup's name of 200 characters; the snapshot's must fit 253,
// and two backups whose names begin alike must not meet.
func TestSnapshotNamesFit(t *testing.T) {
	b := backup()
	b.Name, b.Status.Attempt = strings.Repeat("n", 200), 10
	seen := map[string]bool{}
	for _, uid := range []types.UID{backup().UID, "1" + backup().UID[1:]} {
		b.UID = uid
		for _, service := range []string{"couchdb", "couchdb-1", "couchdb-999999"} {
			name := newSnapshot(b, nodes(service)[0], "a").Name
			if len(name) > 253 || seen[name] {
				t.Errorf("%s: %d characters, seen %v", name, len(name), seen[name])
			}
			seen[name] = true
		}
	}
}
