package snapshot

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/queue"
)

// fakeAftercare does what the test says.
type fakeAftercare struct {
	advance                func(*api.Backup) time.Duration
	left                   int
	again                  time.Duration
	settled                bool
	known, removed, forgot int
	advanced               int
	notes                  []string
	noteErr                error
	wake                   func(types.NamespacedName)
}

func (f *fakeAftercare) Settled(*api.Backup) bool                 { return f.settled }
func (f *fakeAftercare) Know(*api.Backup)                         { f.known++ }
func (f *fakeAftercare) WakeWith(wake func(types.NamespacedName)) { f.wake = wake }
func (f *fakeAftercare) Forget(context.Context, *api.Backup)      { f.forgot++ }
func (f *fakeAftercare) Advance(_ context.Context, b *api.Backup) time.Duration {
	f.advanced++
	if f.advance == nil {
		return 0
	}
	return f.advance(b)
}

func (f *fakeAftercare) Remove(_ context.Context, b *api.Backup) (int, time.Duration) {
	f.removed++
	if f.left > 0 {
		meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: api.ConditionLocked, Status: metav1.ConditionTrue, Reason: api.ReasonLocked, Message: "locked until then"})
	}
	return f.left, f.again
}

// fakeNotes is a catalog that only notes copies.
type fakeNotes struct{ *fakeAftercare }

func (f fakeNotes) Wants(*api.Backup) bool                                     { return false }
func (f fakeNotes) Keep(context.Context, *api.Backup) time.Duration            { return 0 }
func (f fakeNotes) Remove(context.Context, *api.Backup) (time.Duration, error) { return 0, nil }
func (f fakeNotes) CopyComplete(_ context.Context, _ *api.Backup, c api.CopyStatus) error {
	f.notes = append(f.notes, c.Name)
	return f.noteErr
}

func completedBackup(change ...func(*api.Backup)) *api.Backup {
	return backup(append([]func(*api.Backup){in(api.PhaseCompleted, 1), func(b *api.Backup) {
		b.Spec.EBS = &api.EBSPolicy{Copies: []api.EBSCopy{{Name: "dr"}}}
		b.Status.Record = "none"
	}}, change...)...)
}

func copied(is metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: api.ConditionCopied, Status: is, Reason: reason, Message: "m"}
}

func TestCompletedGoesOn(t *testing.T) {
	after := &fakeAftercare{advance: func(b *api.Backup) time.Duration {
		meta.SetStatusCondition(&b.Status.Conditions, copied(metav1.ConditionFalse, api.ReasonCopyFailed))
		b.Status.Copies = []api.CopyStatus{{Name: "dr", Region: "eu-west-1"}}
		b.Status.LockedUntil = &metav1.Time{Time: epoch.Add(time.Hour)}
		b.Status.Record = "not its own" // and not written down
		return time.Minute
	}}
	b := newBench(t, append(instance(), completedBackup())...)
	b.After, b.Parallel = after, queue.Limits{Cluster: 1, Driver: 1}
	recorder := events.NewFakeRecorder(10)
	b.Events = recorder
	// A restore writes Verified between the read and the write.
	between := true
	b.Client = interceptor.NewClient(b.objects, interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
		if between {
			between = false
			var now api.Backup
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), &now); err != nil {
				return err
			}
			meta.SetStatusCondition(&now.Status.Conditions, metav1.Condition{Type: api.ConditionVerified, Status: metav1.ConditionTrue, Reason: api.ReasonCompleted})
			if err := c.Status().Update(ctx, &now); err != nil {
				return err
			}
		}
		return c.SubResource(sub).Patch(ctx, o, p, opts...)
	}})
	got, again, err := b.reconcile()
	if err != nil || again != time.Minute || got.Status.Phase != api.PhaseCompleted {
		t.Fatalf("again in %s, %v", again, err)
	}
	if !meta.IsStatusConditionTrue(got.Status.Conditions, api.ConditionVerified) {
		t.Error("what a restore wrote was lost")
	}
	if !meta.IsStatusConditionFalse(got.Status.Conditions, api.ConditionCopied) || len(got.Status.Copies) != 1 || got.Status.LockedUntil == nil || got.Status.Record != "none" {
		t.Errorf("status %+v", got.Status)
	}
	if other := backup(func(b *api.Backup) { b.Name, b.UID = "other", "other" }); !b.line.Enter(inLine(other), epoch).Runs {
		t.Error("a Completed backup holds a place")
	}
	select {
	case e := <-recorder.Events:
		if !strings.Contains(e, "Warning CopyFailed Copied: m") {
			t.Errorf("event %q", e)
		}
	default:
		t.Error("no event")
	}
	// The same once more is neither written nor told.
	version := got.ResourceVersion
	if got, _, _ := b.reconcile(); got.ResourceVersion != version || len(recorder.Events) != 0 {
		t.Error("written again, or told again")
	}
}

