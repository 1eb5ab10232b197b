package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Collected is what a collection did.
type Collected struct {
	// Deleted packs, and their bytes.
	Deleted int
	Bytes   int64
	// Waiting are packs that no tree names, and that are deleted once those have ended who
	// were writing when that was seen.
	Waiting int
	// Writers that are waited for.
	Writers int
	// Kept are packs that the store did not let be deleted, and Why one of them.
	Kept int
	Why  string
}

// Collect deletes packs that no tree needs. It may be called beside sessions and beside
// other collections. What it finds it deletes once those who were writing then have
// ended: so it is to be called again from time to time. While a tree cannot be read,
// nothing is deleted.
func (r *Repository) Collect(ctx context.Context) (Collected, error) {
	c := collection{repo: r}
	if err := c.look(ctx); err != nil {
		return c.did, err
	}
	if err := c.sweep(ctx); err != nil {
		return c.did, err
	}
	if err := c.doom(ctx); err != nil {
		return c.did, err
	}
	return c.did, c.tidy(ctx)
}

// collection is one of them. What it knows is read in the order of its fields.
type collection struct {
	repo *Repository
	did  Collected

	dooms   map[string]*doom
	left    []string // notes of lists that have gone
	packs   map[string]Object
	writers map[string]*writing // without those that have died
	dead    map[string]*writing
	named   map[string]bool // packs that trees name
}

func (c *collection) look(ctx context.Context) (err error) {
	r := c.repo
	if c.dooms, c.left, err = r.dooms(ctx, true); err != nil {
		return err
	}
	for _, d := range c.dooms {
		if !d.known { // somebody died in between
			if err := r.noteWriters(ctx, d); err != nil {
				return err
			}
		}
	}
	if c.packs, err = r.packs(ctx); err != nil {
		return err
	}
	if err := c.lookAtWriters(ctx); err != nil {
		return err
	}
	// Only now: a tree of whoever was seen to have ended is there.
	c.named, err = r.named(ctx)
	return err
}

