package restore

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

var errKilled = errors.New("killed")

// storage plays what binds claims and reclaims volumes, and kills the controller
// at a write.
type storage struct {
	t *testing.T
	// killAt counts the writes down; at 0 every call fails. after: the fatal write
	// itself is done still.
	killAt int
	after  bool
	dead   bool
	writes int
}

func (s *storage) write(do func() error) error {
	if s.dead {
		return errKilled
	}
	s.writes++
	if s.writes != s.killAt {
		return do()
	}
	s.dead = true
	if s.after {
		if err := do(); client.IgnoreNotFound(err) != nil {
			s.t.Fatal(err)
		}
	}
	return errKilled
}

func (s *storage) bind(ctx context.Context, c client.Client, claim *corev1.PersistentVolumeClaim) error {
	var pv corev1.PersistentVolume
	if err := c.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &pv); err != nil {
		return err
	}
	ref := pv.Spec.ClaimRef
	if ref == nil || ref.Name != claim.Name || ref.UID != "" {
		s.t.Errorf("claim %s names volume %s, which is claimed by %+v", claim.Name, pv.Name, ref)
		return nil
	}
	ref.UID = claim.UID
	if err := c.Update(ctx, &pv); err != nil {
		return err
	}
	claim.Status.Phase = corev1.ClaimBound
	return c.Status().Update(ctx, claim)
}

// reclaim deletes a volume whose claim does not exist, if its policy says so.
func (s *storage) reclaim(ctx context.Context, c client.Client, volume string) error {
	var pv corev1.PersistentVolume
	if err := c.Get(ctx, client.ObjectKey{Name: volume}, &pv); err != nil {
		return client.IgnoreNotFound(err)
	}
	ref := pv.Spec.ClaimRef
	if ref == nil || ref.UID == "" || pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		return nil
	}
	var claim corev1.PersistentVolumeClaim
	err := c.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &claim)
	if err == nil && claim.UID == ref.UID || client.IgnoreNotFound(err) != nil {
		return err
	}
	return c.Delete(ctx, &pv)
}

func (s *storage) hooks() interceptor.Funcs {
	next := 0
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return s.write(func() error {
				if o.GetUID() == "" {
					next++
					o.SetUID(types.UID(fmt.Sprint("made-", next)))
				}
				if err := c.Create(ctx, o, opts...); err != nil {
					return err
				}
				if claim, ok := o.(*corev1.PersistentVolumeClaim); ok {
					return s.bind(ctx, c, claim)
				}
				return nil
			})
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return s.write(func() error {
				if err := c.Delete(ctx, o, opts...); err != nil {
					return err
				}
				if claim, ok := o.(*corev1.PersistentVolumeClaim); ok {
					return s.reclaim(ctx, c, claim.Spec.VolumeName)
				}
				return nil
			})
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteAllOfOption) error {
			return s.write(func() error {
				var volumes corev1.PersistentVolumeList
				if err := errors.Join(c.DeleteAllOf(ctx, o, opts...), c.List(ctx, &volumes)); err != nil {
					return err
				}
				for _, pv := range volumes.Items {
					if err := s.reclaim(ctx, c, pv.Name); err != nil {
						return err
					}
				}
				return nil
			})
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return s.write(func() error {
				if err := c.Patch(ctx, o, patch, opts...); err != nil {
					return err
				}
				if pv, ok := o.(*corev1.PersistentVolume); ok {
					return s.reclaim(ctx, c, pv.Name)
				}
				return nil
			})
		},
	}
}

// pair is a claim on its volume.
func pair(claim, volume string, labels map[string]string) []client.Object {
	class := "gp3"
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	uid := types.UID("uid-of-" + claim)
	return []client.Object{
		&corev1.PersistentVolumeClaim{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
			ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: claim, UID: uid, Labels: labels},
			Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: &class, VolumeName: volume, Resources: corev1.VolumeResourceRequirements{Requests: size}},
			Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}},
		&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: volume}, Spec: corev1.PersistentVolumeSpec{StorageClassName: class, Capacity: size,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete, ClaimRef: &corev1.ObjectReference{Namespace: target, Name: claim, UID: uid}}},
	}
}

