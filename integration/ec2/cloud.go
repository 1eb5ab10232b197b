package ec2

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// DefaultAccount is whose an access key is that names no account.
const DefaultAccount = "111122223333"

// Options are what a Cloud is made with. The zero value works.
type Options struct {
	// Now is the clock, time.Now if nil. Delays are always slept in real time; under
	// testing/synctest both are the bubble's.
	Now func() time.Time
	// Seed makes ids, delays and durations the same again.
	Seed uint64
	// Quotas are AWS's published ones if nil.
	Quotas *Quotas
	// Timing is how long things take, DefaultTiming if nil.
	Timing *Timing
	// Regions with their zones' letters; four Regions with zones a, b and c if nil.
	Regions map[string]string
	// Backing makes the bytes.
	Backing Backing
	// FullPages fills a page of DescribeSnapshots with what the filters let pass. EC2
	// does not promise that, and a page of it may be empty with more to come: without
	// FullPages MaxResults bounds what is looked through.
	FullPages bool
	// KeepCalls is how many calls are remembered one by one; 20,000 if 0. All are counted.
	KeepCalls int
}

// Timing is how long things take until they are done.
type Timing struct {
	// Visible is how long a new snapshot is not yet found by Describe calls.
	Visible Span `json:"visible"`
	// Snapshot and Copy, from the call until completed.
	Snapshot Span `json:"snapshot"`
	Copy     Span `json:"copy"`
	// Volume, from the call until available.
	Volume Span `json:"volume"`
	// Enable and Optimize are the steps of a fast snapshot restore.
	Enable   Span `json:"enable"`
	Optimize Span `json:"optimize"`
	// Archive and Unarchive move between tiers.
	Archive   Span `json:"archive"`
	Unarchive Span `json:"unarchive"`
}

// DefaultTiming is far quicker than AWS, for tests.
func DefaultTiming() Timing {
	return Timing{
		Snapshot: Between(time.Second, 3*time.Second), Copy: Between(time.Second, 3*time.Second),
		Volume: Between(100*time.Millisecond, 500*time.Millisecond),
		Enable: Exactly(500 * time.Millisecond), Optimize: Exactly(time.Second),
		Archive: Exactly(2 * time.Second), Unarchive: Exactly(2 * time.Second),
	}
}

// Cloud is the fake. It is an http.Handler and an http.RoundTripper.
type Cloud struct {
	now     func() time.Time
	backing Backing
	// fullPages: see Options.
	fullPages bool

	mu        sync.Mutex
	rand      *rand.Rand
	offset    time.Duration
	seq       uint64
	quotas    Quotas
	timing    Timing
	regions   map[string]*region
	keys      map[string]identity // by access key
	rules     map[string]rules    // by account
	snapshots map[string]*snapshot
	faults    []*Fault
	log       callLog
}

// region is one Region: what lies in it, of all accounts.
type region struct {
	name      string
	zones     []string
	volumes   table[*volume]
	instances table[*instance]
	snapshots shelf
	fast      table[*fastRestore]
	// Of accounts: by account.
	buckets   map[string]*tokens
	pending   map[string][]*snapshot
	byDefault map[string]bool // encryption by default
	tokens    map[string]tokenUse
}

// New makes one.
func New(o Options) *Cloud {
	c := &Cloud{
		now: o.Now, backing: o.Backing, fullPages: o.FullPages, rand: rand.New(rand.NewPCG(o.Seed, 0x5eed)),
		quotas: Published(), timing: DefaultTiming(),
		regions: map[string]*region{}, keys: map[string]identity{}, rules: map[string]rules{}, snapshots: map[string]*snapshot{},
		log: callLog{most: o.KeepCalls, counts: map[Count]int{}},
	}
	if c.now == nil {
		c.now = time.Now
	}
	if o.Quotas != nil {
		c.quotas = *o.Quotas
	}
	if o.Timing != nil {
		c.timing = *o.Timing
	}
	if c.log.most == 0 {
		c.log.most = 20000
	}
	if o.Regions == nil {
		o.Regions = map[string]string{"us-east-1": "abc", "us-west-2": "abc", "eu-west-1": "abc", "eu-central-1": "abc"}
	}
	for name, letters := range o.Regions {
		r := &region{
			name: name, buckets: map[string]*tokens{}, pending: map[string][]*snapshot{}, byDefault: map[string]bool{}, tokens: map[string]tokenUse{},
			snapshots: shelf{index: map[string][]*snapshot{}, count: map[string]int{}},
		}
		for _, l := range letters {
			r.zones = append(r.zones, name+string(l))
		}
		c.regions[name] = r
	}
	return c
}

// HTTPClient calls the fake in process: an SDK's HTTP client.
func (c *Cloud) HTTPClient() *http.Client { return &http.Client{Transport: c} }

// Now is the time in the fake.
func (c *Cloud) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time()
}

// time is Now under the lock.
func (c *Cloud) time() time.Time { return c.now().Add(c.offset).UTC() }

// Advance lets time pass at once: snapshots complete, locks expire, buckets fill.
func (c *Cloud) Advance(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += by
}

// SetTiming changes how long what begins from now on takes.
func (c *Cloud) SetTiming(t Timing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timing = t
}

// SetQuotas changes what is throttled and limited from now on.
func (c *Cloud) SetQuotas(q Quotas) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quotas = q
}

// id is a new one of a kind, in the long form.
func (c *Cloud) id(kind string) string {
	return fmt.Sprintf("%s-%08x%09x", kind, c.rand.Uint32(), c.rand.Uint64N(1<<36))
}

// next numbers all that is made, in the order it is made.
func (c *Cloud) next() uint64 { c.seq++; return c.seq }

// in is a Region that must exist.
func (c *Cloud) in(name string) (*region, error) {
	if r := c.regions[name]; r != nil {
		return r, nil
	}
	return nil, fail("InvalidParameterValue", "Invalid region: %s", name)
}
