package restore

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

// What an instance was before a restore in place is kept in a Secret (it holds
// the credentials), written before anything is touched and never changed.

const (
	beforeKey = "objects.json.gz"
	// maxBefore bounds what is unpacked, in bytes.
	maxBefore = 64 << 20
)

func beforeName(restore *api.Restore) string {
	return fmt.Sprintf("cht-restore-%.8s-before", restore.UID)
}

var claimKind = schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}

// loadBefore gives the instance as it was before, or as it is when the restore
// has not touched it.
func (r *Reconciler) loadBefore(ctx context.Context, restore *api.Restore) ([]*unstructured.Unstructured, error) {
	var secret corev1.Secret
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: restore.Namespace, Name: beforeName(restore)}, &secret)
	if apierrors.IsNotFound(err) {
		// Stopping begins with writing it.
		if touches(restore.Status.Phase) && restore.Status.Phase != api.PhaseStopping {
			return nil, fmt.Errorf("secret %s/%s, which says how the instance was before this restore, is gone; put it back, or set replicas and claims by hand as status.plan and status.volumes tell", restore.Namespace, beforeName(restore))
		}
		return r.present(ctx, restore)
	}
	if err != nil {
		return nil, fmt.Errorf("get secret %s/%s: %w", restore.Namespace, beforeName(restore), err)
	}
	zip, err := gzip.NewReader(bytes.NewReader(secret.Data[beforeKey]))
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s: %w", restore.Namespace, beforeName(restore), err)
	}
	var raw []json.RawMessage
	if err := json.NewDecoder(io.LimitReader(zip, maxBefore)).Decode(&raw); err != nil {
		return nil, fmt.Errorf("secret %s/%s: %w", restore.Namespace, beforeName(restore), err)
	}
	return decode(raw)
}

// present reads what a restore in place may change: workloads, the credentials,
// and CouchDB's claims.
func (r *Reconciler) present(ctx context.Context, restore *api.Restore) ([]*unstructured.Unstructured, error) {
	all, err := cht.Objects(ctx, r.Client, restore.Namespace)
	if err != nil {
		return nil, err
	}
	var kept []*unstructured.Unstructured
	for _, o := range all {
		if isWorkload(o) || isCredentials(o) {
			kept = append(kept, o)
		}
	}
	inventory, err := cht.Load(ctx, r.Client, restore.Namespace)
	if err != nil {
		return nil, err
	}
	places, err := cht.Layout(inventory)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		claim := &unstructured.Unstructured{}
		claim.SetGroupVersionKind(claimKind)
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: restore.Namespace, Name: p.Claim}, claim); apierrors.IsNotFound(err) {
			return nil, reason.Refuse(api.ReasonClaimNotBound, "claim %s/%s of %s does not exist; without it there is nothing to put the restored volume in the place of. Restore into an empty namespace", restore.Namespace, p.Claim, p.Service)
		} else if err != nil {
			return nil, fmt.Errorf("get claim %s/%s: %w", restore.Namespace, p.Claim, err)
		}
		kept = append(kept, claim)
	}
	return kept, nil
}

func isCredentials(o *unstructured.Unstructured) bool {
	return o.GetKind() == "Secret" && o.GetName() == cht.CredentialsSecret
}

// saveBefore writes the instance down as it is, unless that was done before.
func (r *Reconciler) saveBefore(ctx context.Context, w *work) error {
	var raw []json.RawMessage
	for _, o := range w.before {
		text, err := o.MarshalJSON()
		if err != nil {
			return fmt.Errorf("encode %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		raw = append(raw, text)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if err := json.NewEncoder(zip).Encode(raw); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	// Not labelled as made by the restore: undoing must be able to read it to its
	// end. It goes with the Restore.
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.restore.Namespace, Name: beforeName(w.restore), OwnerReferences: []metav1.OwnerReference{
			{APIVersion: api.GroupVersion.String(), Kind: "Restore", Name: w.restore.Name, UID: w.restore.UID}}},
		Data: map[string][]byte{beforeKey: packed.Bytes()},
	}
	if err := r.Client.Create(ctx, secret); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return nil
}

// claimsBefore gives the claims of before by their names.
func (w *work) claimsBefore() map[string]*unstructured.Unstructured {
	claims := map[string]*unstructured.Unstructured{}
	for _, o := range w.before {
		if o.GetKind() == claimKind.Kind {
			claims[o.GetName()] = o
		}
	}
	return claims
}
