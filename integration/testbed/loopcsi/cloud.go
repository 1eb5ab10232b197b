package loopcsi

import (
	"context"
	"fmt"
	"time"

	"github.com/medic/cht-backup/integration/testbed/mounts"
)

// Storage is a driver's pool as the cloud behind it sees it, which makes and deletes
// volumes without the driver being asked. The driver may run meanwhile.
type Storage struct{ pool *pool }

// OpenStorage gives the storage in a driver's pool directory.
func OpenStorage(dir string) *Storage { return &Storage{pool: &pool{dir: dir, ids: cloudID}} }

// Snapshot cuts a volume.
func (s *Storage) Snapshot(_ context.Context, volume, snapshot string) error {
	var v Volume
	if err := s.find(volumes, volume, &v); err != nil {
		return err
	}
	return s.cut(Snapshot{ID: snapshot, Name: snapshot, Source: volume, Bytes: v.Bytes}, s.pool.image(volumes, volume))
}

// Copy makes a snapshot of a snapshot.
func (s *Storage) Copy(_ context.Context, source, snapshot string) error {
	var from Snapshot
	if err := s.find(snapshots, source, &from); err != nil {
		return err
	}
	return s.cut(Snapshot{ID: snapshot, Name: snapshot, Source: from.Source, Bytes: from.Bytes}, s.pool.image(snapshots, source))
}

func (s *Storage) cut(made Snapshot, image string) (err error) {
	if made.CutBegan, made.Cut, err = s.pool.create(snapshots, made.ID, made.Bytes, image); err != nil {
		return err
	}
	made.ReadyAt = made.Cut
	return s.pool.store(snapshots, made.ID, made)
}

// Volume makes a volume, of a snapshot if that is not empty, of at least its size.
func (s *Storage) Volume(_ context.Context, snapshot, volume string, bytes int64) error {
	v, image, least := Volume{ID: volume, Name: volume, FromSnap: snapshot}, "", int64(0)
	if snapshot != "" {
		var from Snapshot
		if err := s.find(snapshots, snapshot, &from); err != nil {
			return err
		}
		if time.Now().Before(from.ReadyAt) {
			return fmt.Errorf("snapshot %s is not ready before %s", snapshot, from.ReadyAt)
		}
		image, least = s.pool.image(snapshots, snapshot), from.Bytes
	}
	v.Bytes = max(bytes, least)
	v.Grow = image != "" && v.Bytes > least
	if _, _, err := s.pool.create(volumes, volume, v.Bytes, image); err != nil {
		return err
	}
	return s.pool.store(volumes, volume, v)
}

// DeleteSnapshot forgets a snapshot. That it is gone is no error.
func (s *Storage) DeleteSnapshot(_ context.Context, snapshot string) error {
	return s.pool.remove(snapshots, snapshot)
}

// DeleteVolume forgets a volume, unless it is attached. That it is gone is no error.
func (s *Storage) DeleteVolume(_ context.Context, volume string) error {
	attached, err := mounts.Loops(s.pool.image(volumes, volume))
	if err != nil {
		return err
	}
	if len(attached) > 0 {
		return fmt.Errorf("volume %s is attached", volume)
	}
	return s.pool.remove(volumes, volume)
}

func (s *Storage) find(kind, id string, out any) error {
	found, err := s.pool.load(kind, id, out)
	if err == nil && !found {
		err = fmt.Errorf("there is no %s in %s", id, kind)
	}
	return err
}
