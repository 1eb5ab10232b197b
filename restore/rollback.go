package restore

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// rollBack returns an instance to what it was before a restore in place, or before
// a database was replaced, and ends the restore. It is tried until it is done.
func (r *Reconciler) rollBack(ctx context.Context, restore *api.Restore) error {
	kept, err := r.putAllBack(ctx, restore)
	if err != nil {
		return err
	}
	restore.Status.Notes = append(restore.Status.Notes, kept...)
	r.end(restore, api.PhaseFailed)
	now := "the instance runs on its former volumes again"
	if d := restore.Spec.Database; d != nil {
		now = fmt.Sprintf("database %s is the former again", d.Name)
	}
	r.conclude(restore, false, restore.Status.PendingReason, restore.Status.PendingMessage+"; "+now)
	restore.Status.PendingReason, restore.Status.PendingMessage = "", ""
	return nil
}

// putAllBack undoes a restore that has touched the instance.
func (r *Reconciler) putAllBack(ctx context.Context, restore *api.Restore) (kept []string, err error) {
	if restore.Spec.Database != nil {
		return nil, r.returnDatabase(ctx, restore)
	}
	return r.returnAll(ctx, restore)
}

// returnAll undoes a restore in place that has begun to touch the instance. It
// tells which volumes it kept.
func (r *Reconciler) returnAll(ctx context.Context, restore *api.Restore) (kept []string, err error) {
	w := &work{restore: restore}
	if w.before, err = r.loadBefore(ctx, restore); err != nil {
		return nil, err
	}
	claims := w.claimsBefore()
	err = oneTurn(ctx, func(ctx context.Context) error {
		moved, err := r.moved(ctx, restore)
		if err != nil {
			return err
		}
		if moved { // otherwise the volumes are as they were, and what runs may run on
			if err := r.stopAll(ctx, w); err != nil {
				return err
			}
		}
		for i := range restore.Status.Volumes {
			v := &restore.Status.Volumes[i]
			note, err := r.returnVolume(ctx, restore, claims[v.Claim], v)
			if err != nil {
				return err
			}
			if note != "" {
				kept = append(kept, note)
			}
		}
		return r.returnWorkloads(ctx, w)
	})
	if err != nil {
		return nil, err
	}
	return kept, r.undo(ctx, restore) // what it made and nothing uses any more
}

// moved tells whether any claim is not on the volume of before.
func (r *Reconciler) moved(ctx context.Context, restore *api.Restore) (bool, error) {
	for _, v := range restore.Status.Volumes {
		var claim corev1.PersistentVolumeClaim
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: restore.Namespace, Name: v.Claim}, &claim)
		if client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("get claim %s/%s: %w", restore.Namespace, v.Claim, err)
		}
		if err != nil || claim.Spec.VolumeName != v.SetAside || claim.DeletionTimestamp != nil {
			return true, nil
		}
	}
	return false, nil
}

// returnVolume gives a claim its former volume back, and deletes the restored
// one, unless somebody may have written to it: then it is kept and named.
func (r *Reconciler) returnVolume(ctx context.Context, restore *api.Restore, claim *unstructured.Unstructured, v *api.RestoredVolume) (note string, err error) {
	var restored corev1.PersistentVolume
	err = r.Client.Get(ctx, client.ObjectKey{Name: v.Volume}, &restored)
	if client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("get volume %s: %w", v.Volume, err)
	}
	there := v.Volume != "" && err == nil
	if there {
		if err := r.retain(ctx, v.Volume, nil); err != nil {
			return "", err
		}
	}
	if err := r.retain(ctx, v.SetAside, nil); err != nil {
		return "", err
	}
	if err := r.moveClaim(ctx, restore, claim, v.Volume, v.SetAside, nil); err != nil {
		return "", err
	}
	if err := r.release(ctx, v.SetAside); err != nil {
		return "", err
	}
	if !there {
		return "", nil
	}
	if restore.Status.Served {
		if err := r.setAside(ctx, restore, v.Volume, v.Claim); err != nil {
			return "", err
		}
		v.EBS = nil // from now on nothing takes it for something that is to go
		return fmt.Sprintf("volume %s of %s was in use when the restore failed, and is kept: what was written meanwhile is on it alone", v.Volume, v.Node), nil
	}
	return "", r.discard(ctx, restore, v.Volume)
}

// discard deletes a volume and its storage: a volume that points at a claim
// which does not exist is reclaimed by its policy.
func (r *Reconciler) discard(ctx context.Context, restore *api.Restore, volume string) error {
	var pv corev1.PersistentVolume
	if err := r.Client.Get(ctx, client.ObjectKey{Name: volume}, &pv); err != nil {
		return client.IgnoreNotFound(err)
	}
	if ref := pv.Spec.ClaimRef; ref != nil && ref.UID != "" {
		var claim corev1.PersistentVolumeClaim
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &claim)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("get claim %s/%s: %w", ref.Namespace, ref.Name, err)
		}
		if err == nil && claim.UID == ref.UID {
			// Still under its temporary claim: undo deletes that, and the volume with it.
			return r.deleteWithClaim(ctx, volume)
		}
	}
	if err := r.deleteWithClaim(ctx, volume); err != nil {
		return err
	}
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/spec/claimRef", "value": corev1.ObjectReference{
		Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: restore.Namespace, Name: "discarded", UID: restore.UID}}})
	if err != nil {
		return err
	}
	if err := r.Client.Patch(ctx, &pv, client.RawPatch(types.JSONPatchType, patch)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("discard volume %s: %w", volume, err)
	}
	return nil
}

// deleteWithClaim makes a volume go when its claim goes, whatever its class says.
func (r *Reconciler) deleteWithClaim(ctx context.Context, volume string) error {
	err := r.changeVolume(ctx, volume, func(pv *corev1.PersistentVolume) {
		pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// returnWorkloads gives every workload the template and the replicas it had,
// CouchDB first, and the Secret its credentials. Nobody waits for them to be
// ready: the instance may have been restored because it was not.
func (r *Reconciler) returnWorkloads(ctx context.Context, w *work) error {
	for _, o := range w.before {
		if isCredentials(o) {
			if err := r.replaceSecretData(ctx, o); err != nil {
				return err
			}
		}
	}
	for i := len(tiers) - 1; i >= 0; i-- {
		for _, o := range w.before {
			if !isWorkload(o) || !tiers[i].has(component(o)) {
				continue
			}
			if err := r.putWorkload(ctx, w.restore, o, replicasOf(o)); err != nil {
				return err
			}
		}
	}
	return nil
}

// replaceSecretData gives a Secret the data of o.
func (r *Reconciler) replaceSecretData(ctx context.Context, o *unstructured.Unstructured) error {
	data, _, err := unstructured.NestedMap(o.Object, "data")
	if err != nil {
		return err
	}
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/data", "value": data}})
	if err != nil {
		return err
	}
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = o.GetNamespace(), o.GetName()
	if err := r.Client.Patch(ctx, secret, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return fmt.Errorf("put secret %s/%s back: %w", o.GetNamespace(), o.GetName(), err)
	}
	return nil
}
