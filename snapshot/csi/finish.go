package csi

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Refresh brings the volumes' status up to date with their contents: handle, size,
// readiness. An error of the storage is a final one: the cut is made, so what
// fails now fails for good.
func (s Snapshotter) Refresh(ctx context.Context, _ *api.Backup, volumes ...*api.VolumeStatus) error {
	return each(volumes, func(v *api.VolumeStatus) error { return s.refresh(ctx, v) })
}

// each stops at the first error.
func each(volumes []*api.VolumeStatus, do func(*api.VolumeStatus) error) error {
	for _, v := range volumes {
		if err := do(v); err != nil {
			return err
		}
	}
	return nil
}

func (s Snapshotter) refresh(ctx context.Context, v *api.VolumeStatus) error {
	var content snapv1.VolumeSnapshotContent
	if err := s.Client.Get(ctx, client.ObjectKey{Name: v.Content}, &content); err != nil {
		if apierrors.IsNotFound(err) {
			return reason.Refuse(api.ReasonSnapshotFailed, "%s: VolumeSnapshotContent %s is gone; somebody deleted it", v.Node, v.Content)
		}
		return fmt.Errorf("get VolumeSnapshotContent %s: %w", v.Content, err)
	}
	learn(v, &content)
	if content.Status == nil || v.Ready {
		return nil
	}
	if e := content.Status.Error; e != nil && e.Message != nil {
		return reason.Refuse(api.ReasonSnapshotFailed, "%s: snapshot %s: %s", v.Node, v.Snapshot, *e.Message)
	}
	return nil
}

// learn copies into v what content says by now.
func learn(v *api.VolumeStatus, content *snapv1.VolumeSnapshotContent) {
	v.Driver = content.Spec.Driver
	status := content.Status
	if status == nil {
		return
	}
	if status.SnapshotHandle != nil {
		v.Handle = *status.SnapshotHandle
	}
	if status.RestoreSize != nil {
		v.RestoreSize = resource.NewQuantity(*status.RestoreSize, resource.BinarySI)
	}
	if status.CreationTime != nil {
		v.CutTime = &metav1.MicroTime{Time: time.Unix(0, *status.CreationTime)}
	}
	v.Ready = status.ReadyToUse != nil && *status.ReadyToUse
}

// Mark implements snapshot.Snapshotter.
func (s Snapshotter) Mark(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error {
	return each(volumes, func(v *api.VolumeStatus) error { return s.mark(ctx, b, v, map[string]any{}) })
}

// Keep implements snapshot.Snapshotter. Deleting a namespace deletes its
// VolumeSnapshots, and only a content that is retained keeps the storage's
// snapshot then. Our own deletion sets it back.
func (s Snapshotter) Keep(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error {
	return each(volumes, func(v *api.VolumeStatus) error {
		return s.mark(ctx, b, v, map[string]any{"spec": map[string]any{"deletionPolicy": snapv1.VolumeSnapshotContentRetain}})
	})
}

// mark writes on a content whose it is, with a change besides. Once the Backup and
// its VolumeSnapshot are gone, that is how it is found.
func (s Snapshotter) mark(ctx context.Context, b *api.Backup, v *api.VolumeStatus, change map[string]any) error {
	var content snapv1.VolumeSnapshotContent
	if err := s.Client.Get(ctx, client.ObjectKey{Name: v.Content}, &content); err != nil {
		return fmt.Errorf("get VolumeSnapshotContent %s: %w", v.Content, err)
	}
	if !Owned(&content, b.Namespace, b.Name, b.UID) {
		return reason.Refuse(api.ReasonSnapshotFailed, "%s: VolumeSnapshotContent %s is bound to %s/%s and no longer to this backup's snapshot %s; somebody changed it",
			v.Node, v.Content, content.Spec.VolumeSnapshotRef.Namespace, content.Spec.VolumeSnapshotRef.Name, v.Snapshot)
	}
	metadata := map[string]any{"labels": map[string]string{api.BackupUIDLabel: string(b.UID), api.SourceNamespaceLabel: b.Namespace}}
	if b.DeletionTimestamp != nil {
		metadata["annotations"] = map[string]string{api.RetainedAnnotation: b.DeletionTimestamp.UTC().Format(time.RFC3339)}
	}
	change["metadata"] = metadata
	return patchContent(ctx, s.Client, &content, change)
}

// patchContent changes that very content: one of its name may take its place.
func patchContent(ctx context.Context, c client.Client, content *snapv1.VolumeSnapshotContent, change map[string]any) error {
	metadata, ok := change["metadata"].(map[string]any)
	if !ok {
		metadata = map[string]any{}
	}
	if content.UID != "" {
		metadata["uid"] = content.UID
	}
	change["metadata"] = metadata
	patch, err := json.Marshal(change)
	if err != nil {
		return err
	}
	if err := c.Patch(ctx, content.DeepCopy(), client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("change VolumeSnapshotContent %s: %w", content.Name, err)
	}
	return nil
}
