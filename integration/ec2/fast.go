package ec2

import (
	"slices"
	"time"
)

// fastRestore is a snapshot's in one zone.
type fastRestore struct {
	snapshot, zone, owner string
	seq                   uint64
	began                 time.Time
	enable, optimize      time.Duration
	ended                 time.Time // disabled then
}

func (f *fastRestore) key() string { return f.snapshot + "/" + f.zone }

func (f *fastRestore) state(now time.Time) string {
	switch {
	case !f.ended.IsZero() && now.Before(f.ended.Add(f.enable)):
		return "disabling"
	case !f.ended.IsZero():
		return "disabled"
	case now.Before(f.began.Add(f.enable)):
		return "enabling"
	case now.Before(f.began.Add(f.enable + f.optimize)):
		return "optimizing"
	}
	return "enabled"
}

func (f *fastRestore) write(a *answer, now time.Time) {
	a.text("snapshotId", f.snapshot)
	a.text("availabilityZone", f.zone)
	a.text("availabilityZoneId", zoneID(f.zone))
	a.text("state", f.state(now))
	a.text("stateTransitionReason", "Client.UserInitiated")
	a.text("ownerId", f.owner)
	a.time("enablingTime", f.began)
	if at := f.began.Add(f.enable); !now.Before(at) {
		a.time("optimizingTime", at)
	}
	if at := f.began.Add(f.enable + f.optimize); !now.Before(at) {
		a.time("enabledTime", at)
	}
	a.time("disablingTime", f.ended)
	if !f.ended.IsZero() && f.state(now) == "disabled" {
		a.time("disabledTime", f.ended.Add(f.enable))
	}
}

// refusal is why one pair could not be changed. AWS documents no codes for them.
type refusal struct {
	snapshot, zone string
	err            *Failure
}

func writeRefusals(a *answer, refused []refusal) {
	list(a, "unsuccessful", refused, func(r refusal) {
		a.text("snapshotId", r.snapshot)
		list(a, "fastSnapshotRestoreStateErrorSet", []refusal{r}, func(r refusal) {
			a.text("availabilityZone", r.zone)
			a.text("availabilityZoneId", zoneID(r.zone))
			a.in("error", func() { a.text("code", r.err.Code); a.text("message", r.err.Message) })
		})
	})
}

// pairs are the snapshots and zones of a request.
func (q *request) pairs() (snapshots, zones []string, err error) {
	snapshots, zones = q.list("SourceSnapshotId"), q.list("AvailabilityZone")
	for _, id := range q.list("AvailabilityZoneId") {
		for _, z := range q.region.zones {
			if zoneID(z) == id {
				zones = append(zones, z)
			}
		}
	}
	switch {
	case len(snapshots) == 0:
		return nil, nil, fail("MissingParameter", "The request must contain the parameter SourceSnapshotId")
	case len(snapshots) > 10:
		return nil, nil, fail("InvalidParameterValue", "At most 10 snapshots can be given in one request.")
	case len(zones) == 0:
		return nil, nil, fail("MissingParameter", "The request must contain the parameter AvailabilityZone")
	}
	for _, z := range zones {
		if !slices.Contains(q.region.zones, z) {
			return nil, nil, fail("InvalidParameterValue", "Invalid availability zone: [%s]", z)
		}
	}
	return snapshots, zones, nil
}

func (c *Cloud) enableFastRestores(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	snapshots, zones, err := q.pairs()
	if err != nil {
		return err
	}
	var done []*fastRestore
	var refused []refusal
	for _, id := range snapshots {
		for _, zone := range zones {
			f, err := c.enableFast(q, id, zone)
			if err != nil {
				refused = append(refused, refusal{id, zone, err})
				continue
			}
			done = append(done, f)
		}
	}
	list(a, "successful", done, func(f *fastRestore) { f.write(a, c.time()) })
	writeRefusals(a, refused)
	return nil
}

func (c *Cloud) enableFast(q *request, id, zone string) (*fastRestore, *Failure) {
	now := c.time()
	s := c.snapshots[id]
	switch {
	case s == nil || s.Region != q.region.name || !s.readable(q.who.account):
		return nil, missing("snapshot", id)
	case s.state(now) != Completed:
		return nil, fail("IncorrectState", "The snapshot %s is not completed.", id)
	case s.tierAt(now) == archive:
		return nil, fail("IncorrectState", "The snapshot %s is in the archive tier.", id)
	}
	enabled := map[string]bool{}
	for _, f := range q.region.fast.rows {
		if f.ended.IsZero() && f.owner == q.who.account {
			enabled[f.snapshot] = true
		}
	}
	f := q.region.fast.get(id + "/" + zone)
	if f != nil && f.ended.IsZero() {
		return f, nil
	}
	if most := c.quotas.FastRestores; most > 0 && !enabled[id] && len(enabled) >= most {
		return nil, fail("FastSnapshotRestoreLimitExceeded", "The maximum number of snapshots with fast snapshot restore, %d, has been reached.", most)
	}
	q.region.fast.drop(id + "/" + zone)
	f = &fastRestore{
		snapshot: id, zone: zone, owner: q.who.account, seq: c.next(), began: now,
		enable: c.timing.Enable.pick(c.rand), optimize: c.timing.Optimize.pick(c.rand),
	}
	q.region.fast.put(f)
	return f, nil
}

func (c *Cloud) disableFastRestores(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	snapshots, zones, err := q.pairs()
	if err != nil {
		return err
	}
	var done []*fastRestore
	var refused []refusal
	for _, id := range snapshots {
		for _, zone := range zones {
			f := q.region.fast.get(id + "/" + zone)
			if f == nil || !f.ended.IsZero() || f.owner != q.who.account {
				refused = append(refused, refusal{id, zone, fail("IncorrectState", "Fast snapshot restore is not enabled for %s in %s.", id, zone)})
				continue
			}
			f.ended = c.time()
			done = append(done, f)
		}
	}
	list(a, "successful", done, func(f *fastRestore) { f.write(a, c.time()) })
	writeRefusals(a, refused)
	return nil
}

func (c *Cloud) describeFastRestores(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fs, err := q.filters(map[string]bool{"availability-zone": true, "availability-zone-id": true, "owner-id": true, "snapshot-id": true, "state": true})
	if err != nil {
		return err
	}
	now := c.time()
	var found []*fastRestore
	for _, f := range q.region.fast.rows {
		if f.owner == q.who.account && fs.match(func(name string) []string {
			return []string{map[string]string{
				"availability-zone": f.zone, "availability-zone-id": zoneID(f.zone), "owner-id": f.owner, "snapshot-id": f.snapshot, "state": f.state(now),
			}[name]}
		}, nil) {
			found = append(found, f)
		}
	}
	page, next, err := cut(q, found, func(f *fastRestore) uint64 { return f.seq }, 0, 200)
	if err != nil {
		return err
	}
	list(a, "fastSnapshotRestoreSet", page, func(f *fastRestore) { f.write(a, now) })
	a.text("nextToken", next)
	return nil
}
