package ec2

import (
	"slices"
	"time"
)

// lock on a snapshot. The codes of what is refused are not documented by AWS.
type lock struct {
	mode    string // governance or compliance
	created time.Time
	days    int32
	until   time.Time // instead of days
	cool    int32     // hours
	coolEnd time.Time
}

// starts is when the duration begins: a pending snapshot's with its completion.
func (l *lock) starts(s *snapshot) time.Time {
	if s.done.After(l.created) {
		return s.done
	}
	return l.created
}

func (l *lock) expires(s *snapshot) time.Time {
	if !l.until.IsZero() {
		return l.until
	}
	return l.starts(s).AddDate(0, 0, int(l.days))
}

func (l *lock) holds(s *snapshot, now time.Time) bool { return now.Before(l.expires(s)) }

func (l *lock) state(s *snapshot, now time.Time) string {
	switch {
	case !l.holds(s, now):
		return "expired"
	case l.mode == "compliance" && now.Before(l.coolEnd):
		return "compliance-cooloff"
	}
	return l.mode
}

func (l *lock) write(a *answer, s *snapshot, now time.Time) {
	a.text("snapshotId", s.ID)
	a.text("lockState", l.state(s, now))
	a.number("lockDuration", l.duration(s))
	a.number("coolOffPeriod", l.cool)
	a.time("coolOffPeriodExpiresOn", l.coolEnd)
	a.time("lockCreatedOn", l.created)
	if s.state(now) != Pending {
		a.time("lockDurationStartTime", l.starts(s))
	}
	a.time("lockExpiresOn", l.expires(s))
}

func (l *lock) duration(s *snapshot) int32 {
	if l.days != 0 {
		return l.days
	}
	return int32(l.until.Sub(l.starts(s))/(24*time.Hour)) + 1 //nolint:gosec // at most 36500
}

func (c *Cloud) lockSnapshot(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, s, err := c.named(q)
	if err != nil {
		return err
	}
	now := c.time()
	l, err := q.lock(now)
	if err != nil {
		return err
	}
	if s.state(now) == Errored {
		return fail("IncorrectState", "The snapshot %s is in the error state.", id)
	}
	if old := s.lock; old != nil && old.holds(s, now) {
		if old.state(s, now) == "compliance" {
			switch {
			case l.mode != "compliance":
				return fail("IncorrectState", "The lock mode of %s can't be changed: it is locked in compliance mode.", id)
			case l.cool != 0:
				return fail("InvalidParameterCombination", "CoolOffPeriod can't be given for %s: its cooling-off period has lapsed.", id)
			case l.expires(s).Before(old.expires(s)):
				return fail("IncorrectState", "The lock of %s can only be extended: it is locked in compliance mode.", id)
			}
			l.cool, l.coolEnd = old.cool, old.coolEnd
		}
		l.created = old.created
	}
	s.lock = l
	l.write(a, s, now)
	return nil
}

// lock is what a request asks for.
func (q *request) lock(now time.Time) (*lock, error) {
	l := &lock{mode: q.get("LockMode"), created: now}
	if l.mode != "governance" && l.mode != "compliance" {
		return nil, fail("InvalidParameterValue", "Value (%s) for parameter LockMode is invalid.", l.mode)
	}
	var err error
	if l.days, err = q.number("LockDuration", 1, 36500); err != nil {
		return nil, err
	}
	if l.until, err = q.moment("ExpirationDate"); err != nil {
		return nil, err
	}
	if (l.days == 0) == l.until.IsZero() {
		return nil, fail("InvalidParameterCombination", "Either LockDuration or ExpirationDate must be specified.")
	}
	if !l.until.IsZero() && l.until.Before(now.AddDate(0, 0, 1)) {
		return nil, fail("InvalidParameterValue", "ExpirationDate must be at least one day ahead.")
	}
	if l.cool, err = q.number("CoolOffPeriod", 1, 72); err != nil {
		return nil, err
	}
	if l.cool != 0 {
		if l.mode != "compliance" {
			return nil, fail("InvalidParameterCombination", "CoolOffPeriod can only be given for compliance mode.")
		}
		l.coolEnd = now.Add(time.Duration(l.cool) * time.Hour)
	}
	return l, nil
}

func (c *Cloud) unlockSnapshot(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, s, err := c.named(q)
	if err != nil {
		return err
	}
	switch {
	case s.lock == nil || !s.lock.holds(s, c.time()):
		return fail("IncorrectState", "The snapshot %s is not locked.", id)
	case s.lock.state(s, c.time()) == "compliance":
		return fail("IncorrectState", "The snapshot %s is locked in compliance mode and can't be unlocked.", id)
	}
	s.lock = nil
	a.text("snapshotId", id)
	return nil
}

func (c *Cloud) describeLockedSnapshots(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fs, err := q.filters(map[string]bool{"lock-state": true})
	if err != nil {
		return err
	}
	ids, now := q.list("SnapshotId"), c.time()
	var found []*snapshot
	for _, id := range ids {
		if _, err := c.own(q, id); err != nil {
			return err
		}
	}
	for s := range q.region.snapshots.all() {
		if s.lock == nil || s.Account != q.who.account || (len(ids) > 0 && !slices.Contains(ids, s.ID)) {
			continue
		}
		if fs.match(func(string) []string { return []string{s.lock.state(s, now)} }, s.tags) {
			found = append(found, s)
		}
	}
	page, next, err := cut(q, found, func(s *snapshot) uint64 { return s.seq }, 5, 1000)
	if err != nil {
		return err
	}
	list(a, "snapshotSet", page, func(s *snapshot) { s.lock.write(a, s, now); a.text("ownerId", s.Account) })
	a.text("nextToken", next)
	return nil
}
