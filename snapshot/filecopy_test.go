package snapshot

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/cut"
	"github.com/medic/cht-backup/snapshot/reason"
)

const treeName = "20260701T120000.000000Z_uid-5_couchdb"

// fakeCopies is a Copier of one node's files.
type fakeCopies struct {
	prepareErr, makeErr, refreshErr error
	hang                            bool
	looks                           int // how often it is not ready yet
	discards, made, done            int
	discarded                       []api.VolumeStatus
}

func (f *fakeCopies) WakeWith(func(types.NamespacedName)) {}

func (f *fakeCopies) Prepare(_ context.Context, _ *api.Backup, nodes []cht.Node) (cut.Prepared, error) {
	if f.prepareErr != nil {
		return cut.Prepared{}, f.prepareErr
	}
	var volumes []api.VolumeStatus
	for _, n := range nodes {
		volumes = append(volumes, api.VolumeStatus{Node: n.Service, Claim: n.Claim.Name, Method: api.MethodFile, File: &api.FileVolume{Repository: "r1"}})
	}
	return cut.Prepared{Volumes: volumes, Done: func() { f.done++ }, Make: func(ctx context.Context) ([]api.VolumeStatus, error) {
		f.made++
		if f.hang {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		now := metav1.NewMicroTime(epoch.Add(2 * time.Second))
		for i := range volumes {
			volumes[i].CutTime, volumes[i].File.Files, volumes[i].File.Size = &now, 7, resource.NewQuantity(100, resource.BinarySI)
		}
		return volumes, f.makeErr
	}}, nil
}

func (f *fakeCopies) Refresh(_ context.Context, _ *api.Backup, volumes ...*api.VolumeStatus) error {
	if f.looks--; f.looks >= 0 {
		for _, v := range volumes {
			v.Progress = "41 %"
		}
		return nil
	}
	if f.refreshErr != nil {
		return f.refreshErr
	}
	for _, v := range volumes {
		v.Ready, v.File.Complete, v.File.Tree = true, true, treeName
	}
	return nil
}

func (f *fakeCopies) Mark(context.Context, *api.Backup, ...*api.VolumeStatus) error { return nil }
func (f *fakeCopies) Keep(context.Context, *api.Backup, ...*api.VolumeStatus) error { return nil }
func (f *fakeCopies) Discard(_ context.Context, b *api.Backup) (int, error) {
	f.discards++
	f.discarded = b.Status.Volumes
	return 0, nil
}

func copying(b *api.Backup) { b.Spec.File = &api.FilePolicy{Copy: true} }

func fileCopied(b *api.Backup) metav1.Condition {
	if c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionFileCopied); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func TestFilesAreCopiedBesideSnapshots(t *testing.T) {
	b := newBench(t, append(instance(), backup(copying))...)
	files := &fakeCopies{looks: 2}
	b.Files = files
	got := b.run()
	if c := fileCopied(got); got.Status.Phase != api.PhaseCompleted || c.Status != metav1.ConditionTrue || c.Reason != api.ReasonDone || files.made != 1 || files.done != 1 || files.discards != 0 {
		t.Fatalf("%s, %+v, %+v", got.Status.Phase, c, files)
	}
	if v := got.Status.Volumes[0]; v.Method == api.MethodFile || v.Handle != "h" || v.File == nil || v.File.Tree != treeName || !v.File.Complete {
		t.Errorf("%+v", v)
	}
	r, err := b.Records.Get(t.Context(), got.Status.Record)
	if err != nil || r.Nodes[0].File == nil || r.Nodes[0].File.Tree != treeName || r.Nodes[0].SnapshotHandle != "h" {
		t.Errorf("record %+v, %v", r.Nodes, err)
	}
}

// Whatever becomes of the copy, the backup is good without it, and says so.
func TestACopyBesideSnapshotsFailsNoBackup(t *testing.T) {
	lost := reason.Refuse(api.ReasonCopierLost, "couchdb: it is gone")
	for name, tt := range map[string]struct {
		files *fakeCopies // nil: no catalog
		want  string
		gone  int // how often it is taken back
	}{
		"no catalog":        {nil, api.ReasonNoCatalog, 0},
		"no copier":         {&fakeCopies{prepareErr: reason.Failed(api.ReasonCopierUnavailable, "x")}, api.ReasonCopierUnavailable, 0},
		"bucket away":       {&fakeCopies{prepareErr: errors.New("no route to host")}, api.ReasonRepositoryFailed, 0},
		"not measured":      {&fakeCopies{makeErr: lost}, api.ReasonCopierLost, 0},
		"measured too late": {&fakeCopies{hang: true}, api.ReasonRepositoryFailed, 0},
		"lost meanwhile":    {&fakeCopies{refreshErr: lost, looks: 1}, api.ReasonCopierLost, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, append(instance(), backup(copying))...)
			if tt.files != nil {
				b.Files = tt.files
			}
			got := b.run()
			c := fileCopied(got)
			if got.Status.Phase != api.PhaseCompleted || got.Status.Attempt != 1 || c.Status != metav1.ConditionFalse || c.Reason != tt.want || !strings.Contains(c.Message, "the backup is good") {
				t.Errorf("%s after %d attempts: %+v", got.Status.Phase, got.Status.Attempt, c)
			}
			r, err := b.Records.Get(t.Context(), got.Status.Record)
			if got.Status.Volumes[0].File != nil || err != nil || r.Nodes[0].File != nil {
				t.Errorf("it is said to be there: %+v, %v", got.Status.Volumes[0].File, err)
			}
			if tt.files != nil && (tt.files.discards != tt.gone || tt.gone > 0 && len(tt.files.discarded) != 1) {
				t.Errorf("taken back %d times: %v", tt.files.discards, tt.files.discarded)
			}
		})
	}
}

