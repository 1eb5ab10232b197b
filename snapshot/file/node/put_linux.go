package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Put implements transfer.Sink. It is in its place, on disk and in the journal some time
// later, together with others; at the latest when Finish returns.
func (f *Filling) Put(ctx context.Context, file int, next func() (transfer.Frame, error)) error {
	f.beginning.RLock()
	defer f.beginning.RUnlock()
	if f.batch == nil {
		return errBegin
	}
	if err := f.batch.failed(); err != nil {
		return err
	}
	if file < 0 || file >= len(f.files) {
		return fmt.Errorf("there is no file %d, of %d", file, len(f.files))
	}
	meta := f.files[file]
	p, below := f.target(meta.Path)
	staged := fmt.Sprintf("%d.%s", file, newCut())
	fd, err := unix.Openat(p.stage, staged, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("make a file for %s: %w", meta.Path, full(err))
	}
	out := os.NewFile(uintptr(fd), meta.Path)
	err = f.write(ctx, out, meta, next)
	if err == nil {
		err = own(out, meta)
	}
	if err == nil && meta.Size >= bigFile {
		err = out.Sync() // beside the others, not one after the other in the batch
	}
	if err != nil {
		_ = out.Close()
		_ = unix.Unlinkat(p.stage, staged, 0)
		return full(err)
	}
	return f.batch.add(ctx, pending{file: file, meta: meta, target: p, below: below, staged: staged, out: out})
}

const (
	// bigFile is what is worth a sync of its own.
	bigFile = 8 << 20
	// writers is how many chunks of a file are unpacked, compared and written at once.
	writers = 3
)

// write has all frames in the file.
func (f *Filling) write(ctx context.Context, out *os.File, meta tree.Meta, next func() (transfer.Frame, error)) error {
	if meta.Size > ChunkSize {
		// It fails at once where there is no room, and the file lies in one piece.
		err := unix.Fallocate(int(out.Fd()), 0, 0, meta.Size)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	group, all := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	at := int64(0)
	var ended error
	for all.Err() == nil {
		frame, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			ended = err
			break
		}
		if frame.Length < 1 || frame.Length > MaxChunk || frame.Length > meta.Size-at {
			ended = fmt.Errorf("a chunk of %d bytes came at %d, and the file has %d", frame.Length, at, meta.Size)
			break
		}
		to := at
		at += frame.Length
		group.Go(func() error { return f.place(out, frame, to) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if ended == nil && ctx.Err() != nil {
		ended = context.Cause(ctx)
	}
	if ended == nil && at != meta.Size {
		ended = fmt.Errorf("%d of %d bytes came", at, meta.Size)
	}
	return ended
}

// place unpacks a chunk, compares it with its ID, and writes it.
func (f *Filling) place(out *os.File, frame transfer.Frame, at int64) error {
	room := transfer.NewRoom()
	defer room.Back()
	plain, err := decoder.DecodeAll(frame.Data, room.Space(0))
	frame.Room.Back()
	if err != nil {
		return fmt.Errorf("unpack the chunk at %d: %w", at, err)
	}
	if int64(len(plain)) != frame.Length || !f.key.IDOf(plain).Is(frame.ID) {
		return fmt.Errorf("the chunk at %d is not what its ID %s says", at, frame.ID)
	}
	_, err = out.WriteAt(plain, at)
	return err
}

// own gives a file its owner and its mode.
func own(out *os.File, meta tree.Meta) error {
	return errors.Join(out.Chown(meta.UID, meta.GID), out.Chmod(os.FileMode(meta.Mode&0o777)))
}
