package after_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	ec2fake "github.com/medic/cht-backup/integration/ec2"
)

// remove is one turn of a deletion.
func (w *world) remove(key types.NamespacedName, saved bool) (int, time.Duration) {
	w.t.Helper()
	b := w.get(key)
	left, again := w.w.Remove(w.t.Context(), b)
	if saved {
		if err := w.kube.Status().Update(w.t.Context(), b); err != nil {
			w.t.Fatal(err)
		}
	}
	return left, again
}

func locked(mode api.EBSLockMode, days int32) api.EBSPolicy {
	return api.EBSPolicy{Lock: &api.EBSLock{Mode: mode, Days: days, CoolOffHours: pointer[int32](2)}, Copies: []api.EBSCopy{{Name: "dr", Region: there}}}
}

func TestLockAndDelete(t *testing.T) {
	w := newWorld(t)
	began := w.cloud.Now()
	key := w.backup("b", locked(api.LockCompliance, 3))
	b := w.run(key)
	w.want(b, api.ConditionLocked, api.ReasonDone, "4 snapshots", "Compliance")
	// The copy was locked last.
	end := b.Status.LockedUntil.Time
	if min := began.AddDate(0, 0, 3).Add(10 * time.Minute); end.Before(min) || end.After(min.Add(5*time.Minute)) {
		t.Errorf("locked until %s, begun at %s", end, began)
	}
	for _, s := range w.cloud.Snapshots("", "") {
		if s.LockState != "compliance-cooloff" {
			t.Errorf("lock %+v", s)
		}
	}
	if got := w.calls("LockSnapshot"); got != 4 {
		t.Errorf("%d locks", got)
	}

	// During the cool-off somebody can lift it, so it is looked at within the hour.
	left, again := w.remove(key, true)
	if left != 4 || again != time.Hour {
		t.Errorf("%d left, again in %s", left, again)
	}
	b = w.get(key)
	w.want(b, api.ConditionLocked, api.ReasonLocked, end.UTC().Format("2006-01-02T15:04"), b.Status.Volumes[0].Handle, there, "compliance")
	w.cloud.Advance(3 * time.Hour)
	left, again = w.remove(key, true)
	if left != 4 || again < 60*time.Hour || again > 72*time.Hour {
		t.Errorf("%d left, again in %s", left, again)
	}
	if w.calls("DeleteSnapshot") != 0 || len(w.copies("", there, "dr")) != 2 {
		t.Error("something of a locked backup was deleted")
	}
	w.cloud.Advance(again)
	w.restart()
	if left, _ := w.remove(key, true); left != 0 || len(w.copies("", there, "dr")) != 0 {
		t.Errorf("after its time: %d left, copies %v", left, w.copies("", there, "dr"))
	}
	if got := len(w.cloud.Snapshots("", home)); got != 2 {
		t.Errorf("%d originals: they are the snapshotter's to delete", got)
	}
}

func TestGovernanceLockIsLifted(t *testing.T) {
	w := newWorld(t)
	key := w.backup("b", locked(api.LockGovernance, 30))
	w.run(key)
	if left, again := w.remove(key, true); left != 4 || again != time.Hour {
		t.Errorf("%d left, again in %s", left, again)
	}
	// Only one is locked still: nothing is deleted.
	w.unlock(3)
	if left, _ := w.remove(key, true); left != 1 || w.calls("DeleteSnapshot") != 0 {
		t.Errorf("%d left, %d deleted", left, w.calls("DeleteSnapshot"))
	}
	w.unlock(4)
	if left, _ := w.remove(key, true); left != 0 {
		t.Errorf("%d left", left)
	}
}

// A lock that is there already is neither set again nor shortened.
func TestLockIsExtendedNeverShortened(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode api.EBSLockMode
		days int32
		want api.EBSLock
		sets int
	}{
		{"as asked for", api.LockGovernance, 30, api.EBSLock{Mode: api.LockGovernance, Days: 30}, 0},
		{"longer than asked for", api.LockGovernance, 90, api.EBSLock{Mode: api.LockGovernance, Days: 30}, 0},
		{"shorter", api.LockGovernance, 5, api.EBSLock{Mode: api.LockGovernance, Days: 30}, 2},
		{"weaker", api.LockGovernance, 30, api.EBSLock{Mode: api.LockCompliance, Days: 30}, 2},
		{"stronger and longer", api.LockCompliance, 60, api.EBSLock{Mode: api.LockGovernance, Days: 30}, 0},
		{"stronger and shorter", api.LockCompliance, 5, api.EBSLock{Mode: api.LockGovernance, Days: 30}, 2},
		{"compliance, shorter", api.LockCompliance, 5, api.EBSLock{Mode: api.LockCompliance, Days: 30, CoolOffHours: pointer[int32](24)}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			key := w.backup("b", api.EBSPolicy{Lock: &api.EBSLock{Mode: tt.mode, Days: tt.days, CoolOffHours: pointer[int32](0)}})
			before := w.run(key).Status.LockedUntil.Time
			was := w.calls("LockSnapshot")
			// The same snapshots again, of a backup that asks for something else.
			again := w.backup("again", api.EBSPolicy{Lock: &tt.want}, func(b *api.Backup) { b.Status.Volumes = w.get(key).Status.Volumes })
			b := w.run(again)
			w.want(b, api.ConditionLocked, api.ReasonDone)
			if got := w.calls("LockSnapshot") - was; got != tt.sets {
				t.Errorf("%d locks set, want %d", got, tt.sets)
			}
			if until := b.Status.LockedUntil.Time; until.Before(before) || until.Before(w.cloud.Now().AddDate(0, 0, int(tt.want.Days)-1)) {
				t.Errorf("locked until %s, before until %s", until, before)
			}
			for _, s := range w.cloud.Snapshots("", home) {
				if strings.HasPrefix(s.LockState, "governance") && (tt.mode == api.LockCompliance || tt.want.Mode == api.LockCompliance) && s.Tags[uidTag] == "uid-b" {
					t.Errorf("lock %s", s.LockState)
				}
			}
		})
	}
}

