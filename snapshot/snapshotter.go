package snapshot

import (
	"context"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
)

// Snapshotter cuts volumes on one kind of storage.
type Snapshotter interface {
	// Prepare does all that a cut needs and that can be done before the quiesce:
	// it refuses volumes that it cannot cut. cut then fixes the point in time of
	// all volumes at once and returns; done frees what Prepare opened.
	Prepare(ctx context.Context, b *api.Backup, nodes []cht.Node) (cut func(context.Context) ([]api.VolumeStatus, error), done func(), err error)
	// Refresh brings a cut volume's status up to date.
	Refresh(ctx context.Context, v *api.VolumeStatus) error
	// Mark writes on a cut whose it is, so that it is found by that.
	Mark(ctx context.Context, b *api.Backup, v *api.VolumeStatus) error
	// Keep makes a cut outlive the namespace it was taken in, and marks it.
	Keep(ctx context.Context, b *api.Backup, v *api.VolumeStatus) error
	// Discard removes what the backup has in the storage and tells how much of it
	// is still there.
	Discard(ctx context.Context, b *api.Backup) (left int, err error)
}
