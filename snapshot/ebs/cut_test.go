package ebs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/ebs/rate"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
	"github.com/medic/cht-backup/snapshot/reason"
)

func (w *world) reassemble() []tags.Set {
	var all []tags.Snapshot
	for _, s := range w.left() {
		all = append(all, tags.Snapshot{ID: s.ID, Tags: s.Tags, Region: s.Region, Account: s.Account, VolumeID: s.VolumeID, State: s.State, StartTime: s.Started, SizeGiB: s.SizeGiB})
	}
	sets, strays := tags.Reassemble(all)
	if len(strays) > 0 {
		w.t.Fatalf("strays %+v", strays)
	}
	return sets
}

func TestACutFromItsFirstLookToItsTags(t *testing.T) {
	w := newWorld(t, 3)
	b := backup(1)
	volumes, err := w.cut(b)
	if err != nil || len(volumes) != 3 {
		t.Fatalf("%+v, %v", volumes, err)
	}
	for i, v := range volumes {
		n := w.nodes[i]
		if v.Node != n.Service || v.Claim != n.Claim.Name || v.Method != api.MethodEBS || v.Driver != cht.EBSDriver || !strings.HasPrefix(v.Handle, "snap-") || v.Ready ||
			!v.CutTime.Time.Equal(start) || v.RestoreSize.Value() != int64(101+i)<<30 {
			t.Errorf("volume %+v", v)
		}
		if e := v.EBS; e.VolumeID != n.Claim.EBS.VolumeID || e.Region != region || e.Zone != region+"a" || e.Account != fake.DefaultAccount || e.Type != "gp3" || *e.IOPS != 3000 || *e.ThroughputMiBps != 125 {
			t.Errorf("EBS volume %+v", e)
		}
	}
	if n := w.made("CreateSnapshot"); n != 3 {
		t.Errorf("%d calls to cut 3 volumes", n)
	}
	if sets := w.reassemble(); len(sets) != 1 || sets[0].Whole() {
		t.Fatalf("a set whose hold was not proved must not be whole: %+v", sets)
	}
	if err := w.Mark(t.Context(), b, pointers(volumes)...); err != nil {
		t.Fatal(err)
	}
	// Still being copied.
	if err := w.Refresh(t.Context(), nil, pointers(volumes)...); err != nil || volumes[0].Ready || volumes[0].Progress != "0%" {
		t.Fatalf("%+v, %v", volumes[0], err)
	}
	w.Advance(30 * time.Second)
	before := w.made("DescribeSnapshots")
	if err := w.Refresh(t.Context(), nil, pointers(volumes)...); err != nil || volumes[0].Ready || volumes[0].Progress != "50%" {
		t.Fatalf("%+v, %v", volumes[0], err)
	}
	if n := w.made("DescribeSnapshots") - before; n != 1 {
		t.Errorf("%d calls to look at 3 snapshots", n)
	}
	w.Advance(time.Minute)
	if err := w.Refresh(t.Context(), nil, pointers(volumes)...); err != nil || !volumes[0].Ready || !volumes[2].Ready || volumes[0].Progress != "100%" {
		t.Fatalf("%+v, %v", volumes[0], err)
	}
	if err := w.Keep(t.Context(), b, pointers(volumes)...); err != nil {
		t.Fatal(err)
	}
	if n := w.made("CreateTags"); n != 1 {
		t.Errorf("%d calls to mark, one is enough", n)
	}
	sets := w.reassemble()
	if len(sets) != 1 || !sets[0].Whole() || len(sets[0].Members) != 3 {
		t.Fatalf("sets %+v", sets)
	}
	s := sets[0]
	if m := s.Members[1]; s.UID != string(b.UID) || s.Namespace != ns || s.Backup != "nightly" || s.Cluster != "nairobi" || s.Attempt != 1 || !s.CutTime.Equal(start.Truncate(time.Microsecond)) ||
		m.Node != "couchdb-2" || m.NodeName != "couchdb-2@couchdb-2.svc" || m.Claim != "couchdb-2-claim0" || m.DataSubPath != "data" || m.ConfigSubPath != "local.d" || !m.ConfigOnVolume || m.FSType != "ext4" {
		t.Errorf("set %+v", s)
	}
	if have := w.left()[0].Tags; have["team"] != "health" || have["Name"] != ns+"/nightly" || have[tags.Instance] != "nairobi/"+ns {
		t.Errorf("tags %v", have)
	}
	// The deletion of the backup.
	b.Status.Phase, b.Status.Volumes = api.PhaseCompleted, volumes
	looks := w.made("DescribeSnapshots")
	if left, err := w.Discard(t.Context(), b); left != 0 || err != nil || len(w.left()) != 0 {
		t.Errorf("%d left, %v: %+v", left, err, w.left())
	}
	if n := w.made("DescribeSnapshots") - looks; n != 1 {
		t.Errorf("%d looks to delete what is known by its ids", n)
	}
}

