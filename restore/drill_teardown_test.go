package restore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// What is torn down, and what is kept until when.
func TestTearDown(t *testing.T) {
	for _, tt := range []struct {
		name   string
		drill  api.Drill
		why    string // of the drill so far
		child  api.Phase
		change func(*api.Restore)
		now    time.Duration
		kept   bool
	}{
		{"proven", keeping(time.Hour), "", api.PhaseCompleted, nil, 0, false},
		{"failed, nothing asked for", api.Drill{}, api.ReasonShardsMissing, api.PhaseFailed, nil, 0, false},
		{"failed, to be kept", keeping(time.Hour), api.ReasonShardsMissing, api.PhaseFailed, nil, 0, true},
		{"without a verdict, to be kept", keeping(time.Hour), api.ReasonDrillFailed, api.PhaseFailed, nil, 0, true},
		{"longer than scratch restores live", keeping(700 * time.Hour), api.ReasonShardsMissing, api.PhaseFailed, nil, 0, true},
		{"its time is over: the controller was away", keeping(time.Hour), api.ReasonShardsMissing, api.PhaseFailed, nil, 2 * time.Hour, false},
		{"aborted", keeping(time.Hour), api.ReasonAborted, api.PhaseFailed, nil, 0, false},
		{"failed, then aborted", keeping(time.Hour), api.ReasonShardsMissing, api.PhaseFailed, func(r *api.Restore) { r.Spec.Abort = true }, 0, false},
		{"failed for a reason of its own, where the scratch restore is good", keeping(time.Hour), api.ReasonBackupNotFound, api.PhaseCompleted, nil, 0, false},
		{"failed with a scratch restore under way", keeping(time.Hour), api.ReasonStartTimeout, api.PhaseCouchDB, nil, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := restoreOf(drill(tt.drill), phase(api.PhaseTearingDown), func(r *api.Restore) {
				r.Status.PendingReason, r.Status.PendingMessage, r.Status.Verification = tt.why, "as it was found", proof()
			})
			if tt.change != nil {
				tt.change(r)
			}
			namespace, child := scratched(r, tt.child, tt.why, bad())
			b := newBench(t, r, namespace, child)
			b.now = epoch.Add(tt.now)
			got, err := b.reconcile()
			if err != nil {
				t.Fatal(err)
			}
			c, want := ready(got), api.PhaseFailed
			if tt.why == "" {
				want = api.PhaseCompleted
			}
			if got.Status.Phase != want || tt.why != "" && c.Reason != tt.why || got.Status.CompletionTime == nil || got.Status.PendingReason != "" {
				t.Errorf("%s, %+v", got.Status.Phase, c)
			}
			if left := b.there([]client.Object{namespace, child}); tt.kept != (len(left) == 2) || !tt.kept && len(left) > 0 {
				t.Errorf("there is left %v", left)
			}
			until := got.Status.Drill.KeptUntil
			if tt.kept != (until != nil) || tt.kept != strings.Contains(c.Message, "is kept until") || got.Status.ExpirationTime != nil {
				t.Errorf("kept until %v: %s", until, c.Message)
			}
			if !tt.kept {
				return
			}
			if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(child), child); err != nil || child.Spec.TimeToLive.Duration != tt.drill.KeepFailed.Duration || !until.Equal(expiring(child)) {
				t.Errorf("%v: it lives for %s, until %v", err, child.Spec.TimeToLive, until)
			}
			// Whoever has seen enough deletes the drill.
			if err := b.Client.Delete(t.Context(), got); err != nil {
				t.Fatal(err)
			}
			if gone, err := b.reconcile(); err != nil || gone != nil || len(b.there([]client.Object{namespace, child})) > 0 {
				t.Errorf("deleted, there is left %v (%v)", b.there([]client.Object{namespace, child}), err)
			}
		})
	}
}

func expiring(r *api.Restore) *metav1.Time {
	setExpiration(r)
	return r.Status.ExpirationTime
}

// A drill is not over while anything of it is there, however long that takes.
func TestTearDownWaits(t *testing.T) {
	r := restoreOf(drill(api.Drill{}), phase(api.PhaseTearingDown))
	in := func(v *corev1.PersistentVolume) { v.Spec.ClaimRef.Namespace, v.Labels = scratchName(r), nil }
	released := func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumeReleased }
	mine := volume("pv-late", "couchdb-1-claim0", corev1.PersistentVolumeReclaimRetain, in, released)
	imported := &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "import"}, Spec: snapv1.VolumeSnapshotContentSpec{VolumeSnapshotRef: corev1.ObjectReference{Namespace: scratchName(r)}}}
	theirs := volume("pv-theirs", "couchdb-1-claim0", corev1.PersistentVolumeReclaimRetain, released)
	b := newBench(t, r, mine, imported, theirs)
	for _, step := range []struct {
		at   time.Duration
		says string
		then client.Object
	}{{0, "content import", imported}, {time.Minute, "volume pv-late", nil}, {30 * 24 * time.Hour, "volume pv-late", mine}} {
		b.now = epoch.Add(step.at)
		got, err := b.reconcile()
		if got.Status.Phase != api.PhaseTearingDown || !strings.Contains(strings.ToLower(ready(got).Message), step.says) {
			t.Errorf("after %s: %s, %+v (%v)", step.at, got.Status.Phase, ready(got), err)
		}
		if step.then != nil {
			if err := b.Client.Delete(t.Context(), step.then); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, err := b.reconcile(); err != nil || got.Status.Phase != api.PhaseCompleted {
		t.Errorf("%s (%v)", got.Status.Phase, err)
	}
	if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(theirs), theirs); err != nil || theirs.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
		t.Errorf("somebody else's volume is %s (%v)", theirs.Spec.PersistentVolumeReclaimPolicy, err)
	}
}

