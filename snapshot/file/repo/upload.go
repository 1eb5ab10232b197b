package repo

import (
	"context"
	"fmt"
	"sync"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Put takes a chunk and tells where it will lie. It waits while the budget is spent.
func (s *Session) Put(ctx context.Context, f transfer.Frame) (tree.Chunk, error) {
	if f.Length < 1 || f.Length > maxChunk || len(f.Data) < 1 || len(f.Data) > maxChunk+maxChunk/8 {
		return tree.Chunk{}, fmt.Errorf("chunk %s: %d bytes, compressed %d; %d are the most", f.ID, f.Length, len(f.Data), maxChunk)
	}
	if c, ok, err := s.there(f); ok || err != nil {
		return c, err
	}
	// The open pack has a part of the budget until it is full: what is asked for must fit
	// beside it, or nobody would ever go on.
	stored := s.repo.sealedLength(len(f.Data))
	weight := min(int64(stored), s.repo.options.Budget-s.repo.options.PackSize)
	if err := s.budget.Acquire(ctx, weight); err != nil {
		return tree.Chunk{}, fmt.Errorf("wait for earlier chunks to be stored: %w", err)
	}
	c, p, room, err := s.place(f.Piece, stored, weight)
	if p == nil {
		s.budget.Release(weight)
		return c, err
	}
	// Without the lock: others seal into the same pack meanwhile.
	defer p.filling.Done()
	if _, err := s.repo.sealTo(room, f.Data); err != nil {
		err = fmt.Errorf("chunk %s: %w", f.ID, err)
		s.lock.Lock()
		p.broken = err
		s.lock.Unlock()
		return tree.Chunk{}, err
	}
	return c, nil
}

// there gives a chunk that needs not be written.
func (s *Session) there(f transfer.Frame) (tree.Chunk, bool, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if err := s.over(); err != nil {
		return tree.Chunk{}, false, err
	}
	n, ok := s.index.find(f.ID)
	if !ok {
		return tree.Chunk{}, false, nil
	}
	c := s.chunk(n)
	if c.Length != f.Length {
		return tree.Chunk{}, false, fmt.Errorf("chunk %s: it has %d bytes, and one of that ID with %d is there", f.ID, f.Length, c.Length)
	}
	return c, true, nil
}

func (s *Session) over() error {
	if s.failed != nil {
		return s.failed
	}
	if s.closed {
		return ErrClosed
	}
	return nil
}

// place gives a chunk its place in the open pack, of which one is being filled until who
// called says that it is. No pack if it needs none.
func (s *Session) place(piece tree.Piece, stored int, weight int64) (tree.Chunk, *packing, []byte, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if err := s.over(); err != nil {
		return tree.Chunk{}, nil, nil, err
	}
	if n, there := s.index.find(piece.ID); there { // somebody else put it meanwhile
		return s.chunk(n), nil, nil, nil
	}
	if s.open != nil && int64(len(s.open.data)+stored)+s.open.trailerBytes() > s.repo.options.PackSize {
		s.send()
	}
	if s.open == nil {
		s.open = &packing{name: s.id + random(8), data: packRoom(max(s.repo.options.PackSize, int64(stored)+trailerGuess)), done: make(chan struct{})}
	}
	p := s.open
	offset, room := p.add(piece, stored)
	p.weight += weight
	p.filling.Add(1)
	n := s.note(tree.Chunk{Piece: piece, Pack: p.name, Offset: offset, Stored: int64(stored)}, 0)
	c := s.chunk(n)
	if int64(len(p.data))+p.trailerBytes() >= s.repo.options.PackSize || len(p.in) >= maxInPack {
		s.send()
	}
	return c, p, room, nil
}

// packRooms are those of packs that are stored.
var packRooms sync.Pool

// packRoom gives an empty buffer for a pack of that size, all of it at once: a slice that
// grows is copied again and again. What is not filled costs no memory.
func packRoom(size int64) []byte {
	if b, ok := packRooms.Get().(*[]byte); ok && int64(cap(*b)) >= size {
		return (*b)[:0]
	}
	return make([]byte, 0, size)
}

// send has the open pack stored. The lock is held.
func (s *Session) send() {
	p := s.open
	s.open = nil
	s.pending[p.name] = p
	s.running.Go(func() {
		size, err := s.store(p)
		if err != nil {
			s.fail(err)
		}
		s.lock.Lock()
		s.packs[s.packNo[p.name]].size = size
		delete(s.pending, p.name)
		s.lock.Unlock()
		s.budget.Release(p.weight)
		close(p.done)
	})
}

// store writes a pack and gives its size.
func (s *Session) store(p *packing) (int64, error) {
	if err := s.uploads.Acquire(s.life, 1); err != nil {
		return 0, err
	}
	defer s.uploads.Release(1)
	p.filling.Wait()
	if p.broken != nil {
		return 0, p.broken
	}
	if err := p.finish(s.repo); err != nil {
		return 0, fmt.Errorf("pack %s: %w", p.name, err)
	}
	size := int64(len(p.data))
	answered, err := s.put(s.life, s.repo.at(packsIn, p.name), p.data, nil)
	if err != nil {
		return 0, fmt.Errorf("store object %s: %w", s.repo.at(packsIn, p.name), err)
	}
	if data := p.data; answered { // else a request may be reading it still
		packRooms.Put(&data)
	}
	p.data = nil
	s.sent.Add(size)
	return size, nil
}

// flush has all stored that was put until now, or says why that failed.
func (s *Session) flush(ctx context.Context) error {
	s.lock.Lock()
	if s.open != nil && s.failed == nil {
		s.send()
	}
	var waits []*packing
	for _, p := range s.pending {
		waits = append(waits, p)
	}
	s.lock.Unlock()
	for _, p := range waits {
		select {
		case <-p.done:
		case <-ctx.Done():
			return fmt.Errorf("wait for pack %s to be stored: %w", p.name, ctx.Err())
		}
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.failed
}
