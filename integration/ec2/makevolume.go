package ec2

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

// tokenUse is what a client token was used for.
type tokenUse struct {
	request uint64
	id      string
}

// kind bounds a volume type.
type kind struct {
	leastSize, mostSize int
	leastIOPS, mostIOPS int // 0: not to be given
	mostThroughput      int
}

// kinds as of https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html.
var kinds = map[string]kind{
	"gp2": {1, 16384, 0, 0, 0}, "gp3": {1, 65536, 3000, 80000, 2000},
	"io1": {4, 16384, 100, 64000, 0}, "io2": {4, 65536, 100, 256000, 0},
	"st1": {125, 16384, 0, 0, 0}, "sc1": {125, 16384, 0, 0, 0}, "standard": {1, 1024, 0, 0, 0},
}

func (c *Cloud) createVolume(ctx context.Context, q *request, a *answer) error {
	tags, err := q.specified("volume")
	if err != nil {
		return err
	}
	v, again, err := c.reserveVolume(q, tags)
	if err != nil {
		return err
	}
	if !again {
		err = c.back(func(b Backing) error { return b.Volume(ctx, v.SnapshotID, v.ID, v.SizeGiB) })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		q.region.volumes.drop(v.ID)
		delete(q.region.tokens, q.who.account+" "+q.get("ClientToken"))
		return err
	}
	v.write(a, q.region, c.time())
	return nil
}

func (c *Cloud) reserveVolume(q *request, tags []Tag) (v *volume, again bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, err := c.before(q); v != nil || err != nil {
		return v, true, err
	}
	now := c.time()
	t := Volume{Account: q.who.account, Region: q.region.name, SnapshotID: q.get("SnapshotId"), Type: q.get("VolumeType")}
	if t.Zone, err = q.zone(); err != nil {
		return nil, false, err
	}
	if t.Type == "" {
		t.Type = "gp2"
	}
	var from *snapshot
	if t.SnapshotID != "" {
		if from, err = c.usable(q, t.SnapshotID, now); err != nil {
			return nil, false, err
		}
	}
	if err := q.provision(&t, from); err != nil {
		return nil, false, err
	}
	v = &volume{Volume: t, seq: c.next(), tags: tags, created: now, ready: now.Add(c.timing.Volume.pick(c.rand)), ends: q.ends}
	v.ID = c.id("vol")
	if err := c.encryptVolume(q, v, from); err != nil {
		return nil, false, err
	}
	if f := q.region.fast.get(v.SnapshotID + "/" + v.Zone); f != nil && f.state(now) == "enabled" {
		v.FastRestored = true
	}
	q.region.volumes.put(v)
	if token := q.get("ClientToken"); token != "" {
		q.region.tokens[q.who.account+" "+token] = tokenUse{q.fingerprint(), v.ID}
	}
	return v, false, nil
}

