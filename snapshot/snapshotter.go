package snapshot

import (
	"context"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/cut"
)

// Snapshotter cuts volumes on one kind of storage, or on several.
type Snapshotter interface {
	// Prepare does all that a cut needs and that can be done before the quiesce:
	// it refuses volumes that it cannot cut.
	Prepare(ctx context.Context, b *api.Backup, nodes []cht.Node) (cut.Prepared, error)
	// Refresh brings the status of cut volumes up to date.
	Refresh(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error
	// Mark writes on cuts whose they are, so that they are found by that. It is called
	// once it is known that the set is a good one.
	Mark(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error
	// Keep makes cuts outlive the namespace they were taken in, and marks them. The
	// error of one that is gone bears a reason, or is that of an object not found.
	Keep(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error
	// Discard removes what the backup has in the storage and tells how much of it
	// is still there. It knows of an attempt what stands in the status, which may be
	// no more than what was to be cut.
	Discard(ctx context.Context, b *api.Backup) (left int, err error)
}
