package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Options of a transfer.
type Options struct {
	// Parallel is how many files are on their way at once; 0 for 4. Each holds a frame or
	// two in memory.
	Parallel int
	// Slots bounds the files of all transfers that share it; nil for no such bound.
	Slots *semaphore.Weighted
	// Progress is told from time to time, by one goroutine at a time; nil for nobody.
	Progress func(Progress)
}

func (o Options) parallel() int {
	if o.Parallel < 1 {
		return 4
	}
	return o.Parallel
}

// Backup copies all of a source into a repository and commits it as the node's tree.
// Of a file that an earlier backup has, only what follows its known beginning is sent.
// A view that has become shorter is left out and named in the tree; any other such file
// is an error that wraps ErrShort.
func Backup(ctx context.Context, s Source, w Writer, node string, o Options) (tree.Tree, string, error) {
	metas, err := s.Files(ctx)
	if err != nil {
		return tree.Tree{}, "", fmt.Errorf("%s: list the files: %w", node, err)
	}
	t := tree.Tree{Node: node}
	m := newMeter(metas, o.Progress)
	var lock sync.Mutex
	err = each(ctx, metas, o, func(ctx context.Context, i int) error {
		chunks, err := copyFile(ctx, s, w, node, i, metas[i], m)
		lock.Lock()
		defer lock.Unlock()
		switch {
		case err == nil:
			t.Files = append(t.Files, tree.File{Meta: metas[i], Chunks: chunks})
		case errors.Is(err, ErrShort) && metas[i].View():
			t.Dropped = append(t.Dropped, metas[i].Path)
		default:
			return fmt.Errorf("%s: copy %s: %w", node, metas[i].Path, err)
		}
		m.file()
		return nil
	})
	if err != nil {
		return tree.Tree{}, "", err
	}
	slices.SortFunc(t.Files, func(a, b tree.File) int { return cmp.Compare(a.Path, b.Path) })
	slices.Sort(t.Dropped)
	name, err := w.Commit(ctx, t)
	if err != nil {
		return tree.Tree{}, "", fmt.Errorf("%s: commit the tree: %w", node, err)
	}
	return t, name, nil
}

// copyFile gives the chunks of one file.
func copyFile(ctx context.Context, s Source, w Writer, node string, i int, meta tree.Meta, m *meter) ([]tree.Chunk, error) {
	chunks := Keep(w.Known(node, meta.Path), meta.Size)
	if len(chunks) > 0 {
		pieces := make([]tree.Piece, len(chunks))
		for k, c := range chunks {
			pieces[k] = c.Piece
		}
		matched, err := s.Match(ctx, i, pieces)
		if err != nil {
			return nil, err
		}
		if matched < 0 || matched > len(chunks) {
			return nil, fmt.Errorf("%d of %d chunks match, it is said", matched, len(chunks))
		}
		chunks = slices.Clone(chunks[:matched])
	}
	at := length(chunks)
	m.bytes(at)
	if at == meta.Size {
		return chunks, nil
	}
	err := s.Read(ctx, i, at, func(f Frame) error {
		if f.Length < 1 || f.Length > meta.Size-at {
			return fmt.Errorf("a chunk of %d bytes at %d, where the file had %d bytes", f.Length, at, meta.Size)
		}
		c, err := w.Put(ctx, f)
		f.Room.Back()
		if err != nil {
			return err
		}
		chunks = append(chunks, c)
		at += f.Length
		m.bytes(f.Length)
		return nil
	})
	if err == nil && at != meta.Size {
		err = fmt.Errorf("%d of %d bytes came", at, meta.Size)
	}
	return chunks, err
}

const (
	// small is below what a chunk is a fragment: the end of a file at some cut.
	small = 256 << 10
	// mostFragments is how many of those may stand at a file's end before they are sent
	// once more as one.
	mostFragments = 24
)

// Keep gives those of an earlier backup's chunks of a file that are worth to be compared
// with it, from the first on: no more than it has bytes, and without the fragments at its
// end where those have become many.
func Keep(known []tree.Chunk, size int64) []tree.Chunk {
	var at int64
	for i, c := range known {
		if c.Length < 1 || c.Length > size-at {
			known = known[:i]
			break
		}
		at += c.Length
	}
	fragments := 0
	for i := len(known) - 1; i >= 0 && known[i].Length < small; i-- {
		fragments++
	}
	if fragments > mostFragments {
		known = known[:len(known)-fragments]
	}
	return known
}

func length(chunks []tree.Chunk) (n int64) {
	for _, c := range chunks {
		n += c.Length
	}
	return n
}

// each calls do for all files, some at once, the largest first: so that none is begun
// last that takes longest. The first error ends the others.
func each(ctx context.Context, metas []tree.Meta, o Options, do func(context.Context, int) error) error {
	order := make([]int, len(metas))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(metas[b].Size, metas[a].Size) })
	group, all := errgroup.WithContext(ctx)
	group.SetLimit(o.parallel())
	for _, i := range order {
		if all.Err() != nil {
			break
		}
		group.Go(func() error {
			if o.Slots != nil {
				if err := o.Slots.Acquire(all, 1); err != nil {
					return err
				}
				defer o.Slots.Release(1)
			}
			if err := all.Err(); err != nil {
				return err
			}
			return do(all, i)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
