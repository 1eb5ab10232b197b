package csi

import (
	"context"
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

// Refresh brings a volume's status up to date with its content: handle, size,
// readiness. An error of the storage is a final one: the cut is made, so what
// fails now fails for good.
func (s Snapshotter) Refresh(ctx context.Context, v *api.VolumeStatus) error {
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

// Keep implements snapshot.Snapshotter. Deleting a namespace deletes its
// VolumeSnapshots, and only a content that is retained keeps the storage's
// snapshot then. Our own deletion sets it back.
func (s Snapshotter) Keep(ctx context.Context, v *api.VolumeStatus) error {
	return s.patchContent(ctx, v.Content, fmt.Appendf(nil, `{"spec":{"deletionPolicy":%q}}`, snapv1.VolumeSnapshotContentRetain))
}

// nudge is how often a content that is on its way out is touched.
const nudge = 5 * time.Second

// releaseContent lets the storage's snapshot go with its content. The sidecar may
// overlook a deletion that came while it was still cutting, until its resync a
// quarter of an hour later; a change of the content reminds it.
func (s Snapshotter) releaseContent(ctx context.Context, name string) error {
	return s.patchContent(ctx, name, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}},"spec":{"deletionPolicy":%q}}`,
		api.DeletionAskedAnnotation, time.Now().UTC().Truncate(nudge).Format(time.RFC3339), snapv1.VolumeSnapshotContentDelete))
}

func (s Snapshotter) patchContent(ctx context.Context, name string, patch []byte) error {
	content := &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := s.Client.Patch(ctx, content, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("change VolumeSnapshotContent %s: %w", name, err)
	}
	return nil
}

// Discard implements snapshot.Snapshotter. It removes all snapshots of the
// backup, with what they hold in the storage whatever their class says. One that
// the driver still works on goes later: until then it is counted as left.
func (s Snapshotter) Discard(ctx context.Context, b *api.Backup) (left int, err error) {
	var snapshots snapv1.VolumeSnapshotList
	if err := s.Client.List(ctx, &snapshots, client.InNamespace(b.Namespace), client.MatchingLabels{api.BackupUIDLabel: string(b.UID)}); err != nil {
		return 0, fmt.Errorf("list VolumeSnapshots of %s: %w", b.Namespace, err)
	}
	contents := map[string]bool{}
	for _, v := range b.Status.Volumes {
		contents[v.Content] = v.Content != ""
	}
	for i := range snapshots.Items {
		snapshot := &snapshots.Items[i]
		left++
		delete(contents, contentName(snapshot))
		if err := s.releaseContent(ctx, contentName(snapshot)); client.IgnoreNotFound(err) != nil {
			return left, err
		}
		if snapshot.DeletionTimestamp != nil {
			continue
		}
		if err := s.Client.Delete(ctx, snapshot); client.IgnoreNotFound(err) != nil {
			return left, fmt.Errorf("delete VolumeSnapshot %s/%s: %w", b.Namespace, snapshot.Name, err)
		}
	}
	// Contents whose VolumeSnapshot somebody deleted: they were retained, so they and
	// the storage's snapshots are still there.
	for name, named := range contents {
		if !named {
			continue
		}
		err := s.releaseContent(ctx, name)
		if err == nil {
			left++
			err = s.Client.Delete(ctx, &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
		if client.IgnoreNotFound(err) != nil {
			return left, fmt.Errorf("delete VolumeSnapshotContent %s: %w", name, err)
		}
	}
	return left, nil
}
