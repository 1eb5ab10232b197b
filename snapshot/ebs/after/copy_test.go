package after_test

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	ec2fake "github.com/medic/cht-backup/integration/ec2"
)

func twoRegions() api.EBSPolicy {
	return api.EBSPolicy{Tags: map[string]string{"team": "relief"}, Copies: []api.EBSCopy{{Name: "dr", Region: there, CompletionMinutes: pointer[int32](15)},
		{Name: "far", Region: far, KMSKeyID: "alias/backups"}}}
}

func TestCopiesToTwoRegions(t *testing.T) {
	w := newWorld(t)
	key := w.backup("b", twoRegions())
	b := w.run(key)
	w.want(b, api.ConditionCopied, api.ReasonDone, "2 copies")
	for _, c := range []struct{ name, region, key string }{{"dr", there, ""}, {"far", far, "arn:aws:kms:" + far + ":" + ec2fake.DefaultAccount + ":alias/backups"}} {
		copies := w.copies("", c.region, c.name)
		if len(copies) != 2 {
			t.Errorf("%d copies in %s", len(copies), c.region)
		}
		for _, s := range copies {
			if s.KMSKeyID != c.key || s.Tags["team"] != "relief" || s.Tags["communityhealthtoolkit.org/claim"] != "claim-"+s.Tags[nodeTag] || s.Tags["communityhealthtoolkit.org/complete"] != "true" {
				t.Errorf("copy %+v", s)
			}
			if c.name == "dr" && s.Minutes != 15 {
				t.Errorf("a copy in %d minutes", s.Minutes)
			}
		}
	}
	for _, c := range b.Status.Copies {
		if !c.Complete || c.CompletionTime == nil || c.Account != ec2fake.DefaultAccount || len(c.Volumes) != 2 || c.Message != "" {
			t.Errorf("status %+v", c)
		}
		for _, v := range c.Volumes {
			if !v.Ready || v.Handle == "" || v.Progress != "" || (v.KMSKeyID != "") != (c.Name == "far") {
				t.Errorf("volume %+v", v)
			}
		}
	}
	// What is done costs nothing, also a controller that starts anew.
	before := w.all()
	w.restart()
	if again := w.turn(key, true); again != 0 || w.all() != before || !w.w.Settled(b) {
		t.Errorf("a settled backup made %d calls and comes again in %s", w.all()-before, again)
	}
}

func TestCopyToAnotherAccount(t *testing.T) {
	w := newWorld(t)
	key := w.backup("b", api.EBSPolicy{ShareWith: []string{other}, Copies: []api.EBSCopy{{Name: "safe", Region: there, RoleARN: role, ShareWith: []string{"777788889999"}}}})
	b := w.run(key)
	w.want(b, api.ConditionCopied, api.ReasonDone)
	w.want(b, api.ConditionShared, api.ReasonDone, "4 snapshots")
	copies := w.copies(other, there, "safe")
	if len(copies) != 2 || b.Status.Copies[0].Account != other {
		t.Errorf("copies %+v, account %s", copies, b.Status.Copies[0].Account)
	}
	for _, s := range copies {
		if len(s.SharedWith) != 1 || s.SharedWith[0] != "777788889999" {
			t.Errorf("shared with %v", s.SharedWith)
		}
	}
}

func TestRoleThatCannotBeTaken(t *testing.T) {
	w := newWorld(t)
	w.cloud.AddFault(ec2fake.Fault{Action: "AssumeRole", Error: &ec2fake.Failure{Status: 403, Code: "AccessDenied", Message: "not trusted"}})
	key := w.backup("b", api.EBSPolicy{ShareWith: []string{other}, Copies: []api.EBSCopy{{Name: "safe", Region: there, RoleARN: role}, {Name: "dr", Region: far}}})
	b := w.run(key, func(b *api.Backup) bool { return len(b.Status.Copies) > 1 && b.Status.Copies[1].Complete })
	w.want(b, api.ConditionCopied, api.ReasonCopyFailed, "copy safe", there, "AccessDenied", "sts:AssumeRole", "1h")
	// The other copy is made all the same, and this one once the role can be taken.
	w.cloud.ClearFaults()
	w.want(w.run(key), api.ConditionCopied, api.ReasonDone)
}

func TestWaitsUntilItIsShared(t *testing.T) {
	w := newWorld(t)
	w.cloud.AddFault(ec2fake.Fault{Action: "ModifySnapshotAttribute", Error: &ec2fake.Failure{Status: 403, Code: "UnauthorizedOperation", Message: "no"}})
	key := w.backup("b", api.EBSPolicy{ShareWith: []string{other}, Copies: []api.EBSCopy{{Name: "safe", Region: there, RoleARN: role}}})
	for range 5 {
		w.cloud.Advance(w.turn(key, true))
	}
	b := w.get(key)
	w.want(b, api.ConditionShared, api.ReasonShareFailed, "UnauthorizedOperation", "ec2:ModifySnapshotAttribute", b.Status.Volumes[0].Handle, home)
	w.want(b, api.ConditionCopied, api.ReasonProgressing, "shared with account "+other)
	if w.calls("CopySnapshot") != 0 {
		t.Error("it was copied before it could be read")
	}
	w.cloud.ClearFaults()
	w.want(w.run(key), api.ConditionCopied, api.ReasonDone)
}