func (c *collection) lookAtWriters(ctx context.Context) (err error) {
	r := c.repo
	if c.writers, err = r.intents(ctx); err != nil {
		return err
	}
	c.dead = map[string]*writing{}
	first, newest := time.Time{}, time.Time{} // the next end, and the newest object
	for _, w := range c.writers {
		if first.IsZero() || w.until().Before(first) {
			first = w.until()
		}
		newest = later(newest, w.last)
	}
	for _, o := range c.packs {
		newest = later(newest, o.Time)
	}
	// The store's clock is at least at its newest object. To know better costs requests,
	// and matters only where a session seems to have died.
	if len(c.writers) > 0 && !r.options.Now().Before(first) && newest.Before(first) {
		if newest, err = r.storeTime(ctx); err != nil {
			return err
		}
	}
	for session, w := range c.writers {
		if newest.After(w.until()) {
			c.dead[session] = w
			delete(c.writers, session)
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// storeTime is the time by the store's clock.
func (r *Repository) storeTime(ctx context.Context) (at time.Time, err error) {
	key := r.at(clockIn, random(16))
	if err := r.put(ctx, key, []byte("a look at the clock; it can be deleted\n")); err != nil {
		return at, fmt.Errorf("object %s: %w", key, err)
	}
	err = r.list(ctx, r.at(clockIn, ""), func(o Object) error {
		if o.Key == key {
			at = o.Time
		} else if r.options.Now().Sub(o.Time) > expiry {
			_ = r.objects.Delete(ctx, o.Key) // one that was left; or the next time
		}
		return nil
	}, func() {})
	_ = r.drop(ctx, key) // or the next time
	if err == nil && at.IsZero() {
		err = fmt.Errorf("object %s: it was put a moment ago, and is not listed; the store is not to be relied on", key)
	}
	return at, err
}

// named gives the packs that all trees name.
func (r *Repository) named(ctx context.Context) (map[string]bool, error) {
	trees, err := r.Trees(ctx)
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	var lock sync.Mutex
	err = r.inParallel(ctx, len(trees), func(ctx context.Context, i int) error {
		h, err := r.head(ctx, trees[i].Name)
		if errors.Is(err, ErrNotFound) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return fmt.Errorf("nothing is deleted while a tree cannot be read; if its backup is given up, delete the object: %w", err)
		}
		lock.Lock()
		defer lock.Unlock()
		for _, p := range h.Packs {
			named[p.Name] = true
		}
		return nil
	})
	return named, err
}

// sweep deletes what was doomed before, where all have ended who might use it.
func (c *collection) sweep(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(c.dooms)) {
		if err := c.sweepOne(ctx, c.dooms[name]); err != nil {
			return err
		}
	}
	return nil
}

// wait tells whether somebody may still use a pack of a list.
func (c *collection) wait(d *doom) bool {
	return !d.known || slices.ContainsFunc(d.writers, func(session string) bool { return c.writers[session] != nil })
}

func (c *collection) sweepOne(ctx context.Context, d *doom) error {
	r := c.repo
	waits, left := c.wait(d), 0
	for _, pack := range d.Packs {
		o, there := c.packs[pack]
		switch {
		case !there:
			continue
		case c.named[pack]:
			left++ // somebody was quicker; it stays doomed, and goes with his tree
			continue
		case waits:
			left++
			c.did.Waiting++
			continue
		}
		err := r.drop(ctx, o.Key)
		if err == nil {
			c.did.Deleted++
			c.did.Bytes += o.Size
			delete(c.packs, pack)
			continue
		}
		left++
		if ctx.Err() != nil {
			return err
		}
		c.did.Kept++
		c.did.Why = fmt.Sprintf("delete object %s: %v", o.Key, err)
	}
	if waits || left > 0 {
		return nil
	}
	// The list last: what notes its writers is nothing without it.
	for _, key := range []string{r.at(doomedIn, d.Name+writersEnd), r.at(doomedIn, d.Name)} {
		if err := r.drop(ctx, key); err != nil {
			return c.leave(ctx, err)
		}
	}
	return nil
}

// leave leaves what could not be deleted to another collection.
func (c *collection) leave(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	c.did.Why = err.Error()
	return nil
}

// doom puts a list of what no tree names, and deletes that at once if nobody writes.
func (c *collection) doom(ctx context.Context) error {
	r := c.repo
	doomed := map[string]bool{}
	for _, d := range c.dooms {
		for _, pack := range d.Packs {
			doomed[pack] = true
		}
	}
	var packs []string
	for name, o := range c.packs {
		if !c.named[name] && !doomed[name] && !c.recent(o.Time) && len(packs) < maxDoomed {
			packs = append(packs, name)
		}
	}
	if len(packs) == 0 {
		c.did.Writers = len(c.writers)
		return nil
	}
	slices.Sort(packs)
	d, err := r.putDoom(ctx, packs)
	if err != nil {
		return err
	}
	// Those who write now are looked for again, and then all trees.
	if err := c.lookAtWriters(ctx); err != nil {
		return err
	}
	c.did.Writers = len(c.writers)
	if !c.wait(d) {
		if c.named, err = r.named(ctx); err != nil {
			return err
		}
	}
	return c.sweepOne(ctx, d)
}

// recent tells whether a pack may be one of a session that goes on, or that another goes
// on with. To doom it would be safe, and it would be sent once more by the next.
func (c *collection) recent(at time.Time) bool {
	if spare := c.repo.options.Spare; spare > 0 && at.After(c.repo.options.Now().Add(-spare)) {
		return true
	}
	for _, w := range c.writers {
		if !at.Before(w.began) {
			return true
		}
	}
	return false
}

// tidy removes what dead sessions and lists that have gone left.
func (c *collection) tidy(ctx context.Context) error {
	keys := c.left
	for _, w := range c.dead {
		// The end last: without it the others would be of a session that goes on.
		slices.Sort(w.keys)
		keys = append(keys, w.keys...)
	}
	for _, key := range keys {
		if err := c.repo.drop(ctx, key); err != nil {
			return c.leave(ctx, err)
		}
	}
	return nil
}
