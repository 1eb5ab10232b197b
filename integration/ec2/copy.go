package ec2

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// copySnapshot is called in the Region the copy is to lie in.
func (c *Cloud) copySnapshot(ctx context.Context, q *request, a *answer) error {
	tags, err := q.specified("snapshot")
	if err != nil {
		return err
	}
	s, source, err := c.reserveCopy(q, tags)
	if err != nil {
		return err
	}
	err = c.back(func(b Backing) error { return b.Copy(ctx, source, s.ID) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.unpend(q, s)
		return err
	}
	c.snapshots[s.ID] = s
	q.region.snapshots.put(s)
	a.text("snapshotId", s.ID)
	a.tags(s.tags)
	return nil
}

func (c *Cloud) reserveCopy(q *request, tags []Tag) (*snapshot, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	source, err := c.source(q)
	if err != nil {
		return nil, "", err
	}
	minutes, err := q.number("CompletionDurationMinutes", 15, 2880)
	if err != nil {
		return nil, "", err
	}
	if minutes%15 != 0 {
		return nil, "", fail("InvalidParameterValue", "CompletionDurationMinutes must be a multiple of 15.")
	}
	now, under := c.time(), 0
	for _, p := range c.pendingOf(q, now) {
		if p.VolumeID == copiedVolume && !p.gone {
			under++
		}
	}
	if most := c.quotas.Copies; most > 0 && under >= most {
		return nil, "", fail("ResourceLimitExceeded", "Too many snapshot copies in progress. The limit is %d for this destination region.", most)
	}
	if err := c.room(q, 1); err != nil {
		return nil, "", err
	}
	s := &snapshot{
		Snapshot: Snapshot{
			ID: c.id("snap"), Account: q.who.account, Region: q.region.name, VolumeID: copiedVolume, SizeGiB: source.SizeGiB,
			Description: q.get("Description"), Started: now, Minutes: minutes,
		},
		seq: c.next(), tags: tags, visible: now.Add(c.timing.Visible.pick(c.rand)),
		done: now.Add(c.timing.Copy.pick(c.rand)), ends: q.ends, why: "An internal error has occurred",
	}
	if s.Description == "" {
		s.Description = fmt.Sprintf("[Copied %s from %s]", source.ID, source.Region)
	}
	if err := c.encryptCopy(q, source, s); err != nil {
		return nil, "", err
	}
	q.region.pending[q.who.account] = append(q.region.pending[q.who.account], s)
	return s, source.ID, nil
}

// source is the snapshot to copy.
func (c *Cloud) source(q *request) (*snapshot, error) {
	id, err := q.must("SourceSnapshotId")
	if err != nil {
		return nil, err
	}
	name, err := q.must("SourceRegion")
	if err != nil {
		return nil, err
	}
	if _, err := c.in(name); err != nil {
		return nil, err
	}
	s := c.snapshots[id]
	if s == nil || s.Region != name || !s.readable(q.who.account) {
		return nil, missing("snapshot", id)
	}
	if st := s.state(c.time()); st != Completed {
		return nil, fail("IncorrectState", "The snapshot %s is in the %s state. It must be completed to be copied.", id, st)
	}
	if s.tierAt(c.time()) == archive {
		return nil, fail("IncorrectState", "The snapshot %s is in the archive tier.", id)
	}
	return s, nil
}

// encryptCopy works out a copy's key. A key that cannot be used shows only later: EC2
// answers first and looks at it then.
func (c *Cloud) encryptCopy(q *request, source, s *snapshot) error {
	key := q.get("KmsKeyId")
	asked := q.is("Encrypted")
	if key != "" && !asked {
		return fail("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
	}
	s.Encrypted = asked || source.Encrypted || q.region.byDefault[q.who.account]
	if !s.Encrypted {
		return nil
	}
	s.KMSKeyID = c.defaultKey(q)
	if key != "" {
		s.KMSKeyID = keyARN(q, key)
	}
	broken := keyRegion(s.KMSKeyID) != q.region.name
	if s.KMSKeyID != c.defaultKey(q) || (source.Encrypted && source.KMSKeyID != defaultKey(source.Account, source.Region)) {
		broken = c.lacksKey(q) != "" || broken
	}
	if source.Encrypted && source.Account != q.who.account && source.KMSKeyID == defaultKey(source.Account, source.Region) {
		broken = true // nobody else may use an account's default key
	}
	if broken && s.ends == "" {
		s.ends, s.why = "error", "Given key ID is not accessible"
		s.done = s.Started.Add(min(s.done.Sub(s.Started), time.Second))
	}
	return nil
}

// defaultKey is what encrypts where no key is named.
func (c *Cloud) defaultKey(q *request) string { return defaultKey(q.who.account, q.region.name) }

// DefaultKey is the ARN of an account's default key in a Region.
func DefaultKey(account, region string) string { return defaultKey(account, region) }

func defaultKey(account, region string) string {
	return fmt.Sprintf("arn:aws:kms:%s:%s:key/00000000-0000-0000-0000-%s", region, account, account)
}

// keyARN makes an ARN of an id or alias.
func keyARN(q *request, key string) string {
	switch {
	case strings.HasPrefix(key, "arn:"):
		return key
	case key == "alias/aws/ebs":
		return defaultKey(q.who.account, q.region.name)
	case strings.HasPrefix(key, "alias/"):
		return fmt.Sprintf("arn:aws:kms:%s:%s:%s", q.region.name, q.who.account, key)
	}
	return fmt.Sprintf("arn:aws:kms:%s:%s:key/%s", q.region.name, q.who.account, key)
}

var keyForm = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:(key|alias)/.+$`)

func keyRegion(arn string) string {
	if m := keyForm.FindStringSubmatch(arn); m != nil {
		return m[1]
	}
	return ""
}

func (c *Cloud) getEncryptionByDefault(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	on := q.region.byDefault[q.who.account]
	a.boolean("ebsEncryptionByDefault", on)
	a.text("sseType", map[bool]string{true: "sse-kms", false: "none"}[on])
	return nil
}

func (c *Cloud) setEncryptionByDefault(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	on := strings.HasPrefix(q.action, "Enable")
	q.region.byDefault[q.who.account] = on
	a.boolean("ebsEncryptionByDefault", on)
	return nil
}

func (c *Cloud) getDefaultKey(q *request, a *answer) error {
	a.text("kmsKeyId", "alias/aws/ebs")
	return nil
}
