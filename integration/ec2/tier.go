package ec2

import (
	"fmt"
	"slices"
	"time"
)

const (
	archive  = "archive"
	standard = "standard"
)

// tier is a snapshot's storage tier and the last move between tiers.
type tier struct {
	moved     bool
	from, to  string
	began     time.Time
	done      time.Time
	temporary bool
	until     time.Time // of a temporary restore
}

// tierAt is where it lies.
func (s *snapshot) tierAt(now time.Time) string {
	t := s.tier
	switch {
	case !t.moved:
		return standard
	case now.Before(t.done):
		return t.from
	case t.temporary && !now.Before(t.until):
		return archive
	}
	return t.to
}

func (t tier) moving(now time.Time) bool { return t.moved && now.Before(t.done) }

// status is the last move as DescribeSnapshotTierStatus names it.
func (t tier) status(now time.Time) string {
	kind := "archival"
	switch {
	case t.to == standard && t.temporary:
		kind = "temporary-restore"
	case t.to == standard:
		kind = "permanent-restore"
	}
	if t.moving(now) {
		return kind + "-in-progress"
	}
	return kind + "-completed"
}

// movable is one of the caller's snapshots that no move is under way of, in a tier.
func (c *Cloud) movable(q *request, in string) (*snapshot, error) {
	id, err := q.must("SnapshotId")
	if err != nil {
		return nil, err
	}
	s, err := c.own(q, id)
	if err != nil {
		return nil, err
	}
	now := c.time()
	switch {
	case s.state(now) != Completed:
		return nil, fail("IncorrectState", "The snapshot %s is not completed.", id)
	case s.tier.moving(now):
		return nil, fail("IncorrectState", "The snapshot %s is being moved between tiers.", id)
	case s.tierAt(now) != in:
		return nil, fail("IncorrectState", "The snapshot %s is not in the %s tier.", id, in)
	}
	return s, nil
}

// underWay counts the account's moves to a tier.
func (c *Cloud) underWay(q *request, to string) (n int) {
	for s := range q.region.snapshots.all() {
		if s.Account == q.who.account && s.tier.moving(c.time()) && s.tier.to == to {
			n++
		}
	}
	return n
}

func (c *Cloud) modifySnapshotTier(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to := q.get("StorageTier"); to != "" && to != archive {
		return fail("InvalidParameterValue", "Value (%s) for parameter StorageTier is invalid.", to)
	}
	s, err := c.movable(q, standard)
	if err != nil {
		return err
	}
	now := c.time()
	if slices.ContainsFunc(q.region.fast.rows, func(f *fastRestore) bool { return f.snapshot == s.ID && f.ended.IsZero() }) {
		return fail("IncorrectState", "The snapshot %s has fast snapshot restore enabled.", s.ID)
	}
	if most := c.quotas.Archives; most > 0 && c.underWay(q, archive) >= most {
		return fail("ResourceLimitExceeded", "The limit of %d snapshots being archived has been reached.", most)
	}
	s.tier = tier{moved: true, from: standard, to: archive, began: now, done: now.Add(c.timing.Archive.pick(c.rand))}
	a.text("snapshotId", s.ID)
	a.time("tieringStartTime", now)
	return nil
}

func (c *Cloud) restoreSnapshotTier(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	days, err := q.number("TemporaryRestoreDays", 1, 180)
	if err != nil {
		return err
	}
	if (days != 0) == q.is("PermanentRestore") {
		return fail("InvalidParameterCombination", "Either PermanentRestore or TemporaryRestoreDays must be specified.")
	}
	s, err := c.movable(q, archive)
	if err != nil {
		return err
	}
	if most := c.quotas.Unarchives; most > 0 && c.underWay(q, standard) >= most {
		return fail("ResourceLimitExceeded", "The limit of %d snapshots being restored from the archive has been reached.", most)
	}
	now := c.time()
	t := tier{moved: true, from: archive, to: standard, began: now, done: now.Add(c.timing.Unarchive.pick(c.rand)), temporary: days != 0}
	if t.temporary {
		t.until = t.done.AddDate(0, 0, int(days))
	}
	s.tier = t
	a.text("snapshotId", s.ID)
	a.time("restoreStartTime", now)
	a.number("restoreDuration", days)
	a.boolean("isPermanentRestore", !t.temporary)
	return nil
}

func (c *Cloud) describeSnapshotTierStatus(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fs, err := q.filters(map[string]bool{"snapshot-id": true, "volume-id": true, "last-tiering-operation": true})
	if err != nil {
		return err
	}
	now := c.time()
	var found []*snapshot
	for s := range q.region.snapshots.all() {
		if s.Account == q.who.account && s.tier.moved && fs.match(func(name string) []string {
			return []string{map[string]string{"snapshot-id": s.ID, "volume-id": s.VolumeID, "last-tiering-operation": s.tier.status(now)}[name]}
		}, s.tags) {
			found = append(found, s)
		}
	}
	page, next, err := cut(q, found, func(s *snapshot) uint64 { return s.seq }, 5, 1000)
	if err != nil {
		return err
	}
	list(a, "snapshotTierStatusSet", page, func(s *snapshot) {
		a.text("snapshotId", s.ID)
		a.text("volumeId", s.VolumeID)
		a.text("ownerId", s.Account)
		a.text("status", s.state(now))
		a.text("storageTier", s.tierAt(now))
		a.time("lastTieringStartTime", s.tier.began)
		a.text("lastTieringOperationStatus", s.tier.status(now))
		if s.tier.moving(now) {
			a.text("lastTieringProgress", fmt.Sprint(int(100*now.Sub(s.tier.began)/max(1, s.tier.done.Sub(s.tier.began)))))
		} else {
			a.text("lastTieringProgress", "100")
		}
		if s.tier.to == archive && !s.tier.moving(now) {
			a.time("archivalCompleteTime", s.tier.done)
		}
		a.time("restoreExpiryTime", s.tier.until)
		a.tags(s.tags)
	})
	a.text("nextToken", next)
	return nil
}