// swapBench is an instance of two nodes that is stopped, the restored volumes
// under their temporary claims beside it.
func swapBench(t *testing.T, s *storage) (*bench, *work) {
	restore := restoreOf(func(r *api.Restore) { r.Spec.InPlace = &api.InPlace{} }, phase(api.PhaseSwapping))
	w := &work{restore: restore}
	var objects []client.Object
	for _, node := range []string{"couchdb-1", "couchdb-2"} {
		claim := node + "-claim0"
		now := pair(claim, "old-"+node, map[string]string{"own": "label"})
		objects = append(objects, now...)
		objects = append(objects, pair(temporary(restore, claim), "new-"+node, labels(restore, node))...)
		before := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "PersistentVolumeClaim",
			"metadata": map[string]any{"namespace": target, "name": claim, "labels": map[string]any{"own": "label"}},
			"spec":     map[string]any{"storageClassName": "gp3", "volumeName": "old-" + node, "resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}}}}}
		w.before = append(w.before, before)
		restore.Status.Volumes = append(restore.Status.Volumes, api.RestoredVolume{Node: node, Claim: claim, Volume: "new-" + node, SetAside: "old-" + node})
	}
	b := newBench(t)
	b.Client = fake.NewClientBuilder().WithScheme(b.Client.Scheme()).WithObjects(objects...).
		WithIndex(&corev1.PersistentVolumeClaim{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).
		WithInterceptorFuncs(s.hooks()).Build()
	return b, w
}

// goBack is the way back as far as volumes go.
func (b *bench) goBack(w *work) error {
	claims := w.claimsBefore()
	for i := range w.restore.Status.Volumes {
		v := &w.restore.Status.Volumes[i]
		if _, err := b.returnVolume(b.t.Context(), w.restore, claims[v.Claim], v); err != nil {
			return err
		}
	}
	return b.undo(b.t.Context(), w.restore)
}

func (b *bench) check(w *work, volumes, label string) {
	b.t.Helper()
	var claims corev1.PersistentVolumeClaimList
	if err := b.Client.List(b.t.Context(), &claims); err != nil {
		b.t.Fatal(err)
	}
	if len(claims.Items) != 2 {
		b.t.Errorf("%d claims are left, want 2", len(claims.Items))
	}
	for _, v := range w.restore.Status.Volumes {
		var claim corev1.PersistentVolumeClaim
		if err := b.Client.Get(b.t.Context(), client.ObjectKey{Namespace: target, Name: v.Claim}, &claim); err != nil {
			b.t.Error(err)
			continue
		}
		if want := volumes + v.Node; claim.Spec.VolumeName != want || claim.Labels["own"] != "label" || claim.Labels[api.RestoreUIDLabel] != label {
			b.t.Errorf("claim %s is on volume %s with labels %v, want %s", v.Claim, claim.Spec.VolumeName, claim.Labels, want)
		}
		var old corev1.PersistentVolume
		if err := b.Client.Get(b.t.Context(), client.ObjectKey{Name: v.SetAside}, &old); err != nil {
			b.t.Errorf("the volume of before is lost: %v", err)
		}
		aside := old.Labels[api.SetAsideLabel] != ""
		kept := old.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain
		if want := volumes == "new-"; aside != want || kept != want {
			b.t.Errorf("volume %s: set aside %t, retained %t, want %t", old.Name, aside, kept, want)
		}
		var restored corev1.PersistentVolume
		err := b.Client.Get(b.t.Context(), client.ObjectKey{Name: v.Volume}, &restored)
		if client.IgnoreNotFound(err) != nil {
			b.t.Fatal(err)
		}
		if there := err == nil; there != (volumes == "new-") {
			b.t.Errorf("the restored volume %s is there: %t", v.Volume, there)
		} else if there && restored.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
			b.t.Errorf("volume %s has reclaim policy %s, and had Delete", restored.Name, restored.Spec.PersistentVolumeReclaimPolicy)
		}
	}
}

// TestSwapKilledAtEveryWrite kills the controller before and after every single
// write of a swap, of a way back, and of a way back from half a swap: the next
// one finishes, and no volume is lost.
func TestSwapKilledAtEveryWrite(t *testing.T) {
	swap := func(b *bench, w *work) error { return b.swapping(b.t.Context(), w) }
	back := (*bench).goBack
	for _, test := range []struct {
		name        string
		first, then func(*bench, *work) error
		volumes     string
	}{
		{"swap, swap", swap, swap, "new-"},
		{"swap, back", swap, back, "old-"},
		{"back, back", func(b *bench, w *work) error { return errors.Join(swap(b, w), back(b, w)) }, back, "old-"},
	} {
		for _, after := range []bool{false, true} {
			for at := 1; ; at++ {
				s := &storage{t: t, killAt: at, after: after}
				b, w := swapBench(t, s)
				err := test.first(b, w)
				if !s.dead {
					if err != nil {
						t.Fatalf("%s: %v", test.name, err)
					}
					if at < 10 {
						t.Errorf("%s: only %d writes", test.name, at)
					}
					break
				}
				s.dead, s.killAt = false, 0
				if err := test.then(b, w); err != nil {
					t.Errorf("%s, killed at write %d (done: %t): %v", test.name, at, after, err)
					continue
				}
				label := ""
				if test.volumes == "new-" {
					label = string(w.restore.UID)
				}
				b.check(w, test.volumes, label)
				if t.Failed() {
					t.Fatalf("%s, killed at write %d (done: %t)", test.name, at, after)
				}
			}
		}
	}
}

func TestDeleteClaimOfAnotherVolume(t *testing.T) {
	b, w := swapBench(t, &storage{t: t})
	err := b.deleteClaim(t.Context(), target, "couchdb-1-claim0", "new-couchdb-1")
	if err == nil {
		t.Fatal("a claim on another volume was deleted")
	}
	if got := err.Error(); got != `claim clone/couchdb-1-claim0 is on volume "old-couchdb-1" and not on "new-couchdb-1": somebody changed it while it was restored` {
		t.Error(got)
	}
	for _, v := range w.restore.Status.Volumes {
		if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: target, Name: v.Claim}, &corev1.PersistentVolumeClaim{}); err != nil {
			t.Error(err)
		}
	}
}

