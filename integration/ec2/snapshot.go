package ec2

import (
	"fmt"
	"slices"
	"time"
)

// States of snapshots and volumes.
const (
	Pending   = "pending"
	Completed = "completed"
	Errored   = "error"
	Creating  = "creating"
	Available = "available"
	InUse     = "in-use"
)

// copiedVolume is what EC2 says a copy is of.
const copiedVolume = "vol-ffffffff"

// Snapshot is one, as it is told to tests and made by them.
type Snapshot struct {
	ID          string            `json:"id,omitempty"`
	Account     string            `json:"account,omitempty"`
	Region      string            `json:"region"`
	VolumeID    string            `json:"volumeID,omitempty"`
	SizeGiB     int32             `json:"sizeGiB,omitempty"`
	Description string            `json:"description,omitempty"`
	Encrypted   bool              `json:"encrypted,omitempty"`
	KMSKeyID    string            `json:"kmsKeyID,omitempty"`
	Started     time.Time         `json:"started"`
	State       string            `json:"state,omitempty"`
	Progress    string            `json:"progress,omitempty"`
	Tier        string            `json:"tier,omitempty"`
	Minutes     int32             `json:"minutes,omitempty"` // of a time-based copy
	SharedWith  []string          `json:"sharedWith,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	LockState   string            `json:"lockState,omitempty"`
}

// snapshot is one in the fake. What changes with time is worked out when it is asked.
type snapshot struct {
	Snapshot // without what changes: State, Progress, Tier, SharedWith, Tags
	seq      uint64
	tags     []Tag
	visible  time.Time
	done     time.Time
	ends     string // error or never; empty for well
	why      string // it ended in an error
	gone     bool
	public   bool
	shared   []string
	lock     *lock
	tier     tier
}

func (s *snapshot) key() string { return s.ID }

func (s *snapshot) state(now time.Time) string {
	switch {
	case s.ends == "never" || now.Before(s.done):
		return Pending
	case s.ends == "error":
		return Errored
	}
	return Completed
}

func (s *snapshot) progress(now time.Time) string {
	switch s.state(now) {
	case Completed:
		return "100%"
	case Errored:
		return ""
	}
	whole, part := s.done.Sub(s.Started), now.Sub(s.Started)
	if whole <= 0 {
		return "0%"
	}
	return fmt.Sprintf("%d%%", min(99, max(0, int(100*part/whole))))
}

// readable says whether an account may use it.
func (s *snapshot) readable(account string) bool {
	return s.Account == account || s.public || slices.Contains(s.shared, account)
}

// find is a snapshot in the request's Region that the caller can see.
func (c *Cloud) find(q *request, id string) (*snapshot, error) {
	s := c.snapshots[id]
	if s == nil || s.Region != q.region.name || !s.readable(q.who.account) || c.time().Before(s.visible) {
		return nil, missing("snapshot", id)
	}
	return s, nil
}

// own is a snapshot of the caller's.
func (c *Cloud) own(q *request, id string) (*snapshot, error) {
	s, err := c.find(q, id)
	if err == nil && s.Account != q.who.account {
		err = missing("snapshot", id)
	}
	return s, err
}

// named is the snapshot of the caller's that a request names.
func (c *Cloud) named(q *request) (id string, s *snapshot, err error) {
	if id, err = q.must("SnapshotId"); err == nil {
		s, err = c.own(q, id)
	}
	return id, s, err
}

// write is a snapshot's elements; the state's element has two names.
func (s *snapshot) write(a *answer, now time.Time, state string) {
	a.text("snapshotId", s.ID)
	a.text("volumeId", s.VolumeID)
	a.text(state, s.state(now))
	if s.state(now) == Errored {
		a.text("statusMessage", s.why)
	}
	a.time("startTime", s.Started)
	if s.state(now) == Completed {
		a.time("completionTime", s.done)
	}
	a.text("progress", s.progress(now))
	a.text("ownerId", s.Account)
	a.number("volumeSize", s.SizeGiB)
	a.text("description", s.Description)
	a.boolean("encrypted", s.Encrypted)
	a.text("kmsKeyId", s.KMSKeyID)
	a.text("storageTier", s.tierAt(now))
	a.time("restoreExpiryTime", s.tier.until)
	if s.Minutes != 0 {
		a.text("transferType", "time-based")
		a.number("completionDurationMinutes", s.Minutes)
	} else if s.VolumeID == copiedVolume {
		a.text("transferType", "standard")
	}
	a.text("sseType", map[bool]string{true: "sse-kms", false: "none"}[s.Encrypted])
	a.tags(s.tags)
}

// told is what tests see of it.
func (s *snapshot) told(now time.Time) Snapshot {
	t := s.Snapshot
	t.State, t.Progress, t.Tier = s.state(now), s.progress(now), s.tierAt(now)
	t.Tags, t.SharedWith = tagMap(s.tags), slices.Clone(s.shared)
	if s.lock != nil {
		t.LockState = s.lock.state(s, now)
	}
	return t
}

// Snapshots are an account's in a Region, oldest first; empty for all of either.
func (c *Cloud) Snapshots(account, region string) (all []Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, r := range c.regions {
		if region != "" && region != name {
			continue
		}
		for s := range r.snapshots.all() {
			if account == "" || account == s.Account {
				all = append(all, s.told(c.time()))
			}
		}
	}
	return all
}

// AddSnapshot makes one that exists, completed unless its State says otherwise, without
// a call. It gives its id.
func (c *Cloud) AddSnapshot(t Snapshot) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, err := c.in(t.Region)
	if err != nil {
		return "", err
	}
	s := &snapshot{Snapshot: t, seq: c.next(), tags: tagsOf(t.Tags), shared: t.SharedWith, done: c.time()}
	s.Tags, s.SharedWith = nil, nil
	if s.ID == "" {
		s.ID = c.id("snap")
	}
	if s.Account == "" {
		s.Account = DefaultAccount
	}
	if s.Started.IsZero() {
		s.Started = c.time()
	}
	switch t.State {
	case Pending:
		s.ends = "never"
	case Errored:
		s.ends, s.why = "error", "made so"
	}
	c.snapshots[s.ID] = s
	r.snapshots.put(s)
	return s.ID, nil
}

// End completes a snapshot at once, or lets it end in an error if why is not empty.
func (c *Cloud) End(id, why string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.snapshots[id]
	if s == nil {
		return missing("snapshot", id)
	}
	s.done, s.ends, s.why = c.time(), "", why
	if why != "" {
		s.ends = "error"
	}
	return nil
}
