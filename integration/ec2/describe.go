package ec2

import (
	"slices"
	"strconv"
)

var snapshotFilters = map[string]bool{
	"description": true, "encrypted": true, "owner-alias": true, "owner-id": true, "progress": true, "snapshot-id": true, "start-time": true,
	"status": true, "storage-tier": true, "transfer-type": true, "volume-id": true, "volume-size": true,
}

func (c *Cloud) describeSnapshots(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fs, err := q.filters(snapshotFilters)
	if err != nil {
		return err
	}
	ids := q.list("SnapshotId")
	if len(ids) > 0 && (q.get("MaxResults") != "" || q.get("NextToken") != "") {
		return fail("InvalidParameterCombination", "The parameter snapshotSet cannot be used with the parameter maxResults")
	}
	w, err := q.window(5, 1000)
	if err != nil {
		return err
	}
	var from []*snapshot
	for _, id := range ids {
		s, err := c.find(q, id)
		if err != nil {
			return err
		}
		from = append(from, s)
	}
	if len(ids) == 0 {
		from = q.region.snapshots.rows
		if w.most == 0 || c.fullPages {
			from = q.region.snapshots.candidates(fs)
		}
		after, _ := slices.BinarySearchFunc(from, w.after+1, func(s *snapshot, seq uint64) int { return compare(s.seq, seq) })
		from = from[after:]
	}
	page, next := c.passing(q, from, fs, w, len(ids) == 0 && !c.fullPages)
	now := c.time()
	list(a, "snapshotSet", page, func(s *snapshot) { s.write(a, now, "status") })
	a.text("nextToken", next)
	return nil
}

// passing are the first that the caller may see and asks for. A sparse page counts
// what it looked through, whatever the filters let pass of it.
func (c *Cloud) passing(q *request, from []*snapshot, fs filters, w window, sparse bool) (page []*snapshot, next string) {
	owners, restorable := q.list("Owner"), q.list("RestorableBy")
	now := c.time()
	looked, last := 0, uint64(0)
	for _, s := range from {
		if s.gone || now.Before(s.visible) || !s.readable(q.who.account) || !owned(s, q.who.account, owners) {
			continue
		}
		if len(restorable) > 0 && !slices.ContainsFunc(restorable, func(by string) bool {
			return (by == "self" && s.readable(q.who.account)) || (by == "all" && s.public) || slices.Contains(s.shared, by) || s.Account == by
		}) {
			continue
		}
		if w.most > 0 && looked == w.most {
			return page, w.token(last)
		}
		passes := fs.match(func(name string) []string { return s.attribute(name, c) }, s.tags)
		if passes || sparse {
			looked, last = looked+1, s.seq
		}
		if passes {
			page = append(page, s)
		}
	}
	return page, ""
}

func owned(s *snapshot, account string, owners []string) bool {
	if len(owners) == 0 {
		return true
	}
	return slices.ContainsFunc(owners, func(o string) bool { return o == s.Account || (o == "self" && s.Account == account) })
}

// attribute gives what a filter looks at.
func (s *snapshot) attribute(name string, c *Cloud) []string {
	switch name {
	case "description":
		return []string{s.Description}
	case "encrypted":
		return []string{strconv.FormatBool(s.Encrypted)}
	case "owner-id":
		return []string{s.Account}
	case "progress":
		return []string{s.progress(c.time())}
	case "snapshot-id":
		return []string{s.ID}
	case "start-time":
		return []string{s.Started.Format("2006-01-02T15:04:05.000Z")}
	case "status":
		return []string{s.state(c.time())}
	case "storage-tier":
		return []string{s.tierAt(c.time())}
	case "transfer-type":
		switch {
		case s.Minutes != 0:
			return []string{"time-based"}
		case s.VolumeID == copiedVolume:
			return []string{"standard"}
		}
	case "volume-id":
		return []string{s.VolumeID}
	case "volume-size":
		return []string{strconv.Itoa(int(s.SizeGiB))}
	}
	return nil
}
