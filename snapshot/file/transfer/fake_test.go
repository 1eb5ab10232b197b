package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// node is a source and a sink in memory. Its frames are not compressed.
type node struct {
	metas []tree.Meta
	data  map[string][]byte
	key   tree.HashKey
	piece int
	short map[string]bool

	lock  sync.Mutex
	reads map[string]int64 // bytes that were read, by path
	put   map[string][]byte
	done  []int
	ended bool
	now   int // files on their way
	most  int
}

func newNode(piece int, files ...string) *node {
	n := &node{data: map[string][]byte{}, piece: piece, short: map[string]bool{}, reads: map[string]int64{}, put: map[string][]byte{}}
	for i := 0; i < len(files); i += 2 {
		n.metas = append(n.metas, tree.Meta{Path: files[i], Size: int64(len(files[i+1])), Mode: 0o640, UID: i})
		n.data[files[i]] = []byte(files[i+1])
	}
	return n
}

func (n *node) Files(context.Context) ([]tree.Meta, error) { return n.metas, nil }

func (n *node) Match(_ context.Context, file int, known []tree.Piece) (int, error) {
	data := n.data[n.metas[file].Path]
	for i, p := range known {
		if int64(len(data)) < p.Length || !n.key.IDOf(data[:p.Length]).Is(p.ID) {
			return i, nil
		}
		data = data[p.Length:]
	}
	return len(known), nil
}

func (n *node) enter(by int) {
	n.lock.Lock()
	defer n.lock.Unlock()
	n.now += by
	n.most = max(n.most, n.now)
}

func (n *node) Read(_ context.Context, file int, from int64, yield func(Frame) error) error {
	n.enter(1)
	defer n.enter(-1)
	path := n.metas[file].Path
	data := n.data[path][from:]
	for len(data) > 0 {
		if n.short[path] && len(data) <= n.piece {
			return fmt.Errorf("%s: %w", path, ErrShort)
		}
		part := data[:min(n.piece, len(data))]
		data = data[len(part):]
		n.lock.Lock()
		n.reads[path] += int64(len(part))
		n.lock.Unlock()
		if err := yield(Frame{Piece: tree.Piece{ID: n.key.IDOf(part), Length: int64(len(part))}, Data: part}); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) Close(context.Context) error { return nil }

func (n *node) Begin(_ context.Context, files []tree.Meta, key tree.HashKey) ([]int, error) {
	n.metas, n.key = files, key
	return n.done, nil
}

func (n *node) Put(_ context.Context, file int, next func() (Frame, error)) error {
	n.enter(1)
	defer n.enter(-1)
	var whole []byte
	for {
		f, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the sink says: %w", err)
		}
		if !n.key.IDOf(f.Data).Is(f.ID) {
			return errors.New("another chunk")
		}
		whole = append(whole, f.Data...)
	}
	n.lock.Lock()
	defer n.lock.Unlock()
	n.put[n.metas[file].Path] = whole
	return nil
}

func (n *node) Finish(context.Context) error { n.ended = true; return nil }

// store is a repository in memory.
type store struct {
	key    tree.HashKey
	lock   sync.Mutex
	chunks map[tree.ID][]byte
	trees  map[string]tree.Tree
	base   string
	failAt map[tree.ID]error
	putErr error
}

func newStore() *store {
	return &store{chunks: map[tree.ID][]byte{}, trees: map[string]tree.Tree{}, failAt: map[tree.ID]error{}}
}

func (s *store) HashKey() tree.HashKey { return s.key }

func (s *store) Known(_, path string) []tree.Chunk {
	for _, f := range s.trees[s.base].Files {
		if f.Path == path {
			return f.Chunks
		}
	}
	return nil
}

func (s *store) Find(id tree.ID) (tree.Chunk, bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	d, there := s.chunks[id]
	return tree.Chunk{Piece: tree.Piece{ID: id, Length: int64(len(d))}}, there
}

func (s *store) Put(_ context.Context, f Frame) (tree.Chunk, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.putErr != nil {
		return tree.Chunk{}, s.putErr
	}
	s.chunks[f.ID] = bytes.Clone(f.Data)
	return tree.Chunk{Piece: f.Piece}, nil
}

func (s *store) Commit(_ context.Context, t tree.Tree) (string, error) {
	name := fmt.Sprintf("tree-%d", len(s.trees))
	s.trees[name] = t
	return name, nil
}

func (s *store) Sent() int64 { return 0 }

func (s *store) Tree(_ context.Context, name string) (tree.Tree, error) {
	t, there := s.trees[name]
	if !there {
		return t, errors.New("no such tree")
	}
	return t, nil
}

func (s *store) Read(_ context.Context, chunks []tree.Chunk, yield func(Frame) error) error {
	for _, c := range chunks {
		if err := s.failAt[c.ID]; err != nil {
			return err
		}
		if err := yield(Frame{Piece: c.Piece, Data: s.chunks[c.ID]}); err != nil {
			return err
		}
	}
	return nil
}
