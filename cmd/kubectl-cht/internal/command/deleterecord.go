package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/csi"
	"github.com/medic/cht-backup/snapshot/paged"
)

// stillThere is how soon the storage is looked at again.
const stillThere = time.Second

// deleteRecord removes what is left of a backup whose object is gone: the snapshots
// in the storage, and then the record, which names them until then.
func (e *Env) deleteRecord(ctx context.Context, c client.Client, head catalog.Head, d deletion) error {
	what := head.Namespace + "/" + head.Name
	if err := e.unused(ctx, c, head); err != nil {
		return err
	}
	if head.ImportedFrom != "" {
		return e.forgetImported(ctx, c, head, d)
	}
	contents, err := contentsOf(ctx, c, head)
	if err != nil {
		return exit.Explain("look for the snapshots of backup "+what, err)
	}
	byEBS, err := e.cutByEBS(ctx, c, head)
	if err != nil {
		return err
	}
	all := handles(contents, byEBS)
	if !d.yes {
		if err := e.confirm(ctx, head.Namespace, head.Name, fmt.Sprintf("Of backup %s (cut %s) only the record is left. This deletes its snapshots (%s) and the record for good.",
			what, head.CutTime, all)); err != nil {
			return err
		}
	}
	e.tellLost(ctx, c, head, contents)
	bounded, cancel := bound(ctx, d.timeout)
	defer cancel()
	if err := deleteContents(bounded, c, head); err != nil {
		if ctx.Err() == nil && bounded.Err() != nil {
			return exit.Errorf(exit.TimedOut, "the storage still has snapshots of backup %s after %s; its record is kept until they are gone. Run this again, and see `kubectl describe volumesnapshotcontent -l %s=%s`",
				what, d.timeout, api.BackupUIDLabel, head.UID)
		}
		if ctx.Err() != nil {
			return exit.Errorf(exit.Interrupted, "interrupted; what was deleted of backup %s is gone, run this again to delete the rest", what)
		}
		return exit.Explain("delete the snapshots of backup "+what, err)
	}
	if err := e.deleteEBS(bounded, byEBS); err != nil {
		return err
	}
	if err := e.records(c).Delete(ctx, head.UID); err != nil {
		return exit.Explain("the snapshots of backup "+what+" are deleted, its record is not; run this again: delete the record", err)
	}
	return writeLines(e.Out, []string{fmt.Sprintf("backup %s: its snapshots (%s) and its record are deleted", what, all)})
}

// unused refuses while a restore reads that backup.
func (e *Env) unused(ctx context.Context, c client.Client, head catalog.Head) error {
	var restores api.RestoreList
	err := paged.All(ctx, c, &restores)
	if apierrors.IsForbidden(err) {
		e.note("whether a restore of it is under way was not looked at: you may not list the restores of all namespaces")
		return nil
	} else if err != nil {
		return exit.Explain("list restores", err)
	}
	for i := range restores.Items {
		if r := &restores.Items[i]; r.Status.BackupUID == head.UID && !snapshot.Idle(r.Status.Phase) {
			return exit.Errorf(exit.Refused, "restore %s/%s of backup %s/%s is under way (%s); wait until it has ended, then delete the backup", r.Namespace, r.Name, head.Namespace, head.Name, r.Status.Phase)
		}
	}
	return nil
}

// contentsOf gives the contents that were made for that backup, by what they are
// bound to: those of an older version bear no label.
func contentsOf(ctx context.Context, c client.Client, head catalog.Head) (found []snapv1.VolumeSnapshotContent, err error) {
	err = paged.Each(ctx, c, &snapv1.VolumeSnapshotContentList{}, func(page *snapv1.VolumeSnapshotContentList) {
		for i := range page.Items {
			if csi.Owned(&page.Items[i], head.Namespace, head.Name, head.UID) {
				found = append(found, page.Items[i])
			}
		}
	})
	if meta.IsNoMatchError(err) && head.EBS {
		return nil, nil // a cluster without the kind, whose volumes are all EBS
	} else if meta.IsNoMatchError(err) {
		return nil, exit.Errorf(exit.Refused, "this cluster does not know VolumeSnapshotContents; install the snapshot controller's CRDs, or delete the snapshots in the storage and then secret %s", head.Secret)
	}
	return found, err
}

// deleteContents returns when the storage has let go of all of them.
func deleteContents(ctx context.Context, c client.Client, head catalog.Head) error {
	for {
		// A VolumeSnapshot may still be there, on its way out with its Backup.
		var snapshots snapv1.VolumeSnapshotList
		err := c.List(ctx, &snapshots, client.InNamespace(head.Namespace), client.MatchingLabels{api.BackupUIDLabel: string(head.UID)})
		unknown := head.EBS && meta.IsNoMatchError(err)
		if err != nil && !apierrors.IsForbidden(err) && !unknown {
			return err
		}
		for i := range snapshots.Items {
			if s := &snapshots.Items[i]; s.DeletionTimestamp == nil && csi.OwnedSnapshot(s, head.Namespace, head.Name, head.UID) {
				if err := c.Delete(ctx, s, client.Preconditions{UID: &s.UID}); client.IgnoreNotFound(err) != nil {
					return fmt.Errorf("delete VolumeSnapshot %s/%s: %w", s.Namespace, s.Name, err)
				}
			}
		}
		contents, err := contentsOf(ctx, c, head)
		if err != nil || len(contents) == 0 {
			return err
		}
		for i := range contents {
			if err := csi.DeleteContent(ctx, c, &contents[i]); err != nil {
				return err
			}
		}
		if contents, err = contentsOf(ctx, c, head); err != nil || len(contents) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(stillThere):
		}
	}
}

func handles(contents []snapv1.VolumeSnapshotContent, byEBS *api.Backup) string {
	var all []string
	if byEBS != nil {
		for _, v := range byEBS.Status.Volumes {
			all = append(all, v.Handle+" in "+v.EBS.Region)
		}
	}
	for _, content := range contents {
		if content.Status != nil && content.Status.SnapshotHandle != nil {
			all = append(all, *content.Status.SnapshotHandle)
		} else {
			all = append(all, content.Name)
		}
	}
	if len(all) == 0 {
		return "none that the cluster knows"
	}
	return strings.Join(all, ", ")
}

// tellLost names what the record knows and the cluster does not: the storage may
// have it all the same.
func (e *Env) tellLost(ctx context.Context, c client.Client, head catalog.Head, contents []snapv1.VolumeSnapshotContent) {
	record, err := e.records(c).Get(ctx, head.Secret)
	if err != nil {
		e.note("what the record names could not be compared with what is deleted: %v", err)
		return
	}
	there := map[string]bool{}
	for _, content := range contents {
		there[content.Name] = true
	}
	for _, n := range record.Nodes {
		if n.SnapshotContent != "" && !there[n.SnapshotContent] {
			e.note("snapshot %s of %s has no VolumeSnapshotContent any more; if the storage (driver %s) still has it, delete it there", n.SnapshotHandle, n.Service, n.Driver)
		}
	}
}
