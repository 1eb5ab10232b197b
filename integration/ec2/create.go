package ec2

import (
	"context"
	"slices"
	"time"
)

func (c *Cloud) createSnapshot(ctx context.Context, q *request, a *answer) error {
	id, err := q.must("VolumeId")
	if err != nil {
		return err
	}
	made, err := c.snap(ctx, q, func() ([]*volume, error) {
		v, err := c.volume(q, id)
		return []*volume{v}, err
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	made[0].write(a, c.time(), "status")
	return nil
}

// createSnapshots is of all volumes of an instance, but those excluded.
func (c *Cloud) createSnapshots(ctx context.Context, q *request, a *answer) error {
	id, err := q.must("InstanceSpecification.InstanceId")
	if err != nil {
		return err
	}
	copyTags := q.get("CopyTagsFromSource") == "volume"
	made, err := c.snap(ctx, q, func() (volumes []*volume, err error) {
		i := q.region.instances.get(id)
		if i == nil || i.Account != q.who.account {
			return nil, missing("instance", id)
		}
		excluded := q.list("InstanceSpecification.ExcludeDataVolumeId")
		for _, at := range i.Volumes {
			if at.Device == i.root() && q.is("InstanceSpecification.ExcludeBootVolume") {
				continue
			}
			if at.Device != i.root() && slices.Contains(excluded, at.VolumeID) {
				excluded = slices.DeleteFunc(excluded, func(v string) bool { return v == at.VolumeID })
				continue
			}
			v, err := c.volume(q, at.VolumeID)
			if err != nil {
				return nil, err
			}
			volumes = append(volumes, v)
		}
		if len(excluded) > 0 {
			return nil, fail("InvalidParameterValue", "Volume %s is not attached to the instance %s as a data volume", excluded[0], id)
		}
		if len(volumes) == 0 {
			return nil, fail("InvalidParameterValue", "No volumes to snapshot of the instance %s", id)
		}
		return volumes, nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if copyTags {
		for _, s := range made {
			if v := q.region.volumes.get(s.VolumeID); v != nil {
				if tags, err := withTags(v.tags, s.tags); err == nil {
					q.region.snapshots.retag(s, tags)
				}
			}
		}
	}
	list(a, "snapshotSet", made, func(s *snapshot) { s.write(a, c.time(), "state") })
	return nil
}

// snap makes snapshots of the volumes that which names: all or none, at one moment.
func (c *Cloud) snap(ctx context.Context, q *request, which func() ([]*volume, error)) ([]*snapshot, error) {
	tags, err := q.specified("snapshot")
	if err != nil {
		return nil, err
	}
	made, err := c.reserve(q, which, tags)
	if err != nil {
		return nil, err
	}
	for _, s := range made {
		if err = c.back(func(b Backing) error { return b.Snapshot(ctx, s.VolumeID, s.ID) }); err != nil {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		for _, s := range made {
			c.unpend(q, s)
		}
		return nil, err
	}
	for _, s := range made {
		c.snapshots[s.ID] = s
		q.region.snapshots.put(s)
	}
	return made, nil
}

// reserve checks the limits and counts the snapshots as pending.
func (c *Cloud) reserve(q *request, which func() ([]*volume, error), tags []Tag) (made []*snapshot, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	volumes, err := which()
	if err != nil {
		return nil, err
	}
	now := c.time()
	for _, v := range volumes {
		if err := c.limits(q, v, now, len(volumes)); err != nil {
			return nil, err
		}
	}
	for _, v := range volumes {
		v.snapped = now
		s := &snapshot{
			Snapshot: Snapshot{
				ID: c.id("snap"), Account: q.who.account, Region: q.region.name, VolumeID: v.ID, SizeGiB: v.SizeGiB,
				Description: q.get("Description"), Encrypted: v.Encrypted, KMSKeyID: v.KMSKeyID, Started: now,
			},
			seq: c.next(), tags: slices.Clone(tags), visible: now.Add(c.timing.Visible.pick(c.rand)),
			done: now.Add(c.timing.Snapshot.pick(c.rand)), ends: q.ends, why: "An internal error has occurred",
		}
		made = append(made, s)
		q.region.pending[q.who.account] = append(q.region.pending[q.who.account], s)
	}
	return made, nil
}

// limits are those of snapshots of volumes.
func (c *Cloud) limits(q *request, v *volume, now time.Time, more int) error {
	if st := v.state(now); st != Available && st != InUse {
		return fail("IncorrectState", "Volume '%s' is in the '%s' state.", v.ID, st)
	}
	if z := c.quotas.PerVolume; z > 0 && !v.snapped.IsZero() && now.Sub(v.snapped) < z {
		return fail("SnapshotCreationPerVolumeRateExceeded", "The maximum per volume CreateSnapshot request rate has been exceeded. Use an increasing or variable sleep interval between requests.")
	}
	pending := c.pendingOf(q, now)
	if most := c.quotas.PendingPerVolume[v.Type]; most > 0 {
		n := 0
		for _, s := range pending {
			if s.VolumeID == v.ID {
				n++
			}
		}
		if n >= most {
			return fail("ConcurrentSnapshotLimitExceeded", "Maximum allowed in-progress snapshots for a single volume exceeded.")
		}
	}
	own := 0
	for _, s := range pending {
		if s.VolumeID != copiedVolume {
			own++
		}
	}
	if most := c.quotas.Pending; most > 0 && own+more > most {
		return fail("PendingSnapshotLimitExceeded", "The limit on the number of pending snapshots, %d, has been exceeded.", most)
	}
	return c.room(q, more)
}

// room is whether the account may have more snapshots.
func (c *Cloud) room(q *request, more int) error {
	if most := c.quotas.Snapshots; most > 0 && q.region.snapshots.count[q.who.account]+more > most {
		return fail("SnapshotLimitExceeded", "The maximum number of snapshots, %d, has been reached.", most)
	}
	return nil
}

// pendingOf are the account's snapshots that are not done, those deleted meanwhile
// among them: they count until they would have been done.
func (c *Cloud) pendingOf(q *request, now time.Time) []*snapshot {
	left := slices.DeleteFunc(q.region.pending[q.who.account], func(s *snapshot) bool {
		return s.state(now) != Pending || (s.gone && s.ends == "never")
	})
	q.region.pending[q.who.account] = left
	return left
}

func (c *Cloud) unpend(q *request, s *snapshot) {
	q.region.pending[q.who.account] = slices.DeleteFunc(q.region.pending[q.who.account], func(p *snapshot) bool { return p == s })
}

func (c *Cloud) deleteSnapshot(ctx context.Context, q *request, a *answer) error {
	id, err := q.must("SnapshotId")
	if err != nil {
		return err
	}
	if err := c.remove(q, id); err != nil {
		return err
	}
	a.ok()
	return c.back(func(b Backing) error { return b.DeleteSnapshot(ctx, id) })
}

func (c *Cloud) remove(q *request, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.find(q, id)
	if err != nil {
		return err
	}
	if s.Account != q.who.account {
		return fail("UnauthorizedOperation", "You are not authorized to perform this operation.")
	}
	if s.lock != nil && s.lock.holds(s, c.time()) {
		// AWS documents that it is refused, not with which code.
		return fail("SnapshotLocked", "The snapshot %s is locked and can't be deleted.", id)
	}
	delete(c.snapshots, id)
	q.region.snapshots.drop(s)
	for _, f := range slices.Clone(q.region.fast.rows) {
		if f.snapshot == id {
			q.region.fast.drop(f.key())
		}
	}
	return nil
}
