package csi

import (
	"context"
	"fmt"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/paged"
)

const (
	// beingDeleted tells the sidecar that a content which is deleted shall take the
	// storage's snapshot along. The snapshot controller sets it when it sees the
	// VolumeSnapshot go, and never afterwards.
	beingDeleted = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
	// nudge is how often a content that is on its way out is touched.
	nudge = 5 * time.Second
	// contentWithin is how long a new VolumeSnapshot may lack its content because the
	// snapshot controller is busy. Later it is thought not to run.
	contentWithin = time.Minute
)

// Discard implements snapshot.Snapshotter. It removes all snapshots of the backup,
// with what they hold in the storage whatever their class says. One that the driver
// still works on goes later: until then it is counted as left.
func (s Snapshotter) Discard(ctx context.Context, b *api.Backup) (left int, err error) {
	d := &discard{Snapshotter: s, backup: b, seen: map[string]bool{}}
	// 1. VolumeSnapshots; the snapshot controller deletes their contents with them.
	if err := d.deleteSnapshots(ctx); err != nil {
		return d.left, err
	}
	// 2. Contents whose VolumeSnapshot is gone: somebody deleted it, or it was deleted
	// before the content came to be. Those that are known by name or label first.
	for _, v := range b.Status.Volumes {
		if err := d.deleteNamed(ctx, v.Content); err != nil {
			return d.left, err
		}
	}
	if err := d.deleteLost(ctx, client.MatchingLabels{api.BackupUIDLabel: string(b.UID)}); err != nil {
		return d.left, err
	}
	// 3. An attempt that broke off has contents that nobody wrote down or labelled.
	// There may be many thousands of other backups, so they are looked through only
	// for such a backup, once, when nothing else is left.
	if d.left == 0 && b.Status.Phase != api.PhaseCompleted {
		err = d.deleteLost(ctx)
	}
	return d.left, err
}

// discard is one turn of Discard.
type discard struct {
	Snapshotter
	backup *api.Backup
	// seen are the contents that were dealt with. Those whose VolumeSnapshot is there
	// go with it.
	seen map[string]bool
	left int
}

func (d *discard) deleteSnapshots(ctx context.Context) error {
	b := d.backup
	var list snapv1.VolumeSnapshotList
	if err := d.Client.List(ctx, &list, client.InNamespace(b.Namespace), client.MatchingLabels{api.BackupUIDLabel: string(b.UID)}); err != nil {
		return fmt.Errorf("list VolumeSnapshots of %s: %w", b.Namespace, err)
	}
	for i := range list.Items {
		snapshot := &list.Items[i]
		if !OwnedSnapshot(snapshot, b.Namespace, b.Name, b.UID) {
			continue
		}
		d.left++
		d.seen[contentName(snapshot)] = true
		content, err := d.content(ctx, contentName(snapshot))
		if err != nil {
			return err
		}
		if content != nil {
			if err := releaseContent(ctx, d.Client, content, false); client.IgnoreNotFound(err) != nil {
				return err
			}
		}
		if snapshot.DeletionTimestamp != nil || content == nil && time.Since(snapshot.CreationTimestamp.Time) < contentWithin {
			continue
		}
		if err := d.Client.Delete(ctx, snapshot, client.Preconditions{UID: &snapshot.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete VolumeSnapshot %s/%s: %w", b.Namespace, snapshot.Name, err)
		}
	}
	return nil
}

// content gives the backup's content of that name, nil if there is none.
func (d *discard) content(ctx context.Context, name string) (*snapv1.VolumeSnapshotContent, error) {
	var content snapv1.VolumeSnapshotContent
	if err := d.Client.Get(ctx, client.ObjectKey{Name: name}, &content); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("get VolumeSnapshotContent %s: %w", name, err)
	}
	if !Owned(&content, d.backup.Namespace, d.backup.Name, d.backup.UID) {
		return nil, nil
	}
	return &content, nil
}

func (d *discard) deleteNamed(ctx context.Context, name string) error {
	if name == "" || d.seen[name] {
		return nil
	}
	content, err := d.content(ctx, name)
	if err != nil || content == nil {
		return err
	}
	return d.delete(ctx, content)
}

// deleteLost deletes the backup's contents among the selected that have lost their
// VolumeSnapshot.
func (d *discard) deleteLost(ctx context.Context, selected ...client.ListOption) error {
	for list, err := range paged.Pages(ctx, d.Client, &snapv1.VolumeSnapshotContentList{}, selected...) {
		if err != nil {
			return fmt.Errorf("list VolumeSnapshotContents: %w", err)
		}
		for i := range list.Items {
			if content := &list.Items[i]; !d.seen[content.Name] && Owned(content, d.backup.Namespace, d.backup.Name, d.backup.UID) {
				if err := d.delete(ctx, content); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (d *discard) delete(ctx context.Context, content *snapv1.VolumeSnapshotContent) error {
	d.seen[content.Name] = true
	d.left++
	return DeleteContent(ctx, d.Client, content)
}

// DeleteContent deletes a content whose VolumeSnapshot is gone, with the storage's
// snapshot. That takes its time: call it again until the content is gone. The
// caller has looked whose it is.
func DeleteContent(ctx context.Context, c client.Client, content *snapv1.VolumeSnapshotContent) error {
	err := releaseContent(ctx, c, content, true)
	if err == nil && content.DeletionTimestamp == nil {
		err = c.Delete(ctx, content, client.Preconditions{UID: &content.UID})
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete VolumeSnapshotContent %s: %w", content.Name, err)
	}
	return nil
}

// releaseContent lets the storage's snapshot go with its content. The sidecar may
// overlook a deletion that came while it was still cutting, until its resync a
// quarter of an hour later; a change of the content reminds it.
func releaseContent(ctx context.Context, c client.Client, content *snapv1.VolumeSnapshotContent, lost bool) error {
	annotations := map[string]any{api.DeletionAskedAnnotation: time.Now().UTC().Truncate(nudge).Format(time.RFC3339)}
	if lost {
		annotations[beingDeleted] = "yes"
	}
	return patchContent(ctx, c, content, map[string]any{
		"metadata": map[string]any{"annotations": annotations},
		"spec":     map[string]any{"deletionPolicy": snapv1.VolumeSnapshotContentDelete},
	})
}

// ForgetContent deletes a content that only points at a snapshot of the storage,
// which stays.
func ForgetContent(ctx context.Context, c client.Client, content *snapv1.VolumeSnapshotContent) error {
	err := patchContent(ctx, c, content, map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{beingDeleted: "yes"}},
		"spec":     map[string]any{"deletionPolicy": snapv1.VolumeSnapshotContentRetain},
	})
	if err == nil && content.DeletionTimestamp == nil {
		err = c.Delete(ctx, content, client.Preconditions{UID: &content.UID})
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete VolumeSnapshotContent %s: %w", content.Name, err)
	}
	return nil
}
