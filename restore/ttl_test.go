package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func ttl(d time.Duration) func(*api.Restore) {
	return func(r *api.Restore) { r.Spec.TimeToLive = &metav1.Duration{Duration: d} }
}

// ended is a restore that completed at epoch.
func ended(p api.Phase, change ...func(*api.Restore)) *api.Restore {
	return restoreOf(append([]func(*api.Restore){phase(p), func(r *api.Restore) {
		at := metav1.NewMicroTime(epoch)
		r.Status.CompletionTime = &at
	}}, change...)...)
}

// Who is removed, and when.
func TestExpiration(t *testing.T) {
	inPlace := func(r *api.Restore) { r.Spec.InPlace = &api.InPlace{} }
	database := func(r *api.Restore) { r.Spec.Database = &api.DatabaseRestore{Name: "medic"} }
	for _, tt := range []struct {
		name    string
		restore *api.Restore
		at      time.Duration // now, after epoch
		want    api.Phase
		left    time.Duration // until it is looked at again
	}{
		{"no time to live", ended(api.PhaseCompleted), 9000 * time.Hour, api.PhaseCompleted, 0},
		{"not yet", ended(api.PhaseCompleted, ttl(time.Hour)), time.Hour - time.Second, api.PhaseCompleted, time.Second},
		{"now", ended(api.PhaseCompleted, ttl(time.Hour)), time.Hour, api.PhaseExpiring, time.Millisecond},
		{"a restore that failed", ended(api.PhaseFailed, ttl(time.Hour)), time.Hour, api.PhaseExpiring, time.Millisecond},
		{"the controller was away", ended(api.PhaseCompleted, ttl(time.Hour)), 100 * time.Hour, api.PhaseExpiring, time.Millisecond},
		{"expired before", ended(api.PhaseExpired, ttl(time.Hour)), 100 * time.Hour, api.PhaseExpired, 0},
		{"live, if the API server had let it in", ended(api.PhaseCompleted, ttl(time.Hour), live), 100 * time.Hour, api.PhaseCompleted, 0},
		{"in place, likewise", ended(api.PhaseCompleted, ttl(time.Hour), inPlace), 100 * time.Hour, api.PhaseCompleted, 0},
		{"one database, likewise", ended(api.PhaseCompleted, ttl(time.Hour), database), 100 * time.Hour, api.PhaseCompleted, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mine, _ := made()
			b := newBench(t, append(mine, tt.restore)...)
			b.now = epoch.Add(tt.at)
			result, err := b.Reconcile(t.Context(), request())
			if err != nil || result.RequeueAfter != tt.left {
				t.Errorf("%+v, %v", result, err)
			}
			var got api.Restore
			if err := b.Client.Get(t.Context(), request().NamespacedName, &got); err != nil || got.Status.Phase != tt.want {
				t.Errorf("phase %s, %v", got.Status.Phase, err)
			}
			if left := b.there(mine); len(left) != len(mine) {
				t.Errorf("touched before it was written down: left are %v", left)
			}
		})
	}
}

// The end follows the spec for as long as it has not come.
func TestExpirationIsExtended(t *testing.T) {
	b := newBench(t, ended(api.PhaseCompleted, ttl(time.Hour)))
	for _, step := range []struct {
		ttl  time.Duration // 0 for none
		at   time.Duration
		want time.Duration // until the end; 0 for none
	}{{time.Hour, 0, time.Hour}, {3 * time.Hour, 30 * time.Minute, 150 * time.Minute}, {0, 2 * time.Hour, 0}, {2500 * time.Millisecond, 0, 3 * time.Second}} {
		var r api.Restore
		if err := b.Client.Get(t.Context(), request().NamespacedName, &r); err != nil {
			t.Fatal(err)
		}
		r.Spec.TimeToLive = nil
		if step.ttl > 0 {
			ttl(step.ttl)(&r)
		}
		if err := b.Client.Update(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
		b.now = epoch.Add(step.at)
		result, err := b.Reconcile(t.Context(), request())
		if err != nil || result.RequeueAfter != step.want {
			t.Errorf("%+v: %+v, %v", step, result, err)
		}
		if err := b.Client.Get(t.Context(), request().NamespacedName, &r); err != nil || (r.Status.ExpirationTime == nil) != (step.want == 0) ||
			step.want > 0 && r.Status.ExpirationTime.Sub(b.now) != step.want {
			t.Errorf("%+v: expires %v, %v", step, r.Status.ExpirationTime, err)
		}
	}
}

func request() ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKey{Namespace: target, Name: "r"}}
}

// volume is bound to a claim of the target namespace, which change may alter.
func volume(name, claim string, policy corev1.PersistentVolumeReclaimPolicy, change ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{api.RestoreUIDLabel: "restore-5"}},
		Spec: corev1.PersistentVolumeSpec{PersistentVolumeReclaimPolicy: policy,
			ClaimRef: &corev1.ObjectReference{Namespace: target, Name: claim, UID: uidOf(claim)}},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound}}
	for _, f := range change {
		f(v)
	}
	return v
}