// One volume is throttled: writes go on at once, nothing of the attempt stays, and the
// next cut is a new one.
func TestOneVolumeIsThrottled(t *testing.T) {
	for word, least := range map[string]time.Duration{"RequestLimitExceeded": 30 * time.Second, "Client.RequestLimitExceeded": 30 * time.Second,
		"ConcurrentSnapshotLimitExceeded": time.Minute, "PendingSnapshotLimitExceeded": time.Minute, "SnapshotCreationPerVolumeRateExceeded": 15 * time.Second} {
		t.Run(word, func(t *testing.T) {
			w := newWorld(t, 3, func(o *fake.Options) { o.Timing.Visible = fake.Exactly(3 * time.Second) })
			b := backup(1)
			p := w.ready(b)
			w.AddFault(fake.Fault{Action: "CreateSnapshot", With: w.nodes[1].Claim.EBS.VolumeID, Times: 1, Error: &fake.Failure{Code: word, Status: 503}})
			_, err := p.Make(t.Context())
			if e := wantReason(t, err, api.ReasonThrottled); e.Final || e.Wait < least {
				t.Errorf("final %v, wait %s", e.Final, e.Wait)
			}
			if n := w.made("CreateSnapshot"); n > 3 {
				t.Errorf("%d calls under the freeze, 3 are one each", n)
			}
			began := w.Now()
			if _, err := w.Snapshotter.Cloud.Rates().Take(t.Context(), region, "CreateSnapshot", 5); err != nil {
				t.Fatal(err)
			}
			if waited := w.Now() != began; waited != strings.HasSuffix(word, "RequestLimitExceeded") {
				t.Errorf("others wait for the account's calls: %v", waited)
			}
			w.discard(b)
			w.Advance(time.Minute)
			if left := w.left(); len(left) != 0 {
				t.Fatalf("left behind: %+v", left)
			}
			b = backup(2)
			if _, err := w.cut(b); err != nil {
				t.Fatal(err)
			}
			if left := w.left(); len(left) != 3 || left[0].Tags[tags.Attempt] != "2" {
				t.Errorf("%+v", left)
			}
		})
	}
}

// While one call hangs, another is refused: writes do not wait for the first.
func TestARefusalEndsTheCutAtOnce(t *testing.T) {
	w := newWorld(t, 2)
	b := backup(1)
	p := w.ready(b)
	w.AddFault(fake.Fault{Action: "CreateSnapshot", With: w.nodes[0].Claim.EBS.VolumeID, Hang: true})
	w.AddFault(fake.Fault{Action: "CreateSnapshot", With: w.nodes[1].Claim.EBS.VolumeID, Error: &fake.Failure{Code: "RequestLimitExceeded", Status: 503}})
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, reason.Refuse(api.ReasonStallExceeded, "not done within maxStall"))
	defer cancel()
	_, err := p.Make(ctx)
	_ = wantReason(t, err, api.ReasonThrottled)
}

// The call was done, the answer did not come. What it made comes to light late.
func TestALostAnswerLeavesNothing(t *testing.T) {
	w := newWorld(t, 2, func(o *fake.Options) { o.Timing.Visible = fake.Exactly(8 * time.Second) })
	b := backup(1)
	p := w.ready(b)
	w.AddFault(fake.Fault{Action: "CreateSnapshot", With: w.nodes[0].Claim.EBS.VolumeID, Times: 1, Lose: true})
	_, err := p.Make(t.Context())
	if e := wantReason(t, err, api.ReasonSnapshotFailed); e.Final {
		t.Error("a lost answer is no final failure")
	}
	if len(w.left()) == 0 {
		t.Fatal("the fake made nothing: this test proves nothing")
	}
	w.discard(b)
	w.Advance(time.Minute)
	if left := w.left(); len(left) != 0 {
		t.Errorf("left behind: %+v", left)
	}
}

