package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Restore fills a sink with a node's tree. It may be called again after it failed, with
// the same tree: files that are complete are not sent again.
func Restore(ctx context.Context, r Reader, name string, s Sink, o Options) (tree.Tree, error) {
	t, err := r.Tree(ctx, name)
	if err != nil {
		return t, fmt.Errorf("read tree %s: %w", name, err)
	}
	metas := make([]tree.Meta, len(t.Files))
	for i, f := range t.Files {
		metas[i] = f.Meta
	}
	done, err := s.Begin(ctx, metas, r.HashKey())
	if err != nil {
		return t, fmt.Errorf("%s: begin to fill the volume: %w", t.Node, err)
	}
	m := newMeter(metas, o.Progress)
	complete := make([]bool, len(metas))
	for _, i := range done {
		if i < 0 || i >= len(metas) {
			return t, fmt.Errorf("%s: file %d of %d is complete, it is said", t.Node, i, len(metas))
		}
		if !complete[i] {
			complete[i] = true
			m.bytes(metas[i].Size)
			m.file()
		}
	}
	err = each(ctx, metas, o, func(ctx context.Context, i int) error {
		if complete[i] {
			return nil
		}
		if err := putFile(ctx, r, s, i, t.Files[i], m); err != nil {
			return fmt.Errorf("%s: restore %s: %w", t.Node, metas[i].Path, err)
		}
		m.file()
		return nil
	})
	if err != nil {
		return t, err
	}
	if err := s.Finish(ctx); err != nil {
		return t, fmt.Errorf("%s: finish the volume: %w", t.Node, err)
	}
	return t, nil
}

// errEnough ends a reading that its receiver does not want to go on.
var errEnough = errors.New("enough")

func putFile(ctx context.Context, r Reader, s Sink, i int, f tree.File, m *meter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	frames := func(yield func(Frame, error) bool) {
		err := r.Read(ctx, f.Chunks, func(frame Frame) error {
			if !yield(frame, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(Frame{}, err)
		}
	}
	pull, stop := iter.Pull2(frames)
	defer stop()
	var failed error // of the repository: it explains what the sink says then
	err := s.Put(ctx, i, func() (Frame, error) {
		frame, err, more := pull()
		switch {
		case failed != nil:
			return Frame{}, failed
		case !more:
			return Frame{}, io.EOF
		case err != nil:
			failed = err
			return Frame{}, err
		}
		m.bytes(frame.Length)
		return frame, nil
	})
	if failed != nil {
		return failed
	}
	return err
}