func TestACopyThatTakesTooLongIsGivenUp(t *testing.T) {
	b := newBench(t, append(instance(), backup(copying))...)
	files := &fakeCopies{looks: 1000}
	b.Files = files
	for range 4 {
		if got, _, err := b.reconcile(); err != nil || Ended(got.Status.Phase) {
			t.Fatalf("%s, %v", got.Status.Phase, err)
		}
	}
	b.now = b.now.Add(time.Hour + time.Minute)
	if got := b.run(); got.Status.Phase != api.PhaseCompleted || fileCopied(got).Reason != api.ReasonReadyTimeout || !strings.Contains(fileCopied(got).Message, "41 %") || files.discards != 1 {
		t.Errorf("%s, %+v", got.Status.Phase, fileCopied(got))
	}
}

// A cut that fails is not made up for by a copy that went well.
func TestAFailedCutLetsTheCopyGo(t *testing.T) {
	b := newBench(t, append(instance(), backup(copying, func(b *api.Backup) { b.Spec.Attempts = 1 }))...)
	files := &fakeCopies{hang: true}
	b.Files, b.snaps.cutErr = files, reason.Failed(api.ReasonSnapshotFailed, "busy")
	if got := b.run(); got.Status.Phase != api.PhaseFailed || ready(got).Reason != api.ReasonSnapshotFailed || files.done != 1 {
		t.Errorf("%s %+v, closed %d times", got.Status.Phase, ready(got), files.done)
	}
}

// By method File there is no driver and no handle.
func TestABackupOfFilesAlone(t *testing.T) {
	b := newBench(t, append(instance(), backup(copying))...)
	files := &fakeCopies{looks: 2}
	b.Files, b.Snapshotter = files, files
	got := b.run()
	if got.Status.Phase != api.PhaseCompleted || files.made != 1 || fileCopied(got).Status != metav1.ConditionTrue {
		t.Fatalf("%s %+v, measured %d times, %+v", got.Status.Phase, ready(got), files.made, fileCopied(got))
	}
	r, err := b.Records.Get(t.Context(), got.Status.Record)
	if n := r.Nodes[0]; err != nil || n.Method != api.MethodFile || n.File.Tree != treeName || n.Driver != "" || n.SnapshotHandle != "" || !r.CutTime.Equal(epoch.Add(2*time.Second)) {
		t.Errorf("record %+v, %v", n, err)
	}
}

func TestACopierLostFailsABackupOfFilesForGood(t *testing.T) {
	b := newBench(t, append(instance(), backup())...)
	files := &fakeCopies{refreshErr: reason.Refuse(api.ReasonCopierLost, "couchdb: it is gone"), looks: 1}
	b.Files, b.Snapshotter = files, files
	if got := b.run(); got.Status.Phase != api.PhaseFailed || ready(got).Reason != api.ReasonCopierLost || got.Status.Attempt != 1 || files.discards == 0 {
		t.Errorf("%s %+v", got.Status.Phase, ready(got))
	}
}

func TestOrderOfModes(t *testing.T) {
	for name, tt := range map[string]struct {
		asked api.Quiesce
		files bool
		want  api.Quiesce
		also  int
	}{
		"snapshots": {api.QuiesceAuto, false, api.QuiesceFreeze, 2},
		"files":     {api.QuiesceAuto, true, api.QuiescePause, 2},
		"by choice": {api.QuiesceFreeze, true, api.QuiesceFreeze, 1},
		"paused":    {api.QuiescePause, false, api.QuiescePause, 1},
		"older":     {"", false, api.QuiesceFreeze, 2},
	} {
		if got := order(tt.asked, tt.files); got[0] != tt.want || len(got) != tt.also {
			t.Errorf("%s: %v", name, got)
		}
	}
}
