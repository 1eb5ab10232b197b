package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

const (
	// orphanAge is how old a pack may be that is looked into though no base names it: an
	// interrupted session's, or one of other backups.
	orphanAge = 7 * 24 * time.Hour
	// maxOrphans are looked into, and maxOrphanChunks taken from them.
	maxOrphans      = 8192
	maxOrphanChunks = 1 << 20
)

// usable are the packs whose chunks a session may use.
type usable struct {
	packs  map[string]Object
	oldest time.Time // zero for any
}

// has tells whether a pack is there as it was when it was named; size 0 for any.
func (u usable) has(name string, size int64) bool {
	o, ok := u.packs[name]
	return ok && (size == 0 || o.Size == size) && !o.Time.Before(u.oldest)
}

// learn reads what there is to use again. The doomed lists come first, see Collect.
func (s *Session) learn(ctx context.Context, bases []string) error {
	r := s.repo
	dooms, _, err := r.dooms(ctx, false)
	if err != nil {
		return err
	}
	u := usable{}
	if u.packs, err = r.packs(ctx); err != nil {
		return err
	}
	for _, d := range dooms {
		for _, name := range d.Packs {
			delete(u.packs, name)
		}
	}
	if r.options.MaxAge > 0 {
		u.oldest = s.begun.Add(-r.options.MaxAge)
	}
	named := map[string]bool{}
	for _, name := range bases {
		err := s.learnBase(ctx, u, name, named)
		var bad *Damaged
		switch {
		case errors.As(err, &bad), errors.Is(err, ErrNotFound):
			s.warnings = append(s.warnings, fmt.Errorf("the files of tree %s are sent as if they were new: %w", name, err))
		case err != nil:
			return fmt.Errorf("read tree %s: %w", name, err)
		}
	}
	return s.learnOrphans(ctx, u, named)
}

// learnBase notes the files of an earlier tree.
func (s *Session) learnBase(ctx context.Context, u usable, name string, named map[string]bool) error {
	parsed, err := ParseTreeName(name)
	if err != nil {
		return err
	}
	h, err := s.repo.head(ctx, name)
	if err != nil {
		return err
	}
	sizes := make(map[string]int64, len(h.Packs))
	for _, p := range h.Packs {
		sizes[p.Name] = p.Size
		named[p.Name] = true
	}
	var file fileOf
	var numbers []uint32
	broken := false
	begin := func(next fileOf) {
		if len(numbers) > 0 {
			s.known[file] = slices.Clone(numbers)
		}
		file, numbers, broken = next, numbers[:0], false
	}
	use := func(c tree.Chunk) (uint32, bool) {
		if !u.has(c.Pack, sizes[c.Pack]) {
			return 0, false
		}
		return s.note(c, sizes[c.Pack]), true
	}
	for _, l := range h.Lists {
		use(l.chunk())
	}
	err = s.repo.entries(ctx, h, &listReader{
		file: func(m tree.Meta) error {
			begin(fileOf{parsed.Node, m.Path})
			return nil
		},
		chunk: func(c tree.Chunk) error {
			n, ok := use(c)
			broken = broken || !ok
			if !broken {
				numbers = append(numbers, n)
			}
			return nil
		},
	})
	begin(fileOf{})
	return err
}

// learnOrphans notes the chunks of packs that no base names: the newest first.
func (s *Session) learnOrphans(ctx context.Context, u usable, named map[string]bool) error {
	r := s.repo
	since := s.begun.Add(-orphanAge)
	var orphans []Object
	for name, o := range u.packs {
		if !named[name] && u.has(name, 0) && o.Time.After(since) {
			orphans = append(orphans, o)
		}
	}
	slices.SortFunc(orphans, func(a, b Object) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
	orphans = orphans[:min(len(orphans), maxOrphans)]
	return r.inParallel(ctx, len(orphans), func(ctx context.Context, i int) error {
		name := strings.TrimPrefix(orphans[i].Key, r.at(packsIn, ""))
		in, err := r.trailer(ctx, name, orphans[i].Size)
		var bad *Damaged
		if errors.As(err, &bad) || errors.Is(err, ErrNotFound) {
			return nil // nobody needs it
		}
		if err != nil {
			return err
		}
		s.lock.Lock()
		defer s.lock.Unlock()
		if s.index.n > maxOrphanChunks {
			return nil
		}
		for _, h := range in {
			s.note(tree.Chunk{Piece: h.Piece, Pack: name, Offset: h.offset, Stored: h.stored}, orphans[i].Size)
		}
		return nil
	})
}
