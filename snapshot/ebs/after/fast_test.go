package after_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	ec2fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/ebs/after"
)

func unlockSnapshot(t *testing.T, clients func(context.Context, after.Place) (after.EC2, error), s ec2fake.Snapshot) {
	t.Helper()
	c, err := clients(t.Context(), after.Place{Region: s.Region})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.(*ec2.Client).UnlockSnapshot(t.Context(), &ec2.UnlockSnapshotInput{SnapshotId: &s.ID}); err != nil {
		t.Fatal(err)
	}
}

func nightly(b *api.Backup) { b.Labels = map[string]string{api.ScheduleLabel: "nightly"} }

func fast(newest int32) api.EBSPolicy {
	return api.EBSPolicy{FastRestore: &api.EBSFastRestore{Newest: newest}}
}

// fastOn tells on which backups EC2 has it enabled.
func (w *world) fastOn(keys ...types.NamespacedName) string {
	w.t.Helper()
	c, err := w.w.EC2(w.t.Context(), after.Place{Region: home})
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := c.DescribeFastSnapshotRestores(w.t.Context(), &ec2.DescribeFastSnapshotRestoresInput{})
	if err != nil {
		w.t.Fatal(err)
	}
	on := map[string]int{}
	for _, f := range out.FastSnapshotRestores {
		if f.State != "disabled" && f.State != "disabling" {
			on[*f.SnapshotId]++
		}
	}
	text := ""
	for _, key := range keys {
		n := 0
		for _, v := range w.get(key).Status.Volumes {
			n += on[v.Handle]
		}
		text += fmt.Sprint(n)
	}
	return text
}

// work turns whoever is woken, and those given, for two hours.
func (w *world) work(keys ...types.NamespacedName) {
	w.t.Helper()
	due := map[types.NamespacedName]time.Time{}
	for _, k := range keys {
		due[k] = w.cloud.Now()
	}
	for end := w.cloud.Now().Add(2 * time.Hour); w.cloud.Now().Before(end); w.cloud.Advance(30 * time.Second) {
		for k := range w.woken {
			due[k] = w.cloud.Now()
		}
		clear(w.woken)
		for k, at := range due {
			if at.After(w.cloud.Now()) {
				continue
			}
			delete(due, k)
			if again := w.turn(k, true); again != 0 {
				due[k] = w.cloud.Now().Add(again)
			}
		}
	}
}

