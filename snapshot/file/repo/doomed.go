package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A doomed list, doomed/NAME, has packs that no tree named when it was put; beside it
// doomed/NAME_writers has the sessions that there were after that. A pack once doomed is
// never used again: so a list goes only when all its packs have gone, and who begins
// after a list was put cannot need what is on it.
const (
	writersEnd = "_writers"
	// maxDoomed are on one list at most, and maxDoomedList bounds it in bytes.
	maxDoomed     = 100_000
	maxDoomedList = 16 << 20
)

// doom is one doomed list.
type doom struct {
	Name  string   `json:"name"`
	Packs []string `json:"packs"`
	// writers that may still use a pack of it; known once that was put.
	writers []string
	known   bool
}

type doomWriters struct {
	Name    string   `json:"name"`
	Writers []string `json:"writers"`
}

// dooms reads all doomed lists; with writers also those, and the names of such without a
// list.
func (r *Repository) dooms(ctx context.Context, writers bool) (all map[string]*doom, left []string, err error) {
	prefix := r.at(doomedIn, "")
	all = map[string]*doom{}
	noted := map[string]bool{}
	err = r.list(ctx, prefix, func(o Object) error {
		name := strings.TrimPrefix(o.Key, prefix)
		if of, ok := strings.CutSuffix(name, writersEnd); ok && packForm.MatchString(of) {
			noted[of] = true
		} else if packForm.MatchString(name) {
			all[name] = &doom{Name: name}
		}
		return nil
	}, func() { clear(all); clear(noted) })
	if err != nil {
		return nil, nil, fmt.Errorf("list what is doomed: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(noted)) {
		if all[name] == nil {
			left = append(left, r.at(doomedIn, name+writersEnd))
		}
	}
	names := slices.Sorted(maps.Keys(all))
	gone := make([]bool, len(names))
	err = r.inParallel(ctx, len(names), func(ctx context.Context, i int) error {
		d := all[names[i]]
		var err error
		if gone[i], err = r.readDoom(ctx, d); err != nil || gone[i] || !writers || !noted[d.Name] {
			return err
		}
		return r.readDoomWriters(ctx, d)
	})
	if err != nil {
		return nil, nil, err
	}
	for i, name := range names {
		if gone[i] {
			delete(all, name)
		}
	}
	return all, left, nil
}

// signedJSON reads an object of ours. ErrNotFound if it is gone.
func (r *Repository) signedJSON(ctx context.Context, kind, name string, most int64, into any) error {
	key := r.at(kind, name)
	sealed, err := r.get(ctx, key, 0, most)
	if err != nil {
		return fmt.Errorf("object %s: %w", key, err)
	}
	text, err := r.verify(key, sealed)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return r.damaged(kind, name, fmt.Errorf("%w; delete it, and it is made anew", err))
	}
	return nil
}

// readDoom tells whether the list is gone: then so are its packs.
func (r *Repository) readDoom(ctx context.Context, d *doom) (gone bool, err error) {
	name := d.Name
	err = r.signedJSON(ctx, doomedIn, name, maxDoomedList, d)
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	d.Name = name
	return false, err
}

func (r *Repository) readDoomWriters(ctx context.Context, d *doom) error {
	var w doomWriters
	err := r.signedJSON(ctx, doomedIn, d.Name+writersEnd, maxDoomedList, &w)
	if errors.Is(err, ErrNotFound) {
		return nil // another collection is tidying up
	}
	d.writers, d.known = w.Writers, err == nil
	return err
}

// putDoom puts a list and then, since only what is listed after it counts, its writers.
func (r *Repository) putDoom(ctx context.Context, packs []string) (*doom, error) {
	d := &doom{Name: random(16), Packs: packs}
	if err := r.putSigned(ctx, doomedIn, d.Name, d); err != nil {
		return nil, err
	}
	return d, r.noteWriters(ctx, d)
}

// noteWriters lists who writes now, and notes it for a list that is there. What another
// collection noted is as good.
func (r *Repository) noteWriters(ctx context.Context, d *doom) error {
	now, err := r.intents(ctx)
	if err != nil {
		return err
	}
	d.writers, d.known = slices.Sorted(maps.Keys(now)), true
	err = r.putSigned(ctx, doomedIn, d.Name+writersEnd, doomWriters{Name: d.Name, Writers: d.writers})
	if errors.Is(err, ErrExists) {
		d.known = false
		return r.readDoomWriters(ctx, d)
	}
	return err
}

func (r *Repository) putSigned(ctx context.Context, kind, name string, what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	key := r.at(kind, name)
	signed, err := r.sign(key, text)
	if err != nil {
		return err
	}
	if err := r.put(ctx, key, signed); err != nil {
		return fmt.Errorf("object %s: %w", key, err)
	}
	return nil
}
