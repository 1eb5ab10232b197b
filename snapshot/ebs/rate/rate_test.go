package rate

import (
	"context"
	"errors"
	"testing"
	"time"
)

// played is a clock that runs only while somebody sleeps.
type played struct{ now time.Time }

func (p *played) Now() time.Time { return p.now }

func (p *played) Sleep(ctx context.Context, d time.Duration) error {
	p.now = p.now.Add(d)
	return ctx.Err()
}

func TestTake(t *testing.T) {
	c := &played{now: time.Unix(1e9, 0)}
	b := New(Limits{Each: Limit{PerSecond: 2, Burst: 4}, Calls: map[string]Limit{"CopySnapshot": {PerSecond: 1, Burst: 1}}}, c)
	take := func(region, call string, n int, wait time.Duration) func() {
		t.Helper()
		began := c.now
		back, err := b.Take(t.Context(), region, call, n)
		if err != nil {
			t.Fatal(err)
		}
		if waited := c.now.Sub(began); waited != wait {
			t.Errorf("%d %s in %s after %s, not %s", n, call, region, waited, wait)
		}
		return back
	}
	take("a", "CreateSnapshot", 4, 0)
	take("a", "CreateSnapshot", 2, time.Second)
	take("b", "CreateSnapshot", 4, 0) // another Region
	take("a", "CreateTags", 4, 0)     // another call
	take("a", "CopySnapshot", 3, 2*time.Second)
	c.now = c.now.Add(time.Hour) // fills up to the burst, no further
	take("a", "CreateSnapshot", 6, time.Second)
	back := take("a", "CreateSnapshot", 2, time.Second)
	back()
	back() // once
	take("a", "CreateSnapshot", 2, 0)
	c.now = c.now.Add(time.Hour)
	b.Drain("a", "CreateSnapshot")
	take("a", "CreateSnapshot", 1, 500*time.Millisecond)
}

// Who is not waited for any more gives back what he was promised.
func TestTakeGivenUp(t *testing.T) {
	c := &played{now: time.Unix(1e9, 0)}
	b := New(Limits{Each: Limit{PerSecond: 1, Burst: 1}}, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Take(ctx, "a", "x", 11); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	began := c.now
	if _, err := b.Take(t.Context(), "a", "x", 1); err != nil || c.now != began {
		t.Errorf("waited %s for what nobody took, %v", c.now.Sub(began), err)
	}
}

func TestMutating(t *testing.T) {
	for call, want := range map[string]bool{"CreateSnapshot": true, "DeleteSnapshot": true, "CopySnapshot": true, "LockSnapshot": true, "CreateTags": true, "EnableFastSnapshotRestores": true,
		"DescribeSnapshots": false, "GetCallerIdentity": false, "ListSnapshotsInRecycleBin": false} {
		if Mutating(call) != want {
			t.Errorf("%s: %v", call, !want)
		}
	}
}