func TestACutHangsUntilTheBound(t *testing.T) {
	w := newWorld(t, 2)
	b := backup(1)
	p := w.ready(b)
	w.AddFault(fake.Fault{Action: "CreateSnapshot", With: w.nodes[1].Claim.EBS.VolumeID, Hang: true})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, reason.Refuse(api.ReasonStallExceeded, "not done within maxStall"))
	defer cancel()
	_, err := p.Make(ctx)
	_ = wantReason(t, err, api.ReasonStallExceeded)
	w.discard(b)
	if left := w.left(); len(left) != 0 {
		t.Errorf("left behind: %+v", left)
	}
}

// The process dies in the middle of a cut; the next one knows only what stands in the
// status.
func TestTheControllerDiesBetweenTwoCalls(t *testing.T) {
	w := newWorld(t, 3, func(o *fake.Options) { o.Timing.Visible = fake.Exactly(5 * time.Second) })
	b := backup(1)
	p := w.ready(b)
	w.AddFault(fake.Fault{Action: "CreateSnapshot", With: w.nodes[2].Claim.EBS.VolumeID, Hang: true})
	ctx, die := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer die()
	if _, err := p.Make(ctx); !errors.Is(err, context.DeadlineExceeded) && reason.Of(err) == nil {
		t.Fatal(err)
	}
	w.ClearFaults()
	w.restart()
	if left, err := w.Discard(t.Context(), b); err != nil || left == 0 {
		t.Fatalf("nothing can be seen yet, which proves nothing: %d left, %v", left, err)
	}
	w.discard(b)
	w.Advance(time.Minute)
	if left := w.left(); len(left) != 0 {
		t.Errorf("left behind: %+v", left)
	}
}

// A permission that is missing does not cost a freeze.
func TestAMissingPermissionIsFoundBeforehand(t *testing.T) {
	w := newWorld(t, 1)
	w.Allow(fake.DefaultAccount, []string{"ec2:Describe*", "ec2:CreateSnapshot"})
	_, err := w.Prepare(t.Context(), backup(1), w.nodes)
	if e := wantReason(t, err, api.ReasonSnapshotFailed); !e.Final || !strings.Contains(err.Error(), "backup.json") || !strings.Contains(err.Error(), "UnauthorizedOperation") {
		t.Errorf("%v", err)
	}
	if len(w.left()) != 0 {
		t.Error("it cut")
	}
}

// One that is taken away later costs one freeze, not one for each attempt.
func TestAPermissionIsTakenAway(t *testing.T) {
	w := newWorld(t, 1)
	if _, err := w.cut(backup(1)); err != nil {
		t.Fatal(err)
	}
	w.Allow(fake.DefaultAccount, []string{"ec2:Describe*"})
	p := w.ready(backup(2))
	if _, err := p.Make(t.Context()); err == nil {
		t.Fatal("it was allowed")
	}
	calls := w.made("CreateSnapshot")
	if _, err := w.Prepare(t.Context(), backup(3), w.nodes); err == nil {
		t.Error("the third attempt is let into the freeze")
	}
	if n := w.made("CreateSnapshot") - calls; n != 1 {
		t.Errorf("%d calls, one rehearsal is refused", n)
	}
}

// No call of a cut waits for a bucket: what is not there is waited for beforehand.
func TestTheCallsAreTakenBeforehand(t *testing.T) {
	w := newWorld(t, 3)
	w.limit = rate.Limits{Each: rate.Limit{PerSecond: 1, Burst: 3}}
	w.restart()
	b := backup(1)
	p := w.ready(b) // 3 rehearsals, 3 calls
	waited := w.Now().Sub(start)
	if waited < 3*time.Second {
		t.Errorf("6 calls after %s at one a second and 3 at once", waited)
	}
	if _, err := p.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := w.Now().Sub(start); now != waited {
		t.Errorf("the cut waited for %s", now-waited)
	}
	// What is given up goes back.
	p, err := w.Prepare(t.Context(), backup(2), w.nodes)
	if err != nil {
		t.Fatal(err)
	}
	p.Done()
	began := w.Now()
	if _, err := w.Snapshotter.Cloud.Rates().Take(t.Context(), region, "CreateSnapshot", 3); err != nil || w.Now() != began {
		t.Errorf("3 calls that nobody made are not there again: waited %s, %v", w.Now().Sub(began), err)
	}
}

// EC2 allows a volume to be cut every 15 s: the next attempt waits for that before it
// holds anything.
func TestAVolumeIsNotCutTooSoonAgain(t *testing.T) {
	w := newWorld(t, 1)
	if _, err := w.cut(backup(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.cut(backup(2)); err != nil {
		t.Fatal(err)
	}
	if waited := w.Now().Sub(start); waited < perVolume {
		t.Errorf("cut again after %s", waited)
	}
}