// before is the volume that was made with the same client token.
func (c *Cloud) before(q *request) (*volume, error) {
	token := q.get("ClientToken")
	used, found := q.region.tokens[q.who.account+" "+token]
	if token == "" || !found {
		return nil, nil
	}
	if used.request != q.fingerprint() {
		return nil, fail("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
	}
	return c.volume(q, used.id)
}

// fingerprint is of all that a request asks for.
func (q *request) fingerprint() uint64 {
	h := fnv.New64a()
	names := make([]string, 0, len(q.form))
	for name := range q.form {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		_, _ = fmt.Fprintf(h, "%q=%q;", name, q.get(name))
	}
	return h.Sum64()
}

// zone is the one that a request names or means.
func (q *request) zone() (string, error) {
	name := q.get("AvailabilityZone")
	for _, z := range q.region.zones {
		if z == name || (name == "" && zoneID(z) == q.get("AvailabilityZoneId")) {
			return z, nil
		}
	}
	if name == "" && q.get("AvailabilityZoneId") == "" {
		return "", fail("MissingParameter", "The request must contain the parameter AvailabilityZone")
	}
	return "", fail("InvalidZone.NotFound", "The zone '%s%s' does not exist.", name, q.get("AvailabilityZoneId"))
}

// usable is a snapshot that a volume can be made from.
func (c *Cloud) usable(q *request, id string, now time.Time) (*snapshot, error) {
	s, err := c.find(q, id)
	if err != nil {
		return nil, err
	}
	if st := s.state(now); st != Completed {
		return nil, fail("IncorrectState", "Snapshot is in invalid state - %s", st)
	}
	if s.tierAt(now) == archive {
		return nil, fail("IncorrectState", "Snapshot %s is in the archive tier", id)
	}
	return s, nil
}

// provision checks and fills in size, IOPS, throughput and initialization rate.
func (q *request) provision(t *Volume, from *snapshot) (err error) {
	k, known := kinds[t.Type]
	if !known {
		return fail("UnknownVolumeType", "Unsupported volume type '%s' for volume creation.", t.Type)
	}
	if t.SizeGiB, err = q.number("Size", k.leastSize, k.mostSize); err != nil {
		return err
	}
	switch {
	case t.SizeGiB == 0 && from == nil:
		return fail("MissingParameter", "The request must contain the parameter size or snapshotId")
	case t.SizeGiB == 0:
		t.SizeGiB = from.SizeGiB
	case from != nil && t.SizeGiB < from.SizeGiB:
		return fail("InvalidParameterValue", "The size of the volume, %d GiB, is less than the snapshot's, %d GiB.", t.SizeGiB, from.SizeGiB)
	}
	if q.get("Iops") != "" && k.mostIOPS == 0 {
		return fail("InvalidParameterCombination", "The parameter iops is not supported for %s volumes.", t.Type)
	}
	if t.IOPS, err = q.number("Iops", k.leastIOPS, k.mostIOPS); err != nil {
		return err
	}
	if t.IOPS == 0 && (t.Type == "io1" || t.Type == "io2") {
		return fail("MissingParameter", "The parameter iops must be specified for %s volumes.", t.Type)
	}
	if q.get("Throughput") != "" && k.mostThroughput == 0 {
		return fail("InvalidParameterCombination", "The parameter throughput is not supported for %s volumes.", t.Type)
	}
	if t.Throughput, err = q.number("Throughput", 125, 2000); err != nil {
		return err
	}
	switch t.Type {
	case "gp3":
		t.IOPS, t.Throughput = max(3000, t.IOPS), max(125, t.Throughput)
		if t.Throughput*4 > t.IOPS {
			return fail("InvalidParameterValue", "Throughput (MiBps) to iops ratio of %d to %d is too high; maximum is 0.25.", t.Throughput, t.IOPS)
		}
	case "gp2":
		t.IOPS = min(16000, max(100, 3*t.SizeGiB))
	}
	if q.get("VolumeInitializationRate") != "" && from == nil {
		return fail("InvalidParameterCombination", "VolumeInitializationRate can only be given for a volume from a snapshot.")
	}
	t.Initialization, err = q.number("VolumeInitializationRate", 100, 300)
	return err
}

// encryptVolume works out the key. One that cannot be used makes the volume vanish
// after EC2 has answered.
func (c *Cloud) encryptVolume(q *request, v *volume, from *snapshot) error {
	key := q.get("KmsKeyId")
	if key != "" && !q.is("Encrypted") {
		return fail("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
	}
	encrypted := from != nil && from.Encrypted
	if encrypted && q.get("Encrypted") == "false" {
		return fail("InvalidParameterValue", "A volume from an encrypted snapshot must be encrypted.")
	}
	v.Encrypted = q.is("Encrypted") || encrypted || q.region.byDefault[q.who.account]
	if !v.Encrypted {
		return nil
	}
	switch {
	case key != "":
		v.KMSKeyID = keyARN(q, key)
	case encrypted && from.Account == q.who.account:
		v.KMSKeyID = from.KMSKeyID
	default:
		v.KMSKeyID = c.defaultKey(q)
	}
	broken := keyRegion(v.KMSKeyID) != q.region.name
	if v.KMSKeyID != c.defaultKey(q) || (encrypted && from.KMSKeyID != c.defaultKey(q)) {
		broken = c.lacksKey(q) != "" || broken
	}
	if broken && v.ends == "" {
		v.ends = "vanish"
	}
	return nil
}

func (c *Cloud) deleteVolume(ctx context.Context, q *request, a *answer) error {
	id, err := q.must("VolumeId")
	if err != nil {
		return err
	}
	if err := c.removeVolume(q, id); err != nil {
		return err
	}
	a.ok()
	return c.back(func(b Backing) error { return b.DeleteVolume(ctx, id) })
}

func (c *Cloud) removeVolume(q *request, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.volume(q, id)
	if err != nil {
		return err
	}
	switch v.state(c.time()) {
	case InUse:
		return fail("VolumeInUse", "Volume %s is currently attached to %s", id, v.Instance)
	case Creating:
		return fail("IncorrectState", "Volume %s is in the creating state.", id)
	}
	q.region.volumes.drop(id)
	return nil
}
