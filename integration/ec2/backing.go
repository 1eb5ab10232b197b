package ec2

import "context"

// Backing keeps the bytes of volumes and snapshots. It is called without the fake's
// lock held, while the client waits; an error is answered as InternalError and leaves
// nothing behind. Snapshot must hold the volume as it is at the time of the call.
type Backing interface {
	// Snapshot makes a snapshot of a volume's bytes.
	Snapshot(ctx context.Context, volumeID, snapshotID string) error
	// Copy makes a snapshot of another one's bytes.
	Copy(ctx context.Context, sourceID, snapshotID string) error
	// Volume makes a volume, of a snapshot's bytes if snapshotID is not empty.
	Volume(ctx context.Context, snapshotID, volumeID string, sizeGiB int32) error
	// DeleteSnapshot and DeleteVolume remove what is no longer there.
	DeleteSnapshot(ctx context.Context, snapshotID string) error
	DeleteVolume(ctx context.Context, volumeID string) error
}

// back calls the backing, if there is one.
func (c *Cloud) back(do func(Backing) error) error {
	if c.backing == nil {
		return nil
	}
	if err := do(c.backing); err != nil {
		return &Failure{Status: 500, Code: "InternalError", Message: "An internal error has occurred: " + err.Error()}
	}
	return nil
}