func TestDeletionTakesOnlyWhatIsOurs(t *testing.T) {
	w := newWorld(t)
	key := w.backup("b", api.EBSPolicy{ShareWith: []string{other}, Copies: []api.EBSCopy{{Name: "dr", Region: there}, {Name: "safe", Region: far, RoleARN: role}}})
	w.backup("b2", api.EBSPolicy{})
	w.run(key)
	// A copy made by hand that took all tags over, and one of another backup.
	for _, tags := range []map[string]string{{uidTag: "uid-b", nodeTag: "couchdb-1", copyTag: "dr"}, {uidTag: "uid-b2", nodeTag: "couchdb-1", copyTag: "dr"}, {uidTag: "uid-b"}} {
		if _, err := w.cloud.AddSnapshot(ec2fake.Snapshot{Region: there, Description: "mine", Tags: tags}); err != nil {
			t.Fatal(err)
		}
	}
	// Killed after each deletion, it goes on.
	w.cloud.AddFault(ec2fake.Fault{Action: "DeleteSnapshot", Times: 1, Lose: true})
	left, again := w.remove(key, false)
	if left == 0 || again == 0 {
		t.Errorf("%d left, again in %s, though an answer was lost", left, again)
	}
	w.restart()
	if left, _ := w.remove(key, true); left != 0 {
		t.Errorf("%d left: %s", left, conditions(w.get(key)))
	}
	if got := len(w.cloud.Snapshots("", there)); got != 3 {
		t.Errorf("%d of 3 foreign snapshots are left", got)
	}
	if got := w.cloud.Snapshots(other, far); len(got) != 0 {
		t.Errorf("left in the other account: %+v", got)
	}
}

// A deletion finds also the copy whose answer was lost just before.
func TestDeletionAfterALostAnswer(t *testing.T) {
	w := newWorld(t)
	w.cloud.SetTiming(ec2fake.Timing{Copy: ec2fake.Exactly(10 * time.Minute), Visible: ec2fake.Exactly(20 * time.Second)})
	key := w.backup("b", api.EBSPolicy{Copies: []api.EBSCopy{{Name: "dr", Region: there}}})
	w.turn(key, true)
	w.turn(key, false) // began both, and was killed
	w.restart()
	for range 10 {
		left, again := w.remove(key, true)
		if left == 0 {
			break
		}
		w.cloud.Advance(again)
	}
	if got := w.cloud.Snapshots("", there); len(got) != 0 {
		t.Errorf("left: %+v", got)
	}
}

func TestDeletionThatMayNot(t *testing.T) {
	w := newWorld(t)
	key := w.backup("b", api.EBSPolicy{Copies: []api.EBSCopy{{Name: "dr", Region: there}}})
	w.run(key)
	w.cloud.AddFault(ec2fake.Fault{Action: "DeleteSnapshot", Error: &ec2fake.Failure{Status: 403, Code: "UnauthorizedOperation", Message: "no"}})
	left, again := w.remove(key, true)
	if left == 0 || again != time.Hour {
		t.Errorf("%d left, again in %s", left, again)
	}
	w.want(w.get(key), api.ConditionCopied, api.ReasonCopyFailed, "being deleted", "UnauthorizedOperation", "ec2:DeleteSnapshot", "Retain")
	calls := w.all()
	if left, again := w.remove(key, true); left == 0 || again == 0 || w.all() != calls {
		t.Errorf("%d left, again in %s, %d calls within the hour", left, again, w.all()-calls)
	}
}

func (w *world) unlock(most int) {
	w.t.Helper()
	clients := w.w.EC2
	n := 0
	for _, s := range w.cloud.Snapshots("", "") {
		if s.LockState == "" || n == most {
			continue
		}
		n++
		unlockSnapshot(w.t, clients, s)
	}
}