func TestFastRestoreOnTheNewest(t *testing.T) {
	w := newWorld(t)
	var keys []types.NamespacedName
	add := func(change ...func(*api.Backup)) types.NamespacedName {
		w.cloud.Advance(24 * time.Hour)
		k := w.backup(fmt.Sprintf("b%d", len(keys)), fast(2), append([]func(*api.Backup){nightly}, change...)...)
		keys = append(keys, k)
		w.work(k)
		return k
	}
	for range 3 {
		add()
	}
	if got := w.fastOn(keys...); got != "022" {
		t.Fatalf("enabled on %s", got)
	}
	w.want(w.get(keys[0]), api.ConditionFastRestore, api.ReasonFastRestoreOff)
	w.want(w.get(keys[2]), api.ConditionFastRestore, api.ReasonDone, "all 2")
	// Of another schedule, or of none: they do not count.
	add(func(b *api.Backup) { b.Labels = nil })
	if got := w.fastOn(keys...); got != "0222" {
		t.Errorf("with one made by hand, enabled on %s", got)
	}
	// The newest is deleted: the one that had dropped out is back.
	b := w.get(keys[2])
	if left, _ := w.remove(keys[2], true); left != 0 {
		t.Fatalf("%d left", left)
	}
	if got := w.fastOn(keys[2]); got != "0" {
		t.Errorf("of a deleted one, enabled on %s", got)
	}
	if err := w.kube.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	w.w.Forget(t.Context(), b)
	keys = append(keys[:2], keys[3:]...)
	w.work()
	if got := w.fastOn(keys...); got != "222" {
		t.Errorf("after the newest was deleted, enabled on %s", got)
	}
	// One that a restore found bad no longer has it, within the hour.
	bad := w.get(keys[1])
	meta.SetStatusCondition(&bad.Status.Conditions, metav1.Condition{Type: api.ConditionVerified, Status: metav1.ConditionFalse, Reason: api.ReasonVerificationFailed})
	if err := w.kube.Status().Update(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.work(keys...)
	if got := w.fastOn(keys...); got != "202" {
		t.Errorf("after one was found bad, enabled on %s", got)
	}
	// Whoever has nothing to do asks EC2 nothing.
	was := w.all()
	w.restart()
	for _, k := range keys {
		w.turn(k, true)
	}
	if w.all() != was {
		t.Errorf("%d calls", w.all()-was)
	}
	// The schedule asks for it no more.
	w.cloud.Advance(time.Hour)
	last := w.backup("last", api.EBSPolicy{}, nightly)
	w.restart()
	w.work(append(keys, last)...)
	if got := w.fastOn(keys[:2]...); got != "00" {
		t.Errorf("after the schedule has given it up, enabled on %s", got)
	}
}

func TestFastRestoreKilledAnywhere(t *testing.T) {
	for n := range 5 {
		w := newWorld(t)
		key := w.backup("b", fast(1), nightly)
		for range n {
			w.cloud.Advance(w.turn(key, true))
		}
		w.turn(key, false)
		w.restart()
		newer := w.backup("newer", fast(1), nightly, func(b *api.Backup) { b.Status.CutTime.Time = w.cloud.Now().Add(time.Minute) })
		w.work(key, newer)
		if got := w.fastOn(key, newer); got != "02" {
			t.Errorf("killed in turn %d: enabled on %s", n, got)
		}
	}
}

func TestFastRestoreLimit(t *testing.T) {
	w := newWorld(t)
	w.cloud.SetQuotas(ec2fake.Quotas{FastRestores: 1})
	key := w.backup("b", fast(1))
	b := w.run(key, failed(api.ConditionFastRestore))
	w.want(b, api.ConditionFastRestore, api.ReasonFastRestoreFail, home, b.Status.Volumes[1].Handle)
}

func TestArchive(t *testing.T) {
	w := newWorld(t)
	day := 24 * time.Hour
	policy := api.EBSPolicy{ArchiveAfter: &metav1.Duration{Duration: 2 * day}, Copies: []api.EBSCopy{{Name: "dr", Region: there}}, FastRestore: &api.EBSFastRestore{Newest: 1}}
	w.cloud.AddFault(ec2fake.Fault{Action: "CopySnapshot", Error: &ec2fake.Failure{Status: 403, Code: "UnauthorizedOperation", Message: "no"}})
	key := w.backup("b", policy)
	for end := w.cloud.Now().Add(3 * day); w.cloud.Now().Before(end); {
		w.cloud.Advance(max(w.turn(key, true), time.Minute))
	}
	w.want(w.get(key), api.ConditionArchived, api.ReasonProgressing, "copies")
	w.cloud.ClearFaults()
	w.work(key)
	w.want(w.get(key), api.ConditionCopied, api.ReasonDone)
	w.want(w.get(key), api.ConditionArchived, api.ReasonProgressing, "fast snapshot restore")
	if w.calls("ModifySnapshotTier") != 0 {
		t.Fatal("archived too early")
	}
	newer := w.backup("newer", policy)
	w.work(key, newer)
	w.want(w.get(key), api.ConditionArchived, api.ReasonProgressing, "on their way")
	w.cloud.Advance(day)
	w.restart()
	w.work(key)
	w.want(w.get(key), api.ConditionArchived, api.ReasonDone, "72 hours")
	w.want(w.get(newer), api.ConditionArchived, api.ReasonProgressing, "on 2")
	if got := w.calls("ModifySnapshotTier"); got != 2 {
		t.Errorf("%d snapshots were archived", got)
	}
	for _, s := range w.cloud.Snapshots("", there) {
		if s.Tier == "archive" {
			t.Errorf("a copy was archived: %+v", s)
		}
	}
}

func TestArchiveAnswerLost(t *testing.T) {
	w := newWorld(t)
	w.cloud.AddFault(ec2fake.Fault{Action: "ModifySnapshotTier", Times: 1, Lose: true})
	key := w.backup("b", api.EBSPolicy{ArchiveAfter: &metav1.Duration{Duration: 24 * time.Hour}})
	w.want(w.run(key), api.ConditionArchived, api.ReasonDone)
	if got := w.calls("ModifySnapshotTier"); got > 3 {
		t.Errorf("%d calls", got)
	}
}
