package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// judge puts together what is damaged, and names the trees and files that suffer.
func (c *check) judge(ctx context.Context, trees []TreeName) error {
	r := c.repo
	damage := map[string]*Damage{} // by the object's key
	note := func(key, reason string) *Damage {
		if damage[key] == nil {
			damage[key] = &Damage{Key: key, Reason: reason}
		}
		return damage[key]
	}
	names := make([]string, len(c.numbers))
	for name, no := range c.numbers {
		names[no] = name
	}
	for name, err := range c.bad {
		note(r.at(packsIn, name), err.Error())
	}
	packOf := map[tree.ID]string{}
	for _, id := range sortedIDs(c.badChunks) {
		n, ok := c.refs.find(id)
		if !ok {
			continue // no tree has that chunk
		}
		ref := c.refs.at(n)
		name := names[ref.pack]
		packOf[id] = name
		if c.bad[name] == nil {
			note(r.at(packsIn, name), fmt.Sprintf("chunk %s, %d bytes from %d on: %v", refID(id, ref.pack, int64(ref.offset)), ref.stored, ref.offset, c.badChunks[id]))
		}
	}
	for name, err := range c.badTrees {
		key := r.at(treesIn, name)
		var bad *Damaged
		reason := err.Error()
		if errors.As(err, &bad) {
			key, reason = bad.Key, bad.Err.Error()
		}
		d := note(key, reason)
		d.Trees = append(d.Trees, name)
	}
	if len(c.bad) > 0 || len(packOf) > 0 {
		for _, t := range trees {
			if c.badTrees[t.Name] != nil {
				continue
			}
			if err := c.suffers(ctx, t.Name, damage); err != nil {
				return err
			}
		}
	}
	for _, d := range damage {
		if len(d.Trees) == 0 && c.goneSince(d.Key) {
			continue // its trees were deleted, and so was it
		}
		slices.Sort(d.Trees)
		d.Trees = slices.Compact(d.Trees)
		c.report.Damaged = append(c.report.Damaged, *d)
	}
	slices.SortFunc(c.report.Damaged, func(a, b Damage) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return nil
}

func (c *check) goneSince(key string) bool {
	for name := range c.bad {
		if c.repo.at(packsIn, name) == key {
			_, there := c.packs[name]
			return !there
		}
	}
	return false
}

// suffers notes the files of a tree that need something damaged.
func (c *check) suffers(ctx context.Context, name string, damage map[string]*Damage) error {
	h, err := c.repo.head(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	path := ""
	see := func(t tree.Chunk) {
		if c.bad[t.Pack] == nil && c.badChunks[refID(t.ID, c.numbers[t.Pack], t.Offset)] == nil {
			return
		}
		d := damage[c.repo.at(packsIn, t.Pack)]
		if d == nil {
			return
		}
		if !slices.Contains(d.Trees, name) {
			d.Trees = append(d.Trees, name)
		}
		if file := name + ": " + path; path != "" && len(d.Files) < maxFilesNamed && !slices.Contains(d.Files, file) {
			d.Files = append(d.Files, file)
		}
	}
	for _, l := range h.Lists {
		see(l.chunk())
	}
	return c.repo.entries(ctx, h, &listReader{
		file:  func(m tree.Meta) error { path = m.Path; return nil },
		chunk: func(t tree.Chunk) error { see(t); return nil },
	})
}

func sortedIDs(m map[tree.ID]error) []tree.ID {
	ids := make([]tree.ID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b tree.ID) int { return slices.Compare(a[:], b[:]) })
	return ids
}