// cluster does what others do to a drill's objects: the scratch restore comes to its
// end, its volume and its import go when the namespace does.
func (b *bench) cluster(ctx context.Context, c client.WithWatch, end api.Phase, v *api.Verification) error {
	var children api.RestoreList
	if err := c.List(ctx, &children, client.MatchingFields{"metadata.name": scratchChild}); err != nil {
		return err
	}
	volumes := []client.Object{
		&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-scratch"}, Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound}},
		&snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "import-scratch"}},
	}
	for i := range children.Items {
		child := &children.Items[i]
		if child.Status.Phase != "" {
			continue
		}
		now := metav1.NewMicroTime(epoch)
		child.Status.Phase, child.Status.StartTime, child.Status.CompletionTime, child.Status.Verification = end, &now, &now, v
		if end == api.PhaseFailed {
			meta.SetStatusCondition(&child.Status.Conditions, metav1.Condition{Type: api.ConditionReady, Status: metav1.ConditionFalse, Reason: api.ReasonVerificationFailed, Message: "medic"})
		}
		volumes[0].(*corev1.PersistentVolume).Spec.ClaimRef = &corev1.ObjectReference{Namespace: child.Namespace, Name: "c"}
		volumes[1].(*snapv1.VolumeSnapshotContent).Spec.VolumeSnapshotRef = corev1.ObjectReference{Namespace: child.Namespace, Name: "c"}
		if err := errors.Join(c.Create(ctx, volumes[0]), c.Create(ctx, volumes[1]), c.Status().Update(ctx, child)); err != nil {
			return err
		}
	}
	err := c.Get(ctx, client.ObjectKey{Name: scratchName(restoreOf())}, &corev1.Namespace{})
	if err == nil || len(children.Items) > 0 {
		return nil
	}
	for _, o := range volumes {
		if err := c.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// The controller dies at every call that it makes to the API server, once each; the
// drill ends as it should, and nothing is left.
func TestDrillWhateverIsCutShort(t *testing.T) {
	for end, v := range map[api.Phase]*api.Verification{api.PhaseCompleted: proof(), api.PhaseFailed: bad()} {
		for dies := 0; ; dies++ {
			r := restoreOf(drill(api.Drill{}), func(r *api.Restore) { r.Status = api.RestoreStatus{}; r.Finalizers = nil })
			r.Spec.Source.Namespace, r.Namespace = source, target
			b := newBench(t, r, gp3())
			b.put("u1", target)
			plain, died, calls := b.Client, errors.New("killed"), 0
			call := func(do func() error) error {
				if calls++; calls == dies {
					return died
				}
				if err := do(); err != nil {
					return err
				}
				return b.cluster(t.Context(), plain, end, v)
			}
			b.Client = interceptor.NewClient(plain, interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					return call(func() error { return c.Get(ctx, key, o, opts...) })
				},
				List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
					return call(func() error { return c.List(ctx, list, opts...) })
				},
				Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
					return call(func() error { return c.Create(ctx, o, opts...) })
				},
				Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
					return call(func() error { return c.Delete(ctx, o, opts...) })
				},
				Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
					return call(func() error { return c.Patch(ctx, o, patch, opts...) })
				},
				SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
					return call(func() error { return c.SubResource(sub).Patch(ctx, o, patch, opts...) })
				},
			})
			b.Records.Client = b.Client
			for range 12 {
				if _, err := b.Reconcile(t.Context(), request()); err != nil && !errors.Is(err, died) {
					t.Fatalf("killed at call %d: %v", dies, err)
				}
			}
			b.Client, b.Records.Client = plain, plain
			got, _ := b.reconcile()
			if got.Status.Phase != end || end == api.PhaseFailed && ready(got).Reason != api.ReasonVerificationFailed || got.Status.Verification == nil {
				t.Fatalf("killed at call %d: %s %+v", dies, got.Status.Phase, ready(got))
			}
			var namespaces corev1.NamespaceList
			var volumes corev1.PersistentVolumeList
			var contents snapv1.VolumeSnapshotContentList
			var restores api.RestoreList
			if err := errors.Join(plain.List(t.Context(), &namespaces), plain.List(t.Context(), &volumes), plain.List(t.Context(), &contents), plain.List(t.Context(), &restores)); err != nil {
				t.Fatal(err)
			}
			if n := len(namespaces.Items) + len(volumes.Items) + len(contents.Items); n > 0 || len(restores.Items) != 1 {
				t.Errorf("killed at call %d: %d things and %d restores are left", dies, n, len(restores.Items))
			}
			if dies > calls {
				if calls < 20 {
					t.Errorf("only %d calls were cut short", calls)
				}
				break
			}
		}
	}
}
