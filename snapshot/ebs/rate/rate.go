package rate

import (
	"context"
	"sync"
	"time"
)

// Clock is the time, which the benchmarks play.
type Clock interface {
	Now() time.Time
	// Sleep returns after d, or before with the reason ctx ended for.
	Sleep(ctx context.Context, d time.Duration) error
}

// Wall is the real Clock.
type Wall struct{}

// Now implements Clock.
func (Wall) Now() time.Time { return time.Now() }

// Sleep implements Clock.
func (Wall) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Limit is one bucket: how many calls it gives at once, and how many a second from
// then on.
type Limit struct {
	PerSecond float64
	Burst     int
}

// Limits are those of an account in one Region.
type Limits struct {
	// Each call has a bucket of its own, as in EC2, of this size.
	Each Limit
	// Calls have another size, by the call's name.
	Calls map[string]Limit
}

// Default stays below what EC2 publishes for calls that change something (50 at once,
// 5 a second), since others use the account, too.
var Default = Limits{Each: Limit{PerSecond: 4, Burst: 40}}

// Buckets are those of one account. All methods may be called at once.
type Buckets struct {
	limits Limits
	clock  Clock

	mu      sync.Mutex
	buckets map[key]*bucket
}

type key struct{ region, call string }

// bucket holds calls that may be made. Below 0 are those that are promised.
type bucket struct {
	Limit
	calls float64
	asOf  time.Time
}

// New makes full buckets. Without a clock it takes the real one.
func New(limits Limits, clock Clock) *Buckets {
	if clock == nil {
		clock = Wall{}
	}
	return &Buckets{limits: limits, clock: clock, buckets: map[key]*bucket{}}
}

// change adds n calls to a bucket, n < 0 takes, and tells in how long all that were
// promised may be made.
func (b *Buckets) change(region, call string, n float64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	k := key{region, call}
	if b.buckets[k] == nil {
		limit := b.limits.Each
		if l, named := b.limits.Calls[call]; named {
			limit = l
		}
		b.buckets[k] = &bucket{Limit: limit, calls: float64(limit.Burst), asOf: now}
	}
	p := b.buckets[k]
	if p.PerSecond <= 0 { // no bound
		return 0
	}
	if since := now.Sub(p.asOf); since > 0 {
		p.calls += since.Seconds() * p.PerSecond
		p.asOf = now
	}
	p.calls = min(p.calls, float64(p.Burst)) + n
	return time.Duration(max(0, -p.calls) / p.PerSecond * float64(time.Second))
}

// Take waits until n calls may be made, in the order in which it was asked. Those of
// them that are not made can be given back.
func (b *Buckets) Take(ctx context.Context, region, call string, n int) (giveBack func(), err error) {
	var once sync.Once
	giveBack = func() { once.Do(func() { b.change(region, call, float64(n)) }) }
	if wait := b.change(region, call, -float64(n)); wait > 0 {
		if err := b.clock.Sleep(ctx, wait); err != nil {
			giveBack()
			return nil, err
		}
	}
	return giveBack, nil
}

// Drain empties a bucket: EC2 has said that there are no calls left, so others use
// the account, too.
func (b *Buckets) Drain(region, call string) {
	b.change(region, call, 0)
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.buckets[key{region, call}]
	p.calls = min(p.calls, 0)
}
