package ec2

import "slices"

// Attachment of a volume to an instance.
type Attachment struct {
	Device   string `json:"device"`
	VolumeID string `json:"volumeID"`
}

// Instance is one, running.
type Instance struct {
	ID      string `json:"id,omitempty"`
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"` // default: the zone's
	Zone    string `json:"zone"`
	// Volumes that are attached; the first is the root volume.
	Volumes []Attachment      `json:"volumes,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
}

type instance struct {
	Instance
	seq  uint64
	tags []Tag
}

func (i *instance) key() string { return i.ID }

// root is the root volume's device.
func (i *instance) root() string {
	if len(i.Volumes) == 0 {
		return ""
	}
	return i.Volumes[0].Device
}

// AddInstance makes one. Its volumes must exist. It gives its id.
func (c *Cloud) AddInstance(t Instance) (string, error) {
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
		t.ID = c.id("i")
	}
	i := &instance{Instance: t, seq: c.next(), tags: tagsOf(t.Tags)}
	i.Volumes = nil
	for _, at := range t.Volumes {
		if err := attach(r, i, at); err != nil {
			return "", err
		}
	}
	r.instances.put(i)
	return i.ID, nil
}

// Attach attaches a volume to an instance of its Region.
func (c *Cloud) Attach(instanceID string, at Attachment) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.regions {
		if i := r.instances.get(instanceID); i != nil {
			return attach(r, i, at)
		}
	}
	return missing("instance", instanceID)
}

func attach(r *region, i *instance, at Attachment) error {
	v := r.volumes.get(at.VolumeID)
	switch {
	case v == nil || v.Account != i.Account:
		return missing("volume", at.VolumeID)
	case v.Instance != "":
		return fail("VolumeInUse", "%s is already attached to an instance", v.ID)
	case v.Zone != i.Zone:
		return fail("InvalidVolume.ZoneMismatch", "The volume '%s' is not in the same availability zone as instance '%s'", v.ID, i.ID)
	}
	i.Volumes = append(i.Volumes, at)
	v.Instance = i.ID
	return nil
}

// Detach takes a volume off its instance.
func (c *Cloud) Detach(volumeID string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.regions {
		v := r.volumes.get(volumeID)
		if v == nil {
			continue
		}
		if i := r.instances.get(v.Instance); i != nil {
			i.Volumes = slices.DeleteFunc(i.Volumes, func(at Attachment) bool { return at.VolumeID == volumeID })
		}
		v.Instance = ""
		return nil
	}
	return missing("volume", volumeID)
}

func (c *Cloud) describeInstances(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fs, err := q.filters(map[string]bool{
		"availability-zone": true, "instance-id": true, "instance-state-name": true, "block-device-mapping.volume-id": true, "block-device-mapping.device-name": true,
	})
	if err != nil {
		return err
	}
	ids := q.list("InstanceId")
	for _, id := range ids {
		if i := q.region.instances.get(id); i == nil || i.Account != q.who.account {
			return missing("instance", id)
		}
	}
	var found []*instance
	for _, i := range q.region.instances.rows {
		if i.Account == q.who.account && (len(ids) == 0 || slices.Contains(ids, i.ID)) && fs.match(i.attribute, i.tags) {
			found = append(found, i)
		}
	}
	page, next, err := cut(q, found, func(i *instance) uint64 { return i.seq }, 5, 1000)
	if err != nil {
		return err
	}
	list(a, "reservationSet", page, func(i *instance) {
		a.text("reservationId", "r-"+i.ID[2:])
		a.text("ownerId", i.Account)
		list(a, "instancesSet", []*instance{i}, func(i *instance) { i.write(a) })
	})
	a.text("nextToken", next)
	return nil
}

func (i *instance) attribute(name string) (values []string) {
	switch name {
	case "availability-zone":
		return []string{i.Zone}
	case "instance-id":
		return []string{i.ID}
	case "instance-state-name":
		return []string{"running"}
	}
	for _, at := range i.Volumes {
		if name == "block-device-mapping.volume-id" {
			values = append(values, at.VolumeID)
		} else {
			values = append(values, at.Device)
		}
	}
	return values
}

func (i *instance) write(a *answer) {
	a.text("instanceId", i.ID)
	a.in("instanceState", func() { a.text("code", "16"); a.text("name", "running") })
	a.in("placement", func() { a.text("availabilityZone", i.Zone); a.text("availabilityZoneId", zoneID(i.Zone)) })
	a.text("rootDeviceName", i.root())
	a.text("rootDeviceType", "ebs")
	list(a, "blockDeviceMapping", i.Volumes, func(at Attachment) {
		a.text("deviceName", at.Device)
		a.in("ebs", func() {
			a.text("volumeId", at.VolumeID)
			a.text("status", "attached")
			a.boolean("deleteOnTermination", false)
		})
	})
	a.tags(i.tags)
}
