package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
)

// A claim cannot be moved to another volume. So the claim is deleted and made
// again under its name, naming the other volume; both volumes are Retain for as
// long as no claim holds them.

// temporary is the name of the claim that a volume is made under while the
// instance still runs on its own.
func temporary(restore *api.Restore, claim string) string {
	return fmt.Sprintf("%.200s-%.8s", claim, restore.UID)
}

// swapping gives every claim of CouchDB its restored volume.
func (r *Reconciler) swapping(ctx context.Context, w *work) error {
	before := w.claimsBefore()
	return oneTurn(ctx, func(ctx context.Context) error {
		for i := range w.restore.Status.Volumes {
			v := &w.restore.Status.Volumes[i]
			if err := r.setAside(ctx, w.restore, v.SetAside, v.Claim); err != nil {
				return err
			}
			if err := r.retain(ctx, v.Volume, nil); err != nil {
				return err
			}
			if err := r.moveClaim(ctx, w.restore, before[v.Claim], v.SetAside, v.Volume, marks(w.restore, v.Node)); err != nil {
				return err
			}
			if err := r.deleteClaim(ctx, w.restore.Namespace, temporary(w.restore, v.Claim), v.Volume); err != nil {
				return err
			}
			if err := r.release(ctx, v.Volume); err != nil {
				return err
			}
			v.Bound = true
		}
		return nil
	})
}

// setAside keeps a volume from being deleted with its claim, and says on it where
// it comes from.
func (r *Reconciler) setAside(ctx context.Context, restore *api.Restore, volume, claim string) error {
	return r.retain(ctx, volume, func(o *metav1.ObjectMeta) {
		metav1.SetMetaDataLabel(o, api.SetAsideLabel, string(restore.UID))
		metav1.SetMetaDataAnnotation(o, api.SetAsideClaimAnnotation, restore.Namespace+"/"+claim)
	})
}

// retain sets a volume's reclaim policy to Retain and notes what it was.
func (r *Reconciler) retain(ctx context.Context, name string, mark func(*metav1.ObjectMeta)) error {
	return r.changeVolume(ctx, name, func(pv *corev1.PersistentVolume) {
		if pv.Annotations[api.ReclaimPolicyAnnotation] == "" {
			metav1.SetMetaDataAnnotation(&pv.ObjectMeta, api.ReclaimPolicyAnnotation, string(pv.Spec.PersistentVolumeReclaimPolicy))
		}
		pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		if mark != nil {
			mark(&pv.ObjectMeta)
		}
	})
}

// release gives a volume its own reclaim policy back, and takes our marks off.
func (r *Reconciler) release(ctx context.Context, name string) error {
	return r.changeVolume(ctx, name, func(pv *corev1.PersistentVolume) {
		if own := pv.Annotations[api.ReclaimPolicyAnnotation]; own != "" {
			pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimPolicy(own)
		}
		delete(pv.Annotations, api.ReclaimPolicyAnnotation)
		delete(pv.Annotations, api.SetAsideClaimAnnotation)
		delete(pv.Labels, api.SetAsideLabel)
	})
}

// changeVolume patches a volume, if change changes it.
func (r *Reconciler) changeVolume(ctx context.Context, name string, change func(*corev1.PersistentVolume)) error {
	var pv corev1.PersistentVolume
	if err := r.Client.Get(ctx, client.ObjectKey{Name: name}, &pv); err != nil {
		return fmt.Errorf("get volume %s: %w", name, err)
	}
	base := pv.DeepCopy()
	change(&pv)
	if patch, err := client.MergeFrom(base).Data(&pv); err != nil {
		return err
	} else if string(patch) == "{}" {
		return nil
	}
	if err := r.Client.Patch(ctx, &pv, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("patch volume %s: %w", name, err)
	}
	return nil
}

// moveClaim makes claim anew under its name on the volume to, with marks as
// labels beside its own. The claim is deleted first if it is on from, and so is
// another claim that holds to. Both volumes must be Retain.
func (r *Reconciler) moveClaim(ctx context.Context, restore *api.Restore, claim *unstructured.Unstructured, from, to string, marks map[string]string) error {
	namespace, name := restore.Namespace, claim.GetName()
	there := &corev1.PersistentVolumeClaim{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, there)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get claim %s/%s: %w", namespace, name, err)
	}
	if err == nil && (there.Spec.VolumeName != to || there.DeletionTimestamp != nil) {
		if there.Spec.VolumeName == to {
			from = to // deleted by a turn that was cut short
		}
		if err := r.deleteClaim(ctx, namespace, name, from); err != nil {
			return err
		}
	}
	if err := r.freeVolume(ctx, to, namespace, name); err != nil {
		return err
	}
	fresh, err := claimOn(claim, to, marks)
	if err != nil {
		return err
	}
	if err := r.fit(ctx, fresh, to); err != nil {
		return err
	}
	if err := r.Client.Create(ctx, fresh); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create claim %s/%s on volume %s: %w", namespace, name, to, err)
	}
	var claims corev1.PersistentVolumeClaimList
	return await.List(ctx, r.Client, &claims, func() (string, error) {
		for _, c := range claims.Items {
			if c.Status.Phase == corev1.ClaimBound && c.Spec.VolumeName == to && c.DeletionTimestamp == nil {
				return "", nil
			}
		}
		return fmt.Sprintf("claim %s to be bound to volume %s", name, to), nil
	}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name})
}

