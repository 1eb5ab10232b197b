package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Commit has all chunks of the tree stored, then writes the tree, and gives its name.
func (s *Session) Commit(ctx context.Context, t tree.Tree) (string, error) {
	name, err := treeName(s.begun, s.writer, t.Node)
	if err != nil {
		return "", err
	}
	if !s.nodes[t.Node] {
		return "", fmt.Errorf("node %s is none of this session's", t.Node)
	}
	h := head{Format: headFormat, Name: name.Name, Files: len(t.Files), Size: t.Size()}
	needed := map[uint32]bool{} // packs
	if err := s.check(t, &h, needed); err != nil {
		return "", err
	}
	err = writeLists(t, func(text []byte) error {
		piece := tree.Piece{ID: s.HashKey().IDOf(text), Length: int64(len(text))}
		c, err := s.Put(ctx, transfer.Frame{Piece: piece, Data: packer.EncodeAll(text, nil)})
		if err != nil {
			return fmt.Errorf("put a list of files: %w", err)
		}
		h.Lists = append(h.Lists, listed{c.ID, c.Length, c.Pack, c.Offset, c.Stored})
		return s.need(c, needed)
	})
	if err != nil {
		return "", err
	}
	if err := s.flush(ctx); err != nil {
		return "", err
	}
	if h.Packs, err = s.stored(needed); err != nil {
		return "", err
	}
	return name.Name, s.commit(ctx, h)
}

// check refuses a tree that nobody could read, or of which this session does not know all
// chunks.
func (s *Session) check(t tree.Tree, h *head, needed map[uint32]bool) error {
	if len(t.Files) > maxFiles {
		return fmt.Errorf("node %s has %d files; %d are the most", t.Node, len(t.Files), maxFiles)
	}
	last := ""
	for _, f := range t.Files {
		if err := checkMeta(f.Meta); err != nil {
			return err
		}
		if f.Path <= last {
			return fmt.Errorf("path %.200q comes after %.200q", f.Path, last)
		}
		last = f.Path
		left := f.Size
		for _, c := range f.Chunks {
			if err := s.need(c, needed); err != nil {
				return fmt.Errorf("path %.200q: %w", f.Path, err)
			}
			left -= c.Length
		}
		if left != 0 {
			return fmt.Errorf("path %.200q: it has %d bytes, and %d of them in its chunks", f.Path, f.Size, f.Size-left)
		}
		h.Chunks += len(f.Chunks)
	}
	if h.Chunks > maxChunks {
		return fmt.Errorf("node %s has %d chunks; %d are the most", t.Node, h.Chunks, maxChunks)
	}
	for _, path := range t.Dropped {
		if err := CheckPath(path); err != nil {
			return err
		}
	}
	return nil
}

// need notes the pack of a chunk, which must be just where this session has it: what
// other sessions knew may be deleted by now.
func (s *Session) need(c tree.Chunk, needed map[uint32]bool) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	n, ok := s.index.find(c.ID)
	if !ok || s.chunk(n) != c {
		return fmt.Errorf("chunk %s in pack %.80q is none that this session knows", c.ID, c.Pack)
	}
	needed[s.index.at(n).pack] = true
	return nil
}

// stored gives the packs with their sizes, all of which must have been confirmed.
func (s *Session) stored(needed map[uint32]bool) ([]namedPack, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if err := s.over(); err != nil {
		return nil, err
	}
	packs := make([]namedPack, 0, len(needed))
	for _, no := range slices.Sorted(maps.Keys(needed)) {
		p := s.packs[no]
		if p.size == 0 {
			return nil, fmt.Errorf("pack %s was not stored", p.name)
		}
		packs = append(packs, namedPack{p.name, p.size})
	}
	return packs, nil
}

// commit writes the head.
func (s *Session) commit(ctx context.Context, h head) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	key := s.repo.at(treesIn, h.Name)
	signed, err := s.repo.sign(key, text)
	if err != nil {
		return err
	}
	if len(signed) > maxHead || len(text) > maxUnpacked {
		return fmt.Errorf("object %s: it would have %d bytes; %d are the most", key, len(signed), maxHead)
	}
	s.lock.Lock()
	if s.closed {
		s.lock.Unlock()
		return ErrClosed
	}
	s.asking++ // should this be the end, the intent stays
	s.lock.Unlock()
	within, cancel := context.WithTimeout(ctx, commitWithin)
	defer cancel()
	_, err = s.put(within, key, signed, s.fresh)
	s.lock.Lock()
	s.asking--
	s.lock.Unlock()
	if errors.Is(err, ErrExists) {
		return fmt.Errorf("object %s: this session has committed a tree of that node: %w", key, err)
	}
	if err != nil {
		return fmt.Errorf("store object %s: %w", key, err)
	}
	s.sent.Add(int64(len(signed)))
	return nil
}

// commitWithin bounds the writing of a head, from its last look at how fresh the session
// is on; see settled.
const commitWithin = time.Hour

// fresh tells whether a tree may be committed.
func (s *Session) fresh(ctx context.Context) error {
	if err := s.renewing.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.renewing.Release(1)
	return s.intent.fresh()
}
