package after

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ktypes "k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

var now = time.Date(2026, 11, 26, 2, 0, 0, 0, time.UTC)

func TestNextOf(t *testing.T) {
	all := []snapshot{{node: "couchdb-1"}, {node: "couchdb-2"}}
	status := func(volumes ...api.CopiedVolume) *api.CopyStatus { return &api.CopyStatus{Volumes: volumes} }
	none := func(node string) api.CopiedVolume { return api.CopiedVolume{Node: node} }
	under := func(node string) api.CopiedVolume { return api.CopiedVolume{Node: node, Handle: "snap-" + node} }
	ready := func(node string) api.CopiedVolume {
		return api.CopiedVolume{Node: node, Handle: "snap-" + node, Ready: true}
	}
	both := []string{"couchdb-1", "couchdb-2"}
	for _, tt := range []struct {
		name string
		s    *api.CopyStatus
		m    copyMemory
		want plan
	}{
		{"nothing is known", nil, copyMemory{}, plan{step: toNote, nodes: both}},
		{"a node is not noted", status(ready("couchdb-1")), copyMemory{}, plan{step: toNote, nodes: both[1:]}},
		{"noted by this process", status(none("couchdb-1"), none("couchdb-2")), copyMemory{noted: true}, plan{step: toStart, nodes: both}},
		{"noted by another", status(none("couchdb-1"), none("couchdb-2")), copyMemory{trust: now.Add(time.Minute)}, plan{step: toFind, nodes: both}},
		{"looked for too early", status(none("couchdb-1"), under("couchdb-2")), copyMemory{trust: now.Add(time.Minute), found: now}, plan{step: toSettle, nodes: both[:1], wait: time.Minute}},
		{"it is time to look again", status(none("couchdb-1"), under("couchdb-2")), copyMemory{trust: now, found: now.Add(-time.Minute)}, plan{step: toFind, nodes: both[:1]}},
		{"looked for, and not there", status(none("couchdb-1"), under("couchdb-2")), copyMemory{trust: now, found: now}, plan{step: toStart, nodes: both[:1]}},
		{"under way", status(ready("couchdb-1"), under("couchdb-2")), copyMemory{}, plan{step: toLook, nodes: both[1:]}},
		{"all are there", status(ready("couchdb-1"), ready("couchdb-2")), copyMemory{}, plan{step: complete}},
		{"complete", &api.CopyStatus{Complete: true}, copyMemory{}, plan{step: complete}},
	} {
		if got := nextOf(all, tt.s, &tt.m, now); got.step != tt.want.step || !slices.Equal(got.nodes, tt.want.nodes) || got.wait != tt.want.wait {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		code, message string
		fault         smithy.ErrorFault
		want          kind
		unsure        bool
		first, later  time.Duration // waits after the 1st and the 20th failure
	}{
		{"RequestLimitExceeded", "", 0, throttled, false, 15 * time.Second, 5 * time.Minute},
		{"ResourceLimitExceeded", "", 0, full, false, 15 * time.Second, 5 * time.Minute},
		{"Client.UnauthorizedOperation", "", 0, denied, false, time.Hour, time.Hour},
		{"AccessDenied", "", 0, denied, false, time.Hour, time.Hour},
		{"OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared", 0, wrong, false, time.Hour, time.Hour},
		{"OperationNotPermitted", "no", 0, denied, false, time.Hour, time.Hour},
		{"InvalidKmsKey.InvalidState", "", 0, wrong, false, time.Hour, time.Hour},
		{"KMSKeyNotAccessibleFault", "", 0, wrong, false, time.Hour, time.Hour},
		{"InvalidParameterValue", "", 0, wrong, false, time.Hour, time.Hour},
		{"InvalidSnapshot.NotFound", "", 0, gone, false, time.Hour, time.Hour},
		{"IncorrectState", "", 0, passing, false, 15 * time.Second, 30 * time.Minute},
		{"InternalError", "", smithy.FaultServer, passing, true, 15 * time.Second, 30 * time.Minute},
	} {
		f := faultOf(&smithy.GenericAPIError{Code: tt.code, Message: tt.message, Fault: tt.fault}, Place{Region: "eu-west-1"}, "CopySnapshot", "copy snapshot snap-1")
		if f.kind != tt.want || f.unsure != tt.unsure || pause(f.kind, 1) != tt.first || pause(f.kind, 20) != tt.later {
			t.Errorf("%s: kind %d, unsure %t, waits %s, %s", tt.code, f.kind, f.unsure, pause(f.kind, 1), pause(f.kind, 20))
		}
	}
}

func TestLockServes(t *testing.T) {
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	governance, compliance := api.EBSLock{Mode: api.LockGovernance, Days: 30}, api.EBSLock{Mode: api.LockCompliance, Days: 30}
	for _, tt := range []struct {
		name string
		l    lock
		want api.EBSLock
		ok   bool
	}{
		{"none", lock{}, governance, false},
		{"as asked for", lock{types.LockStateGovernance, 30, day(30)}, governance, true},
		{"by its days, though set before", lock{types.LockStateGovernance, 30, day(20)}, governance, true},
		{"by its end", lock{types.LockStateGovernance, 0, day(30)}, governance, true},
		{"too short", lock{types.LockStateGovernance, 29, day(29)}, governance, false},
		{"too weak", lock{types.LockStateGovernance, 30, day(30)}, compliance, false},
		{"stronger", lock{types.LockStateCompliance, 30, day(30)}, governance, true},
		{"cooling off", lock{types.LockStateComplianceCooloff, 30, day(30)}, compliance, true},
		{"has run its time", lock{types.LockStateExpired, 30, day(-1)}, compliance, true},
		{"another's, long over", lock{types.LockStateExpired, 3, day(-1)}, compliance, false},
	} {
		if got := tt.l.serves(tt.want, now); got != tt.ok {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
	hours := int32(24)
	compliance.CoolOffHours = &hours
	if in := (lock{}).toSet(compliance, "s"); in.LockMode != types.LockModeCompliance || *in.CoolOffPeriod != 24 {
		t.Errorf("%+v", in)
	}
	if in := (lock{state: types.LockStateCompliance}).toSet(governance, "s"); in.LockMode != types.LockModeCompliance || in.CoolOffPeriod != nil {
		t.Errorf("weakened: %+v", in)
	}
	if in := (lock{}).toSet(governance, "s"); in.LockMode != types.LockModeGovernance || in.CoolOffPeriod != nil {
		t.Errorf("%+v", in)
	}
}

func TestSlots(t *testing.T) {
	p, at := Place{Region: "eu-west-1"}, func(n int) waiting {
		return waiting{ktypes.NamespacedName{Name: string(rune('a' + n))}, now.Add(time.Duration(n) * time.Hour)}
	}
	key := func(n int) slot { return slot{uid: ktypes.UID(rune('a' + n)), node: "couchdb-1"} }
	var woken []string
	s := &slots{limit: 2, wake: func(k ktypes.NamespacedName) { woken = append(woken, k.Name) }}
	take := func(n int) bool { ok, _, _ := s.take(p, key(n), at(n), now); return ok }
	if !take(5) || !take(4) || take(3) || take(1) || take(2) {
		t.Fatal("two slots are not two")
	}
	if !take(5) {
		t.Error("who has one asked again, and lost it")
	}
	s.free(p, key(5))
	if !slices.Equal(woken, []string{"b"}) {
		t.Errorf("woken: %v", woken)
	}
	if take(3) || take(2) || !take(1) || take(2) {
		t.Error("not by age")
	}
	// Another place has slots of its own.
	if ok, _, _ := s.take(Place{Region: "eu-west-1", Role: "r"}, key(9), at(9), now); !ok {
		t.Error("places share their slots")
	}
	// One that waited and is gone blocks nobody.
	s.leave(key(2).uid)
	s.free(p, key(4))
	if !take(3) {
		t.Error("a backup that is gone still waits")
	}
	// EC2 itself is full: nobody begins, and the order stays.
	s.free(p, key(1))
	take(6)
	if d := s.full(p, key(6), at(6), now); d != firstWait || take(7) || take(6) {
		t.Error("begun, though EC2 is full")
	}
	later := now.Add(firstWait)
	if ok, _, _ := s.take(p, key(7), at(7), later); ok {
		t.Error("the younger overtook")
	}
	if ok, _, _ := s.take(p, key(6), at(6), later); !ok {
		t.Error("it is not tried again")
	}
}

func TestNewestFast(t *testing.T) {
	n := 0
	backup := func(name, schedule string, newest int32, change ...func(*api.Backup)) api.Backup {
		n++
		b := api.Backup{ObjectMeta: metav1.ObjectMeta{Name: name, UID: ktypes.UID(name), Labels: map[string]string{api.ScheduleLabel: schedule}}}
		b.Spec.EBS = &api.EBSPolicy{}
		if newest > 0 {
			b.Spec.EBS.FastRestore = &api.EBSFastRestore{Newest: newest}
		}
		b.Status.Phase, b.Status.CutTime = api.PhaseCompleted, &metav1.MicroTime{Time: now.Add(time.Duration(n) * time.Hour)}
		b.Status.Conditions = []metav1.Condition{{Type: api.ConditionReady, Status: metav1.ConditionTrue}}
		b.Status.Volumes = []api.VolumeStatus{{Node: "couchdb-1", Method: api.MethodEBS, Handle: "snap-1", EBS: &api.EBSVolume{}}}
		for _, f := range change {
			f(&b)
		}
		return b
	}
	deleted := func(b *api.Backup) { b.DeletionTimestamp = &metav1.Time{Time: now} }
	bad := func(b *api.Backup) {
		b.Status.Conditions = append(b.Status.Conditions, metav1.Condition{Type: api.ConditionVerified, Status: metav1.ConditionFalse})
	}
	unfinished := func(b *api.Backup) { b.Status.Phase = api.PhaseFinishing }
	csi := func(b *api.Backup) { b.Status.Volumes[0].Method = api.MethodCSI }
	for _, tt := range []struct {
		name string
		all  []api.Backup
		want []string
	}{
		{"the newest two", []api.Backup{backup("a", "s", 2), backup("b", "s", 2), backup("c", "s", 2)}, []string{"b", "c"}},
		{"as many as the newest asks for", []api.Backup{backup("a", "s", 5), backup("b", "s", 5), backup("c", "s", 1)}, []string{"c"}},
		{"the newest asks for none", []api.Backup{backup("a", "s", 5), backup("c", "s", 0)}, nil},
		{"only good ones count", []api.Backup{backup("a", "s", 1), backup("b", "s", 1, deleted), backup("c", "s", 1, bad), backup("d", "s", 1, unfinished)}, []string{"a"}},
		{"another schedule's", []api.Backup{backup("a", "s", 1), backup("b", "other", 1), backup("c", "", 1)}, []string{"a"}},
		{"one without EBS volumes counts, and has none", []api.Backup{backup("a", "s", 1), backup("b", "s", 1, csi)}, nil},
	} {
		have := newestFast(&tt.all[0], tt.all)
		var got []string
		for _, b := range tt.all {
			if have[string(b.UID)] {
				got = append(got, b.Name)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	byHand := []api.Backup{backup("a", "", 1), backup("safety", "", 0)}
	if have := newestFast(&byHand[0], byHand); !have["a"] {
		t.Error("a backup by hand that asks for nothing ended the fast restore of another")
	}
}

func TestHoldsArchive(t *testing.T) {
	b := func(change func(*api.Backup)) *api.Backup {
		b := &api.Backup{}
		b.Spec.EBS = &api.EBSPolicy{ArchiveAfter: &metav1.Duration{Duration: 48 * time.Hour}}
		b.Status.CutTime = &metav1.MicroTime{Time: now.Add(-48 * time.Hour)}
		change(b)
		return b
	}
	copies := []api.EBSCopy{{Name: "dr"}}
	off := metav1.Condition{Type: api.ConditionFastRestore, Status: metav1.ConditionFalse, Reason: api.ReasonFastRestoreOff}
	for _, tt := range []struct {
		name   string
		change func(*api.Backup)
		held   bool
		again  time.Duration
	}{
		{"its time has come", func(*api.Backup) {}, false, 0},
		{"not yet", func(b *api.Backup) { b.Status.CutTime.Time = now.Add(-47 * time.Hour) }, true, time.Hour},
		{"a copy was not begun", func(b *api.Backup) { b.Spec.EBS.Copies = copies }, true, 0},
		{"a copy is not complete", func(b *api.Backup) { b.Spec.EBS.Copies, b.Status.Copies = copies, []api.CopyStatus{{Name: "dr"}} }, true, 0},
		{"the copy is complete", func(b *api.Backup) {
			b.Spec.EBS.Copies, b.Status.Copies = copies, []api.CopyStatus{{Name: "dr", Complete: true}}
		}, false, 0},
		{"nothing is known of fast restore", func(b *api.Backup) { b.Spec.EBS.FastRestore = &api.EBSFastRestore{} }, true, 0},
		{"fast restore is off", func(b *api.Backup) {
			b.Spec.EBS.FastRestore, b.Status.Conditions = &api.EBSFastRestore{}, []metav1.Condition{off}
		}, false, 0},
	} {
		why, again := holdsArchive(b(tt.change), now)
		if (why != "") != tt.held || again != tt.again {
			t.Errorf("%s: %q, %s", tt.name, why, again)
		}
	}
}

func TestZonesAndStates(t *testing.T) {
	want := []zoned{{"s1", "a"}, {"s2", "a"}, {"s3", "b"}, {"s4", "b"}, {"s5", "b"}}
	byZone, enabled := toEnable(want, map[zoned]types.FastSnapshotRestoreStateCode{{"s1", "a"}: "enabled", {"s2", "a"}: "optimizing", {"s3", "b"}: "disabled", {"s5", "b"}: "disabling"})
	if enabled != 1 || len(byZone) != 1 || !slices.Equal(byZone["b"], []string{"s3", "s4"}) {
		t.Errorf("%v, %d", byZone, enabled)
	}
	many := make([]string, 21)
	n := 0
	for range inTens(map[string][]string{"a": many, "b": many[:1]}) {
		n++
	}
	if n != 4 {
		t.Errorf("%d calls for 22 snapshots", n)
	}
	if d := lookAgain(0); d != soonestLook {
		t.Errorf("looks again in %s", d)
	}
	if d := lookAgain(48 * time.Hour); d != latestLook {
		t.Errorf("looks again in %s", d)
	}
}
