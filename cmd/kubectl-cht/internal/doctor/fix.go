package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/csi"
	"github.com/medic/cht-backup/snapshot/paged"
)

// errChanged says that something is not as it was looked at a moment before.
var errChanged = errors.New("it was changed meanwhile; look again")

// tries bounds how often a removal begins anew because somebody wrote the object just
// then: a controller its status, as a rule.
const tries = 5

// Remove removes one orphan of the latest look, if it is still what was seen then.
// The storage may take its time.
func Remove(ctx context.Context, c client.Client, f Finding) error {
	if f.remedy == none || f.object == nil {
		return errors.New("it is nothing that is removed here")
	}
	for range tries {
		now, ok := f.object.DeepCopyObject().(client.Object)
		if !ok {
			return fmt.Errorf("%T is no object", f.object)
		}
		if err := c.Get(ctx, client.ObjectKeyFromObject(f.object), now); apierrors.IsNotFound(err) {
			return nil // gone with what was removed before it
		} else if err != nil {
			return err
		}
		if !still(f.object, now) {
			return errChanged
		}
		if err := apply(ctx, c, f, now); !apierrors.IsConflict(err) {
			return client.IgnoreNotFound(err)
		}
	}
	return errChanged
}

// still tells whether an object is the one that was judged, and all that was judged
// by is as it was. Others write its status meanwhile.
func still(was, now client.Object) bool {
	if was.GetUID() != now.GetUID() || !maps.Equal(was.GetLabels(), now.GetLabels()) {
		return false
	}
	for _, mark := range []string{api.ScratchForAnnotation, api.CreatedForAnnotation, api.RetainedAnnotation} {
		if was.GetAnnotations()[mark] != now.GetAnnotations()[mark] {
			return false
		}
	}
	switch now := now.(type) {
	case *snapv1.VolumeSnapshot:
		was, ok := was.(*snapv1.VolumeSnapshot)
		return ok && equality.Semantic.DeepEqual(was.Spec, now.Spec)
	case *snapv1.VolumeSnapshotContent:
		was, ok := was.(*snapv1.VolumeSnapshotContent)
		return ok && was.Spec.VolumeSnapshotRef == now.Spec.VolumeSnapshotRef
	case *corev1.PersistentVolume:
		was, ok := was.(*corev1.PersistentVolume)
		return ok && was.Status.Phase == now.Status.Phase && equality.Semantic.DeepEqual(was.Spec.ClaimRef, now.Spec.ClaimRef)
	}
	return true
}

func apply(ctx context.Context, c client.Client, f Finding, now client.Object) error {
	uid, version := now.GetUID(), now.GetResourceVersion()
	exactly := client.Preconditions{UID: &uid, ResourceVersion: &version}
	switch o := now.(type) {
	case *snapv1.VolumeSnapshot:
		content, err := bound(ctx, c, o)
		if err != nil {
			return err
		}
		if content != nil {
			policy := snapv1.VolumeSnapshotContentDelete
			if f.remedy == dropImportedSnapshot {
				policy = snapv1.VolumeSnapshotContentRetain
			}
			if err := merge(ctx, c, content, map[string]any{"spec": map[string]any{"deletionPolicy": policy}}); err != nil {
				return err
			}
		}
		return c.Delete(ctx, o, exactly)
	case *snapv1.VolumeSnapshotContent:
		if f.remedy == removeContent {
			return csi.DeleteContent(ctx, c, o)
		}
		return csi.ForgetContent(ctx, c, o)
	case *corev1.PersistentVolume:
		// With this policy the driver deletes a released volume.
		return merge(ctx, c, o, map[string]any{"spec": map[string]any{"persistentVolumeReclaimPolicy": corev1.PersistentVolumeReclaimDelete}})
	case *metav1.PartialObjectMetadata:
		switch f.remedy {
		case removeRecord:
			return catalog.Store{Client: c, Namespace: o.GetNamespace()}.Delete(ctx, f.owner)
		case removeNamespace:
			return removeNamespaceOf(ctx, c, o, exactly)
		}
		return c.Delete(ctx, o, exactly)
	}
	return fmt.Errorf("%T is not removed here", now)
}

// bound gives the content of a snapshot, if the content says the same.
func bound(ctx context.Context, c client.Client, s *snapv1.VolumeSnapshot) (*snapv1.VolumeSnapshotContent, error) {
	name := "snapcontent-" + string(s.UID)
	if s.Spec.Source.VolumeSnapshotContentName != nil {
		name = *s.Spec.Source.VolumeSnapshotContentName
	}
	var content snapv1.VolumeSnapshotContent
	if err := c.Get(ctx, client.ObjectKey{Name: name}, &content); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if ref := content.Spec.VolumeSnapshotRef; ref.Namespace != s.Namespace || ref.Name != s.Name || ref.UID != "" && ref.UID != s.UID {
		return nil, nil
	}
	return &content, nil
}

// removeNamespaceOf deletes a namespace with the restores in it first, which take
// their volumes along.
func removeNamespaceOf(ctx context.Context, c client.Client, namespace *metav1.PartialObjectMetadata, exactly client.Preconditions) error {
	var restores api.RestoreList
	if err := c.List(ctx, &restores, client.InNamespace(namespace.Name), client.Limit(paged.Size)); err != nil {
		return err
	}
	for i := range restores.Items {
		r := &restores.Items[i]
		if err := c.Delete(ctx, r, client.Preconditions{UID: &r.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete restore %s/%s: %w", r.Namespace, r.Name, err)
		}
	}
	return c.Delete(ctx, namespace, exactly)
}

// merge changes that very object, as it was read.
func merge(ctx context.Context, c client.Client, o client.Object, change map[string]any) error {
	change["metadata"] = map[string]any{"uid": o.GetUID(), "resourceVersion": o.GetResourceVersion()}
	patch, err := json.Marshal(change)
	if err != nil {
		return err
	}
	return c.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch))
}