// freeVolume points a volume at the claim that shall have it. A claim that has
// it now is deleted; the volume must be Retain.
func (r *Reconciler) freeVolume(ctx context.Context, name, namespace, claim string) error {
	var pv corev1.PersistentVolume
	if err := r.Client.Get(ctx, client.ObjectKey{Name: name}, &pv); err != nil {
		return fmt.Errorf("get volume %s: %w", name, err)
	}
	ref := pv.Spec.ClaimRef
	if ref != nil && ref.Namespace == namespace && ref.Name == claim {
		var there corev1.PersistentVolumeClaim
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: claim}, &there)
		if err == nil && there.UID == ref.UID || ref.UID == "" {
			return client.IgnoreNotFound(err)
		}
	} else if ref != nil {
		if ref.Namespace != namespace {
			return fmt.Errorf("volume %s is claimed by %s/%s, of another namespace", name, ref.Namespace, ref.Name)
		}
		if err := r.deleteClaim(ctx, namespace, ref.Name, name); err != nil {
			return err
		}
	}
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/spec/claimRef", "value": corev1.ObjectReference{
		Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: namespace, Name: claim}}})
	if err != nil {
		return err
	}
	if err := r.Client.Patch(ctx, &pv, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return fmt.Errorf("point volume %s at claim %s/%s: %w", name, namespace, claim, err)
	}
	return nil
}

// deleteClaim deletes a claim, which must be on that volume, and waits until it
// is gone.
func (r *Reconciler) deleteClaim(ctx context.Context, namespace, name, volume string) error {
	var claim corev1.PersistentVolumeClaim
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &claim)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get claim %s/%s: %w", namespace, name, err)
	}
	if claim.Spec.VolumeName != volume {
		return fmt.Errorf("claim %s/%s is on volume %q and not on %q: somebody changed it while it was restored", namespace, name, claim.Spec.VolumeName, volume)
	}
	if err := r.Client.Delete(ctx, &claim, client.Preconditions{UID: &claim.UID}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete claim %s/%s: %w", namespace, name, err)
	}
	var claims corev1.PersistentVolumeClaimList
	return await.List(ctx, r.Client, &claims, func() (string, error) {
		for _, c := range claims.Items {
			if c.UID == claim.UID {
				return fmt.Sprintf("the end of claim %s, which a pod may still use", name), nil
			}
		}
		return "", nil
	}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name})
}

// claimOn gives a claim of the same name on another volume: with its labels,
// annotations and modes, without what the cluster wrote.
func claimOn(old *unstructured.Unstructured, volume string, marks map[string]string) (*corev1.PersistentVolumeClaim, error) {
	text, err := old.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var was corev1.PersistentVolumeClaim
	if err := json.Unmarshal(text, &was); err != nil {
		return nil, fmt.Errorf("claim %s: %w", old.GetName(), err)
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: was.Namespace, Name: was.Name, Labels: map[string]string{}, Annotations: map[string]string{}},
		Spec: corev1.PersistentVolumeClaimSpec{AccessModes: was.Spec.AccessModes, Resources: was.Spec.Resources, VolumeMode: was.Spec.VolumeMode,
			StorageClassName: was.Spec.StorageClassName, VolumeName: volume},
	}
	for k, v := range was.Labels {
		if k != api.RestoreUIDLabel && k != api.NodeLabel {
			claim.Labels[k] = v
		}
	}
	for k, v := range marks {
		claim.Labels[k] = v
	}
	for k, v := range was.Annotations {
		if !strings.HasPrefix(k, "pv.kubernetes.io/") && !strings.HasPrefix(k, "volume.kubernetes.io/") && !strings.HasPrefix(k, "volume.beta.kubernetes.io/") {
			claim.Annotations[k] = v
		}
	}
	return claim, nil
}

// fit makes a claim one that its volume can be bound to: of its class, with access
// modes that it has, and not larger than it.
func (r *Reconciler) fit(ctx context.Context, claim *corev1.PersistentVolumeClaim, volume string) error {
	var pv corev1.PersistentVolume
	if err := r.Client.Get(ctx, client.ObjectKey{Name: volume}, &pv); err != nil {
		return fmt.Errorf("get volume %s: %w", volume, err)
	}
	class := pv.Spec.StorageClassName
	claim.Spec.StorageClassName = &class
	for _, mode := range claim.Spec.AccessModes {
		if !slices.Contains(pv.Spec.AccessModes, mode) {
			claim.Spec.AccessModes = pv.Spec.AccessModes
			break
		}
	}
	size := pv.Spec.Capacity[corev1.ResourceStorage]
	if want := claim.Spec.Resources.Requests[corev1.ResourceStorage]; want.Cmp(size) > 0 {
		claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: size}
		claim.Spec.Resources.Limits = nil
	}
	return nil
}