func TestDefaultKeyCannotBeShared(t *testing.T) {
	w := newWorld(t)
	key := w.backup("b", api.EBSPolicy{ShareWith: []string{other}}, func(b *api.Backup) {
		id, err := w.cloud.AddSnapshot(ec2fake.Snapshot{Region: home, Encrypted: true, KMSKeyID: ec2fake.DefaultKey(ec2fake.DefaultAccount, home)})
		if err != nil {
			t.Fatal(err)
		}
		b.Status.Volumes[1].Handle = id
	})
	b := w.run(key, failed(api.ConditionShared))
	w.want(b, api.ConditionShared, api.ReasonShareFailed, b.Status.Volumes[1].Handle, "OperationNotPermitted", "default key", "kmsKeyID", "1h")
}

// EC2 finds out that a key cannot be used after it has answered.
func TestKeyRefused(t *testing.T) {
	w := newWorld(t)
	key := w.backup("b", api.EBSPolicy{Copies: []api.EBSCopy{{Name: "dr", Region: there, KMSKeyID: "arn:aws:kms:us-west-2:" + ec2fake.DefaultAccount + ":key/1"}}})
	b := w.run(key, failed(api.ConditionCopied))
	w.want(b, api.ConditionCopied, api.ReasonCopyFailed, "Given key ID is not accessible", "kmsKeyID", "1h", there)
	was := w.calls("CopySnapshot")
	w.cloud.Advance(50 * time.Minute)
	if w.turn(key, true); w.calls("CopySnapshot") != was {
		t.Error("it was tried again within the hour")
	}
	w.cloud.Advance(30 * time.Minute)
	for range 4 { // look, start
		w.turn(key, true)
	}
	if got := w.calls("CopySnapshot"); got != 2*was {
		t.Errorf("after an hour %d copies were begun, %d before", got, was)
	}
	if copies := w.copies("", there, "dr"); len(copies) > 2 {
		t.Errorf("what ended in an error is kept: %+v", copies)
	}
	w.want(w.get(key), api.ConditionCopied, api.ReasonCopyFailed, "not accessible") // in sight until it has succeeded
}

func TestLimitOfCopies(t *testing.T) {
	w := newWorld(t)
	w.limit = 3
	w.restart()
	w.cloud.SetQuotas(ec2fake.Quotas{Copies: 3})
	var keys []types.NamespacedName
	for i := range 5 {
		keys = append(keys, w.backup(fmt.Sprintf("b%d", i), api.EBSPolicy{Copies: []api.EBSCopy{{Name: "dr", Region: there}}}))
		w.cloud.Advance(time.Second)
	}
	// The youngest asks first, the oldest get the slots all the same once they have asked.
	done := map[int]time.Time{}
	for range 400 {
		for i := len(keys) - 1; i >= 0; i-- {
			w.turn(keys[i], true)
			if b := w.get(keys[i]); w.w.Settled(b) && done[i].IsZero() {
				done[i] = w.cloud.Now()
			}
		}
		if len(done) == len(keys) {
			break
		}
		w.cloud.Advance(15 * time.Second)
	}
	if len(done) != len(keys) {
		t.Fatalf("only %d are copied:\n%s", len(done), conditions(w.get(keys[0])))
	}
	if got := w.calls("CopySnapshot"); got != 10 {
		t.Errorf("%d copies were made", got)
	}
	for k, n := range w.cloud.Counts() {
		if k.Code == "ResourceLimitExceeded" {
			t.Errorf("EC2's limit was met %d times", n)
		}
	}
	for i := range 3 { // b4 asked first; all others by age
		if !done[i].Before(done[i+1]) && !done[i].Equal(done[i+1]) {
			t.Errorf("b%d was done %s, b%d %s", i, done[i], i+1, done[i+1])
		}
	}
	w.copies("", there, "dr")
}

func TestEC2sOwnLimitIsAbsorbed(t *testing.T) {
	w := newWorld(t)
	w.cloud.SetQuotas(ec2fake.Quotas{Copies: 1})
	key := w.backup("b", twoRegions())
	seen := false
	b := w.run(key, func(b *api.Backup) bool {
		seen = seen || len(b.Status.Copies) > 0 && b.Status.Copies[0].Message != ""
		if failed(api.ConditionCopied)(b) {
			t.Fatalf("a quota that is used up is no failure:\n%s", conditions(b))
		}
		return false
	})
	w.want(b, api.ConditionCopied, api.ReasonDone)
	if !seen {
		t.Error("nothing told why it waited")
	}
}

