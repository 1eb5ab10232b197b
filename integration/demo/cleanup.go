package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
)

const cleanWithin = 5 * time.Minute

func recordSelector(namespace string) string { return api.SourceNamespaceLabel + "=" + namespace }

// cleanUp removes all that the run made, also in the storage.
func (r *run) cleanUp(ctx context.Context) error {
	if r.cfg.keep {
		r.s.head("Kept for a look", "")
		for _, line := range r.keptLines() {
			r.s.line("%s", line)
		}
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cleanWithin, errors.New("not gone after "+cleanWithin.String()))
	defer cancel()
	start := time.Now()
	// The Backups first, where they are still there: with their namespace they would
	// keep their snapshots.
	var err error
	for _, name := range []string{backupName, firstBackup} {
		err = errors.Join(err, r.deleteBackup(ctx, name))
	}
	for _, namespace := range []string{r.target.Namespace, r.source.Namespace} {
		err = errors.Join(err, r.c.DeleteNamespace(ctx, namespace))
	}
	if err := errors.Join(err, r.uninstall(ctx), r.deleteKept(ctx)); err != nil {
		return err
	}
	r.s.line("%s", r.s.paint(faint, "cleaned up: namespaces, backups, records and snapshots are gone"+took(start)))
	return nil
}

func (r *run) deleteBackup(ctx context.Context, name string) error {
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: r.source.Namespace, Name: name}}
	if err := r.c.Client.Delete(ctx, b); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("delete backup %s/%s: %w", b.Namespace, b.Name, err)
	}
	var list api.BackupList
	return await.List(ctx, r.c.Client, &list, func() (string, error) {
		if len(list.Items) > 0 {
			return fmt.Sprintf("the end of backup %s/%s", b.Namespace, b.Name), nil
		}
		return "", nil
	}, client.InNamespace(b.Namespace), client.MatchingFields{"metadata.name": b.Name})
}

// deleteKept removes what a deleted namespace leaves of its backup.
func (r *run) deleteKept(ctx context.Context) error {
	contents, _, err := r.kept(ctx)
	if err != nil {
		return err
	}
	for i := range contents {
		// The annotation is what makes the snapshotter delete also in the storage
		// when the VolumeSnapshot is gone already.
		patch := []byte(`{"metadata":{"annotations":{"snapshot.storage.kubernetes.io/volumesnapshot-being-deleted":"yes"}},"spec":{"deletionPolicy":"Delete"}}`)
		err := r.c.Client.Patch(ctx, &contents[i], client.RawPatch(types.MergePatchType, patch))
		if err == nil {
			err = r.c.Client.Delete(ctx, &contents[i])
		}
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete VolumeSnapshotContent %s: %w", contents[i].Name, err)
		}
	}
	var list snapv1.VolumeSnapshotContentList
	return await.List(ctx, r.c.Client, &list, func() (string, error) {
		for _, one := range list.Items {
			if one.Spec.VolumeSnapshotRef.Namespace == r.source.Namespace {
				return "the end of VolumeSnapshotContent " + one.Name, nil
			}
		}
		return "", nil
	})
}
