package snapshot

import (
	"context"
	"fmt"
	"slices"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/paged"
)

// neededAgain is how soon it is looked again whether a restore has ended.
const neededAgain = 10 * time.Second

// neededBy names a restore that reads the files of a backup, "" for none. A snapshot
// is kept by its driver until the volumes that are made of it are there; nobody keeps
// what is in a bucket, and volumes are filled from it for hours.
func (r *Reconciler) neededBy(ctx context.Context, b *api.Backup) (string, error) {
	if !slices.ContainsFunc(b.Status.Volumes, func(v api.VolumeStatus) bool { return v.File != nil }) {
		return "", nil
	}
	for page, err := range paged.Pages(ctx, r.Client, &api.RestoreList{}) {
		if err != nil {
			return "", fmt.Errorf("list restores, to see whether one reads the files of backup %s/%s: %w", b.Namespace, b.Name, err)
		}
		for i := range page.Items {
			if one := &page.Items[i]; reads(one, b) {
				return fmt.Sprintf("%s/%s (%s)", one.Namespace, one.Name, one.Status.Phase), nil
			}
		}
	}
	return "", nil
}

// reads tells whether a restore may still need what a backup has: its files, and to
// its end its record. One that goes back, or is itself deleted, does not. The UID is
// noted when the record is found, before anything is made.
func reads(restore *api.Restore, b *api.Backup) bool {
	switch restore.Status.Phase {
	case api.PhaseRollingBack, api.PhaseExpiring, api.PhaseTearingDown:
		return false
	}
	return b.UID != "" && restore.Status.BackupUID == b.UID && restore.DeletionTimestamp == nil && !Idle(restore.Status.Phase)
}