func TestThrottlingIsAbsorbed(t *testing.T) {
	w := newWorld(t)
	w.cloud.AddFault(ec2fake.Fault{Action: "CopySnapshot", Times: 5, Error: &ec2fake.Failure{Status: 503, Code: "RequestLimitExceeded", Message: "Request limit exceeded."}})
	b := w.run(w.backup("b", twoRegions()), failed(api.ConditionCopied))
	w.want(b, api.ConditionCopied, api.ReasonDone)
	w.copies("", there, "dr")
}

// Whatever answer is lost, and wherever the controller is killed: nothing is copied
// twice, and in the end all is done.
func TestKilledAnywhere(t *testing.T) {
	policy := twoRegions()
	policy.ShareWith = []string{other}
	policy.Lock = &api.EBSLock{Mode: api.LockGovernance, Days: 3}
	for _, visible := range []time.Duration{0, 20 * time.Second} {
		for n := range 14 {
			t.Run(fmt.Sprintf("turn %d, seen after %s", n, visible), func(t *testing.T) {
				w := newWorld(t)
				timing := ec2fake.Timing{Copy: ec2fake.Exactly(10 * time.Minute), Visible: ec2fake.Exactly(visible)}
				w.cloud.SetTiming(timing)
				key := w.backup("b", policy)
				for range n {
					w.cloud.Advance(w.turn(key, true))
				}
				w.turn(key, false)
				w.restart()
				w.finish(key)
			})
		}
	}
	for _, action := range []string{"CopySnapshot", "LockSnapshot", "ModifySnapshotAttribute", "DescribeSnapshots", "DescribeLockedSnapshots"} {
		for skip := range 4 {
			for _, restarts := range []bool{false, true} {
				t.Run(fmt.Sprintf("answer %d of %s lost, restarts %t", skip+1, action, restarts), func(t *testing.T) {
					w := newWorld(t)
					w.cloud.SetTiming(ec2fake.Timing{Copy: ec2fake.Exactly(10 * time.Minute), Visible: ec2fake.Exactly(20 * time.Second)})
					w.cloud.AddFault(ec2fake.Fault{Action: action, Skip: skip, Times: 1, Lose: true})
					key := w.backup("b", policy)
					for range 5 {
						w.cloud.Advance(w.turn(key, true))
						if restarts {
							w.restart()
						}
					}
					w.finish(key)
				})
			}
		}
	}
}

func (w *world) finish(key types.NamespacedName) {
	w.t.Helper()
	b := w.run(key)
	for _, condition := range []string{api.ConditionShared, api.ConditionCopied, api.ConditionLocked} {
		w.want(b, condition, api.ReasonDone)
	}
	for name, region := range map[string]string{"dr": there, "far": far} {
		if copies := w.copies("", region, name); len(copies) != 2 {
			w.t.Errorf("%d copies in %s", len(copies), region)
		}
	}
	if got := w.calls("LockSnapshot"); got > 7 { // 6, and one whose answer was lost
		w.t.Errorf("%d locks for 6 snapshots", got)
	}
}

func TestOtherBackupsCostNothing(t *testing.T) {
	w := newWorld(t)
	none := w.backup("none", api.EBSPolicy{}, func(b *api.Backup) { b.Spec.EBS = nil })
	tags := w.backup("tags", api.EBSPolicy{Tags: map[string]string{"a": "b"}})
	csi := w.backup("csi", twoRegions(), func(b *api.Backup) {
		for i := range b.Status.Volumes {
			b.Status.Volumes[i].Method, b.Status.Volumes[i].EBS = api.MethodCSI, nil
		}
	})
	for _, key := range []types.NamespacedName{none, tags, csi} {
		if again := w.turn(key, true); again != 0 || !w.w.Settled(w.get(key)) {
			t.Errorf("%s comes again in %s", key.Name, again)
		}
	}
	w.want(w.get(csi), api.ConditionCopied, api.ReasonNotEBS, "method EBS")
	if len(w.get(none).Status.Conditions) != 1 || len(w.get(tags).Status.Conditions) != 1 {
		t.Error("conditions of what nobody asked for")
	}
	if w.all() != 0 {
		t.Errorf("%d calls", w.all())
	}
}

// Many backups that copy at once share their questions.
func TestLooksAreShared(t *testing.T) {
	w := newWorld(t)
	var keys []types.NamespacedName
	for i := range 10 {
		keys = append(keys, w.backup(fmt.Sprintf("b%d", i), api.EBSPolicy{Copies: []api.EBSCopy{{Name: "dr", Region: there}}}))
	}
	for range 3 {
		for _, key := range keys {
			w.turn(key, true)
		}
	}
	was := w.calls("DescribeSnapshots")
	for range 4 {
		w.cloud.Advance(time.Minute)
		for _, key := range keys {
			w.turn(key, true)
		}
	}
	if got := w.calls("DescribeSnapshots") - was; got > 4 {
		t.Errorf("10 backups that were looked at 4 times made %d calls", got)
	}
}
