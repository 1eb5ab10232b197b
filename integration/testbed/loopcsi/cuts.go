package loopcsi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// cuts runs the taking of snapshots. An operation belongs to the snapshot's name,
// not to the call that began it, as at a cloud: a caller who gave up finds it
// again when he retries.
type cuts struct {
	pool *pool

	mu      sync.Mutex
	running map[string]*cut      // by snapshot id
	slots   map[string]time.Time // last staggered cut, by namespace
	failed  map[string]int       // failures so far, by volume and parameters
}

type cut struct {
	source string
	done   chan struct{}
	result Snapshot // valid once done is closed
	err    error
}

type cutOrder struct {
	name, source string
	bytes        int64
	namespace    string // of the VolumeSnapshot: cuts are staggered within it
	failKey      string // counts FailTimes
	faults       SnapshotFaults
}

func newCuts(p *pool) *cuts {
	return &cuts{pool: p, running: map[string]*cut{}, slots: map[string]time.Time{}, failed: map[string]int{}}
}

// take returns the snapshot of that name, cutting it if there is none.
func (c *cuts) take(ctx context.Context, order cutOrder) (Snapshot, error) {
	id := c.pool.ids(snapshots, order.name)
	c.mu.Lock()
	var have Snapshot
	found, err := c.pool.load(snapshots, id, &have)
	running := c.running[id]
	if running == nil && !found && err == nil {
		running = &cut{source: order.source, done: make(chan struct{})}
		c.running[id] = running
		go c.run(id, order, running)
	}
	c.mu.Unlock()
	if err != nil {
		return Snapshot{}, status.Error(codes.Internal, err.Error())
	}
	if running == nil {
		if have.Source != order.source {
			return Snapshot{}, status.Errorf(codes.AlreadyExists, "snapshot %s is of volume %s", order.name, have.Source)
		}
		return have, nil
	}
	if running.source != order.source {
		return Snapshot{}, status.Errorf(codes.AlreadyExists, "snapshot %s is being cut from volume %s", order.name, running.source)
	}
	select {
	case <-running.done:
		return running.result, running.err
	case <-ctx.Done():
		return Snapshot{}, status.FromContextError(ctx.Err()).Err()
	}
}

func (c *cuts) run(id string, order cutOrder, out *cut) {
	out.result, out.err = c.perform(id, order)
	c.mu.Lock()
	delete(c.running, id)
	c.mu.Unlock()
	close(out.done)
}

func (c *cuts) perform(id string, order cutOrder) (Snapshot, error) {
	f := order.faults
	if f.FailCode != codes.OK && c.failsNow(order) {
		return Snapshot{}, status.Errorf(f.FailCode, "snapshot %s: failing as the class says", order.name)
	}
	if f.Hang > 0 {
		time.Sleep(f.Hang)
		if f.HangThen == "fail" {
			return Snapshot{}, status.Errorf(codes.DeadlineExceeded, "snapshot %s: hung for %s as the class says", order.name, f.Hang)
		}
	}
	time.Sleep(f.CutLatency)
	if f.CutStagger > 0 {
		time.Sleep(c.slot(order.namespace, f.CutStagger, time.Now()))
	}
	s := Snapshot{ID: id, Name: order.name, Source: order.source, Bytes: order.bytes}
	var err error
	s.CutBegan, s.Cut, err = c.pool.create(snapshots, id, order.bytes, c.pool.image(volumes, order.source))
	if err == nil {
		s.ReadyAt = s.Cut.Add(f.ReadyLatency)
		err = c.pool.store(snapshots, id, s)
	}
	if err != nil {
		return Snapshot{}, status.Error(codes.Internal, fmt.Sprintf("cut %s: %v", order.name, err))
	}
	time.Sleep(f.AckLatency)
	return s, nil
}

// failsNow counts the failures of a volume under one set of parameters.
func (c *cuts) failsNow(order cutOrder) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if order.faults.FailTimes > 0 && c.failed[order.failKey] >= order.faults.FailTimes {
		return false
	}
	c.failed[order.failKey]++
	return true
}

// slot reserves the next staggered point in time and says how long until then. It
// counts from the previous cut, not from the calls that happen to be outstanding,
// so the spread does not depend on how fast calls arrive.
func (c *cuts) slot(namespace string, stagger time.Duration, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := now
	if next := c.slots[namespace].Add(stagger); next.After(at) {
		at = next
	}
	c.slots[namespace] = at
	return at.Sub(now)
}
