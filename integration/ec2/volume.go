package ec2

import (
	"slices"
	"strconv"
	"time"
)

// Volume is one, as tests make it and are told of it.
type Volume struct {
	ID      string `json:"id,omitempty"`
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"` // default: the zone's
	Zone    string `json:"zone"`
	// Type is gp3 if empty, as the EBS CSI driver makes them.
	Type           string            `json:"type,omitempty"`
	SizeGiB        int32             `json:"sizeGiB,omitempty"`
	IOPS           int32             `json:"iops,omitempty"`
	Throughput     int32             `json:"throughput,omitempty"`
	Initialization int32             `json:"initialization,omitempty"`
	Encrypted      bool              `json:"encrypted,omitempty"`
	KMSKeyID       string            `json:"kmsKeyID,omitempty"`
	SnapshotID     string            `json:"snapshotID,omitempty"`
	FastRestored   bool              `json:"fastRestored,omitempty"`
	State          string            `json:"state,omitempty"`
	Instance       string            `json:"instance,omitempty"`
	Tags           map[string]string `json:"tags,omitempty"`
}

type volume struct {
	Volume
	seq     uint64
	tags    []Tag
	created time.Time
	ready   time.Time
	ends    string
	snapped time.Time // of the newest snapshot
}

func (v *volume) key() string { return v.ID }

func (v *volume) state(now time.Time) string {
	switch {
	case now.Before(v.ready) || v.ends == "never":
		return Creating
	case v.ends == "error":
		return Errored
	case v.Instance != "":
		return InUse
	}
	return Available
}

// volume is one of the caller's. One that could not be made vanishes.
func (c *Cloud) volume(q *request, id string) (*volume, error) {
	v := q.region.volumes.get(id)
	if v == nil || v.Account != q.who.account {
		return nil, missing("volume", id)
	}
	if v.ends == "vanish" && !c.time().Before(v.ready) {
		q.region.volumes.drop(id)
		return nil, missing("volume", id)
	}
	return v, nil
}

// AddVolume makes one that exists, available. It gives its id.
func (c *Cloud) AddVolume(t Volume) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.Region == "" && len(t.Zone) > 1 {
		t.Region = t.Zone[:len(t.Zone)-1]
	}
	r, err := c.in(t.Region)
	if err != nil {
		return "", err
	}
	if t.Account == "" {
		t.Account = DefaultAccount
	}
	if t.ID == "" {
		t.ID = c.id("vol")
	}
	if t.Type == "" {
		t.Type = "gp3"
	}
	if t.Type == "gp3" && t.IOPS == 0 {
		t.IOPS, t.Throughput = 3000, max(125, t.Throughput)
	}
	if t.SizeGiB == 0 {
		t.SizeGiB = 1
	}
	if t.Encrypted && t.KMSKeyID == "" {
		t.KMSKeyID = defaultKey(t.Account, t.Region)
	}
	if r.volumes.get(t.ID) != nil {
		return "", fail("InvalidParameterValue", "The volume %s exists", t.ID)
	}
	v := &volume{Volume: t, seq: c.next(), tags: tagsOf(t.Tags), created: c.time(), ready: c.time()}
	v.Tags, v.State, v.Instance = nil, "", ""
	r.volumes.put(v)
	return v.ID, nil
}

// Volumes are an account's in a Region, oldest first; empty for all of either.
func (c *Cloud) Volumes(account, region string) (all []Volume) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, r := range c.regions {
		if region != "" && region != name {
			continue
		}
		for _, v := range r.volumes.rows {
			if account == "" || account == v.Account {
				t := v.Volume
				t.State, t.Tags = v.state(c.time()), tagMap(v.tags)
				all = append(all, t)
			}
		}
	}
	return all
}

func (v *volume) write(a *answer, r *region, now time.Time) {
	a.text("volumeId", v.ID)
	a.text("volumeArn", "arn:aws:ec2:"+v.Region+":"+v.Account+":volume/"+v.ID)
	a.text("ownerId", v.Account)
	a.number("size", v.SizeGiB)
	a.text("snapshotId", v.SnapshotID)
	a.text("availabilityZone", v.Zone)
	a.text("availabilityZoneId", zoneID(v.Zone))
	a.text("status", v.state(now))
	a.time("createTime", v.created)
	a.text("volumeType", v.Type)
	a.number("iops", v.IOPS)
	a.number("throughput", v.Throughput)
	a.number("volumeInitializationRate", v.Initialization)
	a.boolean("encrypted", v.Encrypted)
	a.text("kmsKeyId", v.KMSKeyID)
	a.boolean("fastRestored", v.FastRestored)
	a.boolean("multiAttachEnabled", false)
	var at []Attachment
	if i := r.instances.get(v.Instance); i != nil {
		at = slices.DeleteFunc(slices.Clone(i.Volumes), func(at Attachment) bool { return at.VolumeID != v.ID })
	}
	list(a, "attachmentSet", at, func(at Attachment) {
		a.text("volumeId", v.ID)
		a.text("instanceId", v.Instance)
		a.text("device", at.Device)
		a.text("status", "attached")
		a.boolean("deleteOnTermination", false)
	})
	a.tags(v.tags)
}

var volumeFilters = map[string]bool{
	"attachment.device": true, "attachment.instance-id": true, "availability-zone": true, "encrypted": true,
	"size": true, "snapshot-id": true, "status": true, "volume-id": true, "volume-type": true,
}

func (c *Cloud) describeVolumes(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fs, err := q.filters(volumeFilters)
	if err != nil {
		return err
	}
	ids := q.list("VolumeId")
	for _, id := range ids {
		if _, err := c.volume(q, id); err != nil {
			return err
		}
	}
	now := c.time()
	var found []*volume
	for _, v := range q.region.volumes.rows {
		if v.Account != q.who.account || (v.ends == "vanish" && !now.Before(v.ready)) || (len(ids) > 0 && !slices.Contains(ids, v.ID)) {
			continue
		}
		if fs.match(func(name string) []string { return v.attribute(name, q.region, now) }, v.tags) {
			found = append(found, v)
		}
	}
	page, next, err := cut(q, found, func(v *volume) uint64 { return v.seq }, 5, 1000)
	if err != nil {
		return err
	}
	list(a, "volumeSet", page, func(v *volume) { v.write(a, q.region, now) })
	a.text("nextToken", next)
	return nil
}

func (v *volume) attribute(name string, r *region, now time.Time) []string {
	switch name {
	case "attachment.instance-id":
		if v.Instance != "" {
			return []string{v.Instance}
		}
	case "attachment.device":
		if i := r.instances.get(v.Instance); i != nil {
			for _, at := range i.Volumes {
				if at.VolumeID == v.ID {
					return []string{at.Device}
				}
			}
		}
	case "availability-zone":
		return []string{v.Zone}
	case "encrypted":
		return []string{strconv.FormatBool(v.Encrypted)}
	case "size":
		return []string{strconv.Itoa(int(v.SizeGiB))}
	case "snapshot-id":
		return []string{v.SnapshotID}
	case "status":
		return []string{v.state(now)}
	case "volume-id":
		return []string{v.ID}
	case "volume-type":
		return []string{v.Type}
	}
	return nil
}