// world is a clone with its volumes and its namespace, and what is around it.
func world(restore *api.Restore) (mine, theirs []client.Object) {
	mine, theirs = made()
	for _, o := range mine {
		if claim, ok := o.(*corev1.PersistentVolumeClaim); ok {
			claim.UID, claim.Spec.VolumeName = uidOf(claim.Name), "pv-1"
		}
	}
	released := func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumeReleased }
	mine = append(mine, volume("pv-1", "couchdb-1-claim0", corev1.PersistentVolumeReclaimRetain),
		volume("pv-2", "couchdb-2-claim0", corev1.PersistentVolumeReclaimRetain, released)) // its claim was deleted by hand
	for i, o := range theirs {
		if claim, ok := o.(*corev1.PersistentVolumeClaim); ok {
			claim.UID, claim.Spec.VolumeName = uidOf(claim.Name), "pv-rebound"
		}
		theirs[i] = o
	}
	theirs = append(theirs,
		volume("pv-set-aside", "couchdb-1-claim0", corev1.PersistentVolumeReclaimRetain, released, func(v *corev1.PersistentVolume) { v.Labels[api.SetAsideLabel] = "restore-6" }),
		volume("pv-rebound", "other-claim", corev1.PersistentVolumeReclaimRetain),
		volume("pv-of-the-source", "couchdb-1-claim0", corev1.PersistentVolumeReclaimRetain, released, func(v *corev1.PersistentVolume) { v.Spec.ClaimRef.Namespace = source }),
		volume("pv-unmarked", "couchdb-1-claim0", corev1.PersistentVolumeReclaimRetain, released, func(v *corev1.PersistentVolume) { v.Labels = nil }),
	)
	return append(mine, restore), theirs
}

// driver deletes volumes as a cluster does: those that are to be deleted, when
// their claim is gone.
func (b *bench) driver(ctx context.Context, c client.WithWatch) error {
	var volumes corev1.PersistentVolumeList
	var claims corev1.PersistentVolumeClaimList
	if err := errors.Join(c.List(ctx, &volumes), c.List(ctx, &claims)); err != nil {
		return err
	}
	for i := range volumes.Items {
		v := &volumes.Items[i]
		held := slices.ContainsFunc(claims.Items, func(claim corev1.PersistentVolumeClaim) bool { return boundTo(v, &claim) })
		if !held && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
			if err := c.Delete(ctx, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// The controller dies at every call that it makes to the API server, once each;
// in the end the clone is gone, and nothing else.
func TestExpireWhateverIsCutShort(t *testing.T) {
	for dies := 0; ; dies++ {
		restore := ended(api.PhaseCompleted, ttl(time.Hour))
		mine, theirs := world(restore)
		b := newBench(t, append(mine, theirs...)...)
		b.now = epoch.Add(2 * time.Hour)
		plain := b.Client
		calls, died := 0, errors.New("killed")
		call := func(do func() error) error {
			if calls++; calls == dies {
				return died
			}
			if err := do(); err != nil {
				return err
			}
			return b.driver(t.Context(), plain)
		}
		b.Client = interceptor.NewClient(plain, interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				return call(func() error { return c.Get(ctx, key, o, opts...) })
			},
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				return call(func() error { return c.List(ctx, list, opts...) })
			},
			Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
				return call(func() error { return c.Delete(ctx, o, opts...) })
			},
			DeleteAllOf: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteAllOfOption) error {
				return call(func() error { return c.DeleteAllOf(ctx, o, opts...) })
			},
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
				return call(func() error { return c.Patch(ctx, o, patch, opts...) })
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
				return call(func() error { return c.SubResource(sub).Patch(ctx, o, patch, opts...) })
			},
		})
		for range 6 {
			if _, err := b.Reconcile(t.Context(), request()); err != nil && !errors.Is(err, died) {
				t.Fatalf("killed at call %d: %v", dies, err)
			}
		}
		b.Client = plain
		got, _ := b.reconcile()
		if c := ready(got); got.Status.Phase != api.PhaseExpired || c.Reason != api.ReasonExpired || c.Status != metav1.ConditionFalse {
			t.Fatalf("killed at call %d: %s %+v", dies, got.Status.Phase, c)
		}
		if left := b.there(mine[:len(mine)-1]); len(left) > 0 {
			t.Errorf("killed at call %d: there is left %v", dies, left)
		}
		if left := b.there(theirs); len(left) != len(theirs) || b.replicas("cht-theirs") != 1 {
			t.Errorf("killed at call %d: of what is not ours there is left %v", dies, left)
		}
		for _, o := range theirs {
			if v, ok := o.(*corev1.PersistentVolume); ok {
				if err := plain.Get(t.Context(), client.ObjectKeyFromObject(v), v); err != nil || v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
					t.Errorf("killed at call %d: volume %s is %s now, %v", dies, v.Name, v.Spec.PersistentVolumeReclaimPolicy, err)
				}
			}
		}
		if dies > calls {
			if calls < 20 {
				t.Errorf("only %d calls were cut short", calls)
			}
			return
		}
	}
}

// A clone that is being removed is not saved by an extension: half of it is gone.
func TestExpiringGoesOn(t *testing.T) {
	restore := ended(api.PhaseExpiring, ttl(9000*time.Hour))
	mine, theirs := made()
	b := newBench(t, append(append(mine, theirs...), restore)...)
	if got, err := b.reconcile(); err != nil || got.Status.Phase != api.PhaseExpired || len(b.there(mine)) > 0 {
		t.Errorf("%s, %v, left %v", got.Status.Phase, err, b.there(mine))
	}
}

// While the storage keeps a volume, the restore does not say that it is gone.
func TestExpiringWaitsForTheStorage(t *testing.T) {
	restore := ended(api.PhaseExpiring, ttl(time.Hour))
	mine, theirs := world(restore)
	b := newBench(t, append(mine, theirs...)...)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := b.expiring(ctx, restore)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), "volume pv-") {
		t.Errorf("got %v", err)
	}
	if err := b.failed(t.Context(), restore, err); err != nil || restore.Status.Phase != api.PhaseExpiring {
		t.Errorf("phase %s, %v", restore.Status.Phase, err)
	}
}

func uidOf(claim string) types.UID { return types.UID("uid of " + claim) }