// TestSwapInTree sets in-tree EBS volumes and static ones aside, whose claims have
// no class and other access modes, and returns to them.
func TestSwapInTree(t *testing.T) {
	for _, back := range []bool{false, true} {
		b, w := swapBench(t, &storage{t: t})
		for i, node := range []string{"couchdb-1", "couchdb-2"} {
			var old, made corev1.PersistentVolume
			if err := errors.Join(b.Client.Get(t.Context(), client.ObjectKey{Name: "old-" + node}, &old), b.Client.Get(t.Context(), client.ObjectKey{Name: "new-" + node}, &made)); err != nil {
				t.Fatal(err)
			}
			old.Spec.StorageClassName, old.Spec.AccessModes = "", []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
			if i == 0 {
				old.Spec.AWSElasticBlockStore = &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "aws://eu-west-2b/vol-1", FSType: "ext4", Partition: 1}
			} else {
				old.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: "ebs.csi.aws.com", VolumeHandle: "vol-2", VolumeAttributes: map[string]string{"partition": "1"}}
			}
			made.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
			if err := errors.Join(b.Client.Update(t.Context(), &old), b.Client.Update(t.Context(), &made)); err != nil {
				t.Fatal(err)
			}
			spec := w.before[i].Object["spec"].(map[string]any)
			spec["storageClassName"], spec["accessModes"] = "", []any{"ReadWriteMany"}
		}
		if err := b.swapping(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		volumes, label, class, mode := "new-", string(w.restore.UID), "gp3", corev1.ReadWriteOnce
		if back {
			if err := b.goBack(w); err != nil {
				t.Fatal(err)
			}
			volumes, label, class, mode = "old-", "", "", corev1.ReadWriteMany
		}
		b.check(w, volumes, label)
		for i, v := range w.restore.Status.Volumes {
			var claim corev1.PersistentVolumeClaim
			var old corev1.PersistentVolume
			if err := errors.Join(b.Client.Get(t.Context(), client.ObjectKey{Namespace: target, Name: v.Claim}, &claim), b.Client.Get(t.Context(), client.ObjectKey{Name: v.SetAside}, &old)); err != nil {
				t.Fatal(err)
			}
			if *claim.Spec.StorageClassName != class || len(claim.Spec.AccessModes) != 1 || claim.Spec.AccessModes[0] != mode {
				t.Errorf("back %t: claim %s is of class %q with modes %v", back, claim.Name, *claim.Spec.StorageClassName, claim.Spec.AccessModes)
			}
			if i == 0 && (old.Spec.AWSElasticBlockStore == nil || *old.Spec.AWSElasticBlockStore != corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "aws://eu-west-2b/vol-1", FSType: "ext4", Partition: 1}) ||
				i == 1 && (old.Spec.CSI == nil || old.Spec.CSI.VolumeHandle != "vol-2" || old.Spec.CSI.VolumeAttributes["partition"] != "1") {
				t.Errorf("back %t: volume %s is %+v", back, old.Name, old.Spec.PersistentVolumeSource)
			}
		}
	}
}
