package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/semaphore"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// source gives the files of one cut.
type source struct {
	n   *Node
	cut *cut
	key tree.HashKey
	// Compression of its frames.
	compression Compression
}

var _ transfer.Source = (*source)(nil)

// Source gives the files of the cut of that name (Measured.Cut), with the IDs of a
// repository. Closing it closes the node.
func (n *Node) Source(cut string, key tree.HashKey) (transfer.Source, error) {
	return n.SourceWith(cut, key, CompressionOn)
}

// SourceWith is Source for measurements.
func (n *Node) SourceWith(cut string, key tree.HashKey, c Compression) (transfer.Source, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut == nil || n.cut.measured.Cut != cut {
		return nil, fmt.Errorf("cut %s: %w", cut, ErrNotMeasured)
	}
	return &source{n, n.cut, key, c}, nil
}

// Files implements transfer.Source.
func (s *source) Files(context.Context) ([]tree.Meta, error) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	if s.n.failed != "" {
		return nil, fmt.Errorf("%w: %s", ErrLetGo, s.n.failed)
	}
	metas := make([]tree.Meta, len(s.cut.files))
	for i, f := range s.cut.files {
		metas[i] = f.meta
	}
	return metas, nil
}

// file gives what can be read of a file, and what lets go of it again.
func (s *source) file(i int) (io.ReaderAt, *measured, func(), error) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	if i < 0 || i >= len(s.cut.files) {
		return nil, nil, nil, fmt.Errorf("there is no file %d, of %d", i, len(s.cut.files))
	}
	f := s.cut.files[i] // a copy: what is held may be let go while it is read
	switch {
	case s.n.cut != s.cut:
		return nil, nil, nil, fmt.Errorf("%w: another cut took the place of %s, or the node was closed", ErrLetGo, s.cut.measured.Cut)
	case f.gone && s.n.failed != "":
		return nil, nil, nil, fmt.Errorf("%w: %s", ErrLetGo, s.n.failed)
	case f.gone:
		return nil, nil, nil, fmt.Errorf("%w: all of it was read, and its node needed the space", ErrLetGo)
	case f.held == nil:
		return texts(f.text), &f, func() {}, nil
	}
	h := f.held.share()
	return h.f, &f, h.release, nil
}

// texts is a file that was read at the cut.
type texts []byte

func (t texts) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(t)) {
		return 0, io.EOF
	}
	n := copy(p, t[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readAll fills b from a file, or says that the file is too short for that.
func readAll(r io.ReaderAt, b []byte, at int64) error {
	_, err := r.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("it ends before byte %d: %w", at+int64(len(b)), transfer.ErrShort)
	}
	return err
}

// Match implements transfer.Source.
func (s *source) Match(ctx context.Context, i int, known []tree.Piece) (int, error) {
	r, f, release, err := s.file(i)
	if err != nil {
		return 0, err
	}
	defer release()
	shared := transfer.NewRoom()
	defer shared.Back()
	room := shared.Space(ChunkSize)
	at := int64(0)
	for k, p := range known {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if p.Length < 1 || p.Length > MaxChunk || p.Length > f.meta.Size-at {
			return k, nil
		}
		if int64(len(room)) < p.Length {
			room = make([]byte, p.Length)
		}
		if err := readAll(r, room[:p.Length], at); err != nil {
			return 0, err
		}
		if !s.key.IDOf(room[:p.Length]).Is(p.ID) {
			return k, nil
		}
		at += p.Length
	}
	return len(known), nil
}

// ahead is how many chunks of a file are read, hashed and compressed at once. With what
// the receiver has this bounds the memory: some 2 MiB each.
const ahead = 3

// Read implements transfer.Source.
func (s *source) Read(ctx context.Context, i int, from int64, yield func(transfer.Frame) error) error {
	r, f, release, err := s.file(i)
	if err != nil {
		return err
	}
	defer release()
	if from < 0 || from > f.meta.Size {
		return fmt.Errorf("byte %d of a file of %d", from, f.meta.Size)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// One asks for chunk after chunk, each is made by itself, and they are given in order.
	chunks := make(chan chan made, ahead)
	go func() {
		defer close(chunks)
		for at := from; at < f.meta.Size; at += chunkAt(at, f.meta.Size) {
			one := make(chan made, 1)
			select {
			case chunks <- one:
			case <-ctx.Done():
				return
			}
			go func() { one <- s.make(ctx, r, at, chunkAt(at, f.meta.Size)) }()
		}
	}()
	for one := range chunks {
		m := <-one
		if m.err != nil {
			return m.err
		}
		if err := yield(m.frame); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := s.untouched(f); err != nil {
		return err
	}
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	s.cut.files[i].read = true
	return nil
}

// made is a chunk, or why it could not be made.
type made struct {
	frame transfer.Frame
	err   error
}

// making bounds the chunks that are made at once. More are no quicker: they take the
// processors' caches, and memory, from each other.
var making = semaphore.NewWeighted(int64(2 * runtime.GOMAXPROCS(0)))

func (s *source) make(ctx context.Context, r io.ReaderAt, at, length int64) made {
	if err := making.Acquire(ctx, 1); err != nil {
		return made{err: context.Cause(ctx)}
	}
	defer making.Release(1)
	room := transfer.NewRoom()
	defer room.Back()
	plain := room.Space(int(length))
	if err := readAll(r, plain, at); err != nil {
		return made{err: err}
	}
	packed := transfer.NewRoom()
	data := s.compression.Frame(plain, packed.Space(0))
	return made{frame: transfer.Frame{Piece: tree.Piece{ID: s.key.IDOf(plain), Length: length}, Data: data, Room: packed}}
}

// untouched makes sure, after all of a view was read, that it was not made anew meanwhile.
func (s *source) untouched(f *measured) error {
	if !f.meta.View() || f.held == nil {
		return nil
	}
	now, err := tailOf(f.held.fd, f.meta.Size)
	if err != nil {
		return err
	}
	if now != f.tail {
		return fmt.Errorf("it was made anew since: %w", transfer.ErrShort)
	}
	return nil
}

// Close implements transfer.Source.
func (s *source) Close(context.Context) error { return s.n.Close() }