func TestCopiesAreNoted(t *testing.T) {
	after := &fakeAftercare{noteErr: errors.New("the bucket is away")}
	after.advance = func(b *api.Backup) time.Duration {
		b.Status.Copies = []api.CopyStatus{{Name: "dr", Region: "eu-west-1", Complete: true}}
		meta.SetStatusCondition(&b.Status.Conditions, copied(metav1.ConditionTrue, api.ReasonDone))
		return 0
	}
	b := newBench(t, append(instance(), completedBackup())...)
	b.After, b.Catalog = after, fakeNotes{after}
	got, again, err := b.reconcile()
	c := meta.FindStatusCondition(got.Status.Conditions, api.ConditionCopied)
	if err != nil || again != noteAgain || !got.Status.Copies[0].Complete || c.Status != metav1.ConditionUnknown || !strings.Contains(c.Message, "the bucket is away") {
		t.Fatalf("again in %s, %v, %+v", again, err, c)
	}
	after.noteErr = nil
	got, again, err = b.reconcile()
	if err != nil || again != 0 || !meta.IsStatusConditionTrue(got.Status.Conditions, api.ConditionCopied) || len(after.notes) != 2 {
		t.Errorf("again in %s, %v, notes %v", again, err, after.notes)
	}
	if _, _, err := b.reconcile(); err != nil || len(after.notes) != 2 {
		t.Errorf("%v, noted again: %v", err, after.notes)
	}
}

func TestDeletionWaitsForTheAftercare(t *testing.T) {
	now := metav1.NewTime(epoch)
	after := &fakeAftercare{left: 2, again: 5 * time.Hour}
	b := newBench(t, append(instance(), completedBackup(func(b *api.Backup) { b.DeletionTimestamp = &now }))...)
	b.After = after
	got, again, err := b.reconcile()
	if err != nil || again != 5*time.Hour || b.snaps.discards != 0 || len(got.Finalizers) != 1 {
		t.Fatalf("again in %s, %v, %d discards", again, err, b.snaps.discards)
	}
	if c := meta.FindStatusCondition(got.Status.Conditions, api.ConditionLocked); c == nil || c.Message != "locked until then" {
		t.Errorf("nothing tells why: %+v", got.Status.Conditions)
	}
	after.left = 0
	if _, _, err := b.reconcile(); err != nil || b.snaps.discards != 1 || after.forgot != 1 {
		t.Errorf("%v, %d discards, forgot %d", err, b.snaps.discards, after.forgot)
	}
}

func TestRetainedLeavesTheCopies(t *testing.T) {
	now := metav1.NewTime(epoch)
	after := &fakeAftercare{left: 2}
	b := newBench(t, append(instance(), completedBackup(func(b *api.Backup) {
		b.DeletionTimestamp, b.Spec.DeletionPolicy = &now, api.DeletionRetain
		b.Status.Copies = []api.CopyStatus{{Name: "dr", Region: "eu-west-1", Volumes: []api.CopiedVolume{{Node: "couchdb-1", Handle: "snap-77"}}}}
		b.Status.Conditions = []metav1.Condition{{Type: api.ConditionFastRestore, Status: metav1.ConditionTrue, Reason: api.ReasonDone}}
	}))...)
	b.After = after
	recorder := events.NewFakeRecorder(10)
	b.Events = recorder
	if _, _, err := b.reconcile(); err != nil || after.removed != 0 || b.snaps.discards != 0 || after.forgot != 1 {
		t.Errorf("%v, removed %d, %d discards", err, after.removed, b.snaps.discards)
	}
	if e := <-recorder.Events; !strings.Contains(e, "copy dr in eu-west-1 stays too: snap-77") || !strings.Contains(e, "fast snapshot restore stays enabled") {
		t.Errorf("event %q", e)
	}
}

func TestImportedIsLeftAlone(t *testing.T) {
	after := &fakeAftercare{left: 2}
	b := newBench(t, append(instance(), completedBackup(func(b *api.Backup) {
		b.Labels, b.Finalizers = map[string]string{api.ImportedLabel: "true"}, nil
	}))...)
	b.After = after
	if _, again, err := b.reconcile(); err != nil || again != 0 || after.advanced != 0 || after.known != 0 {
		t.Errorf("again in %s, %v, advanced %d, known %d", again, err, after.advanced, after.known)
	}
}

// A start looks at those that have something left to do, and knows what they do.
func TestUnsettledAreLookedAtOnStart(t *testing.T) {
	after := &fakeAftercare{}
	b := newBench(t, append(instance(), completedBackup())...)
	b.After = after
	seen := func(settled bool, o *api.Backup) bool {
		after.settled = settled
		return b.toBeWorkedOn().Create(event.CreateEvent{Object: o})
	}
	if !seen(false, completedBackup()) || seen(true, completedBackup()) || seen(false, backup(in(api.PhaseFailed, 1))) {
		t.Error("not those that have something left to do")
	}
	if _, _, err := b.reconcile(); err != nil || after.known != 1 {
		t.Errorf("%v, known %d", err, after.known)
	}
	slim, err := slimBackup(completedBackup(func(b *api.Backup) {
		b.Status.Copies = []api.CopyStatus{{Name: "dr"}}
		b.Status.Conditions = []metav1.Condition{copied(metav1.ConditionTrue, api.ReasonDone), {Type: api.ConditionReady}}
	}))
	if s := slim.(*api.Backup).Status; err != nil || len(s.Conditions) != 2 || s.Conditions[0].Reason != api.ReasonDone || s.Conditions[0].Message != "" || s.Copies != nil {
		t.Errorf("%+v, %v", s, err)
	}
}
