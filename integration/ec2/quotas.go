package ec2

import (
	"strings"
	"time"
)

// Bucket is a token bucket: how many tokens it holds, and how many come back a second.
type Bucket struct {
	Capacity float64 `json:"capacity"`
	Refill   float64 `json:"refill"`
}

// Quotas are what an account may do in one Region. A bucket with no capacity does not
// throttle, a limit of 0 does not limit.
type Quotas struct {
	// Actions have buckets of their own size. Every action has its own bucket; those
	// not listed have the size of their category.
	Actions map[string]Bucket `json:"actions"`
	// Reading is for Describe… and Get…, Unpaged for those of Heavy that are called
	// without filter and page, Mutating for all others.
	Reading  Bucket          `json:"reading"`
	Unpaged  Bucket          `json:"unpaged"`
	Heavy    map[string]bool `json:"heavy"`
	Mutating Bucket          `json:"mutating"`
	// PerVolume is the least time between two snapshots of a volume.
	PerVolume time.Duration `json:"perVolume"`
	// PendingPerVolume by volume type, Pending of the account.
	PendingPerVolume map[string]int `json:"pendingPerVolume"`
	Pending          int            `json:"pending"`
	// Snapshots the account may have.
	Snapshots int `json:"snapshots"`
	// Copies under way to the Region.
	Copies int `json:"copies"`
	// FastRestores are snapshots with it enabled.
	FastRestores int `json:"fastRestores"`
	// Archives and Unarchives are under way at once.
	Archives   int `json:"archives"`
	Unarchives int `json:"unarchives"`
}

// Published are the default quotas as AWS publishes them. Buckets:
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
// ("Request token bucket sizes and refill rates"). Limits:
// https://docs.aws.amazon.com/ebs/latest/userguide/ebs-resource-quotas.html. One
// snapshot of a volume in 15 s: SnapshotCreationPerVolumeRateExceeded in
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
func Published() Quotas {
	usual := Bucket{100, 5}
	return Quotas{
		Actions: map[string]Bucket{
			"CreateSnapshot": usual, "CreateSnapshots": usual, "DeleteSnapshot": usual,
			"CreateVolume": usual, "DeleteVolume": usual, "ModifySnapshotAttribute": usual,
			"CreateTags": {100, 10}, "DeleteTags": {100, 10},
		},
		Reading: Bucket{100, 20}, Unpaged: Bucket{50, 10}, Mutating: Bucket{50, 5},
		Heavy:     map[string]bool{"DescribeInstances": true, "DescribeSnapshots": true, "DescribeVolumes": true},
		PerVolume: 15 * time.Second,
		PendingPerVolume: map[string]int{
			"gp2": 5, "gp3": 5, "io1": 5, "io2": 5, "standard": 5, "st1": 1, "sc1": 1,
		},
		Pending: 100, Snapshots: 100000, Copies: 20, FastRestores: 5, Archives: 25, Unarchives: 5,
	}
}

// Unlimited throttles and limits nothing.
func Unlimited() Quotas { return Quotas{} }

// tokens is the state of one bucket.
type tokens struct {
	left float64
	at   time.Time
}

// bucket is an action's size, and the name of its bucket.
func (z Quotas) bucket(q *request) (string, Bucket) {
	if b, own := z.Actions[q.action]; own {
		return q.action, b
	}
	if !strings.HasPrefix(q.action, "Describe") && !strings.HasPrefix(q.action, "Get") {
		return q.action, z.Mutating
	}
	if z.Heavy[q.action] && !q.narrowed() {
		return q.action + " of all", z.Unpaged
	}
	return q.action, z.Reading
}

// narrowed says whether a listing has a filter, a page or ids.
func (q *request) narrowed() bool {
	for name := range q.form {
		if name == "MaxResults" || name == "NextToken" || strings.HasPrefix(name, "Filter.") || strings.Contains(name, "Id.") {
			return true
		}
	}
	return false
}

// throttle takes a token, or refuses.
func (c *Cloud) throttle(q *request) error {
	if q.service != "ec2" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name, size := c.quotas.bucket(q)
	if size.Capacity <= 0 {
		return nil
	}
	name = q.who.account + " " + name
	now, t := c.time(), q.region.buckets[name]
	if t == nil {
		t = &tokens{left: size.Capacity, at: now}
		q.region.buckets[name] = t
	}
	t.left = min(size.Capacity, t.left+now.Sub(t.at).Seconds()*size.Refill)
	t.at = now
	if t.left < 1 {
		return fail("RequestLimitExceeded", "Request limit exceeded.")
	}
	t.left--
	return nil
}
