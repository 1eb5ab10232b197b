package snapshot

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// The storage asks for patience: the attempt is cleaned up at once, and the next one
// comes when it was asked for, however often somebody looks meanwhile.
func TestAThrottledCutIsTriedLater(t *testing.T) {
	b := newBench(t, append(instance(), backup())...)
	b.snaps.cutErr, b.snaps.failFirst = reason.Later(api.ReasonThrottled, 30*time.Second, "couchdb: EC2 says RequestLimitExceeded"), 2
	var stored *api.Backup
	until := func(phase api.Phase) time.Duration {
		t.Helper()
		for range 10 {
			var wait time.Duration
			var err error
			if stored, wait, err = b.reconcile(); err != nil {
				t.Fatal(err)
			}
			if stored.Status.Phase == phase {
				return wait
			}
		}
		t.Fatalf("phase %s, not %s", stored.Status.Phase, phase)
		return 0
	}
	until(api.PhaseCleaningUp)
	if c := ready(stored); c.Reason != api.ReasonThrottled || !strings.Contains(c.Message, "not before 30s") {
		t.Errorf("%+v", c)
	}
	if wait := until(api.PhasePending); wait != 30*time.Second || b.snaps.discards == 0 {
		t.Errorf("again in %s, %d discards", wait, b.snaps.discards)
	}
	b.now = b.now.Add(20 * time.Second)
	if _, wait, err := b.reconcile(); err != nil || wait != 10*time.Second || b.snaps.cuts != 1 {
		t.Errorf("looked at too early: again in %s, %d cuts, %v", wait, b.snaps.cuts, err)
	}
	b.now = b.now.Add(10 * time.Second)
	until(api.PhaseCleaningUp)
	if wait := until(api.PhasePending); wait != time.Minute {
		t.Errorf("the second time, again in %s", wait)
	}
	b.now = b.now.Add(time.Minute)
	if got := b.run(); got.Status.Phase != api.PhaseCompleted || got.Status.Attempt != 3 {
		t.Errorf("%s after %d attempts", got.Status.Phase, got.Status.Attempt)
	}
	if _, waits := b.later.Load(types.UID("uid-5")); waits {
		t.Error("what is over is still kept")
	}
}

// What is to be cut is written down before it is: a controller that dies in the cut
// leaves word of where to look.
func TestWhatIsToBeCutIsWrittenDownBefore(t *testing.T) {
	b := newBench(t, append(instance(), backup())...)
	volume := &api.EBSVolume{VolumeID: "vol-1", Region: "eu-west-1"}
	b.snaps.planned = []api.VolumeStatus{{Node: "couchdb", Claim: "couchdb-claim0", Method: api.MethodEBS, EBS: volume}}
	warmed := false
	b.snaps.warm = func(ctx context.Context) error {
		warmed = true
		var stored api.Backup
		if err := b.objects.Get(ctx, types.NamespacedName{Namespace: ns, Name: "nightly"}, &stored); err != nil {
			return err
		}
		if s := stored.Status; s.Phase != api.PhaseCutting || len(s.Volumes) != 1 || s.Volumes[0].EBS == nil || s.Volumes[0].EBS.VolumeID != "vol-1" || b.snaps.cuts != 0 {
			t.Errorf("just before the cut: %+v, %d cuts", s, b.snaps.cuts)
		}
		return nil
	}
	b.snaps.ebs = volume
	got := b.run()
	if got.Status.Phase != api.PhaseCompleted || !warmed || len(got.Status.Volumes) != 1 || got.Status.Volumes[0].Handle != "h" {
		t.Fatalf("%+v", got.Status)
	}
	r, err := b.Records.Get(t.Context(), got.Status.Record)
	if n := r.Nodes[0]; err != nil || n.Method != api.MethodEBS || n.EBS == nil || n.EBS.VolumeID != "vol-1" || n.Driver != "ebs.csi.aws.com" {
		t.Errorf("record %+v, %v", r.Nodes, err)
	}
}

func TestWhatIsColdAtTheLastMomentFailsTheAttempt(t *testing.T) {
	b := newBench(t, append(instance(), backup())...)
	failed := 0
	b.snaps.warm = func(context.Context) error {
		if failed++; failed == 1 {
			return reason.Failed(api.ReasonSnapshotFailed, "no connection")
		}
		return nil
	}
	if got := b.run(); got.Status.Phase != api.PhaseCompleted || got.Status.Attempt != 2 || b.snaps.cuts != 1 || b.snaps.done != 2 {
		t.Errorf("%s after %d attempts, %d cuts, %d closed", got.Status.Phase, got.Status.Attempt, b.snaps.cuts, b.snaps.done)
	}
}

// What the storage does not let go is to be read in the status, beside why the backup
// failed.
func TestACleanUpThatIsStuckSaysSo(t *testing.T) {
	b := newBench(t, append(instance(), backup(func(b *api.Backup) { b.Spec.Attempts = 1 }))...)
	b.snaps.cutErr = reason.Failed(api.ReasonSnapshotFailed, "the volume is busy")
	b.snaps.discardErr = context.DeadlineExceeded
	for range 4 {
		_, _, _ = b.reconcile() // the error brings it back
	}
	stored, _, err := b.reconcile()
	if c := ready(stored); err == nil || stored.Status.Phase != api.PhaseCleaningUp || c.Reason != api.ReasonSnapshotFailed || !strings.Contains(c.Message, "the volume is busy") || !strings.Contains(c.Message, context.DeadlineExceeded.Error()) {
		t.Errorf("%s: %+v, %v", stored.Status.Phase, c, err)
	}
	b.snaps.discardErr = nil
	if got := b.run(); got.Status.Phase != api.PhaseFailed || strings.Contains(ready(got).Message, "cleaning up") {
		t.Errorf("%s: %+v", got.Status.Phase, ready(got))
	}
}

func TestAskAgain(t *testing.T) {
	for had, want := range map[time.Duration]time.Duration{0: lostEvent, time.Minute: lostEvent, 10 * time.Minute: time.Minute, 5 * time.Hour: seldom} {
		if got := askAgain(had); got != want {
			t.Errorf("after %s: in %s", had, got)
		}
	}
}
