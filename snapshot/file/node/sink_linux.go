package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Filling is a volume that is being filled: a transfer.Sink. A file is written in a
// folder beside, each chunk compared with its ID, and moved to its place when it is whole.
// A journal on the volume says what is complete and on disk, so that a filling that was
// interrupted goes on; Finish removes both.
type Filling struct {
	layout []place
	name   string

	// beginning is held by Begin, Finish and Close; Put holds it for reading.
	beginning sync.RWMutex
	places    []*target
	files     []tree.Meta
	key       tree.HashKey
	head      string
	batch     *batch
}

// target is a directory that is filled.
type target struct {
	place
	fd, stage int
}

var _ transfer.Sink = (*Filling)(nil)

// Fill opens the directories of a volume, and makes those that are not there. tree names
// what it is filled with: a filling goes on only with the same.
func Fill(l Layout, tree string) (*Filling, error) {
	places, err := l.places()
	if err != nil {
		return nil, err
	}
	f := &Filling{layout: places, name: tree}
	for _, p := range places {
		root, err := openRoot(p.root)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open the volume: %w", err), f.Close())
		}
		fd, err := makeBelow(root, p.path, -1, -1)
		_ = unix.Close(root)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make %s on the volume: %w", p.path, err), f.Close())
		}
		f.places = append(f.places, &target{place: p, fd: fd, stage: -1})
	}
	return f, nil
}

// errBegin is the error of a file that nothing was said of.
var errBegin = errors.New("the filling was not begun")

// Begin implements transfer.Sink. It refuses a volume that has files of CouchDB which it
// did not put there, one that is too small, and paths that no backup ever has.
func (f *Filling) Begin(ctx context.Context, files []tree.Meta, key tree.HashKey) (done []int, err error) {
	f.beginning.Lock()
	defer f.beginning.Unlock()
	if _, err := checkFiles(files, f.layout); err != nil {
		return nil, err
	}
	// Again, after what was under way has ended: what is written is complete then.
	if err := f.end(); err != nil {
		return nil, err
	}
	head := journalHead(f.name, files, key)
	if err := f.mayFill(); err != nil {
		return nil, err
	}
	for _, p := range f.places {
		if err := p.openStage(); err != nil {
			return nil, err
		}
	}
	journal, said, fresh, err := openJournal(f.places[0].stage, head, len(files))
	if err != nil {
		return nil, err
	}
	if fresh {
		err = writeJournal(journal, head)
	}
	if err == nil {
		err = f.sync()
	}
	complete := map[int]bool{}
	for _, i := range said {
		if !complete[i] && f.isThere(files[i]) {
			complete[i] = true
			done = append(done, i)
		}
	}
	if err == nil {
		err = f.enoughSpace(files, complete)
	}
	if err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	f.files, f.key, f.head = files, key, head
	f.batch = newBatch(f, journal, complete)
	return done, nil
}

// mayFill refuses a volume with files of CouchDB that no filling has begun on: what is
// there would be mixed with the backup.
func (f *Filling) mayFill() error {
	var s unix.Stat_t
	if unix.Fstatat(f.places[0].fd, staging+"/"+journalName, &s, unix.AT_SYMLINK_NOFOLLOW) == nil {
		return nil
	}
	for _, p := range f.places {
		found, err := firstCopied(p.fd, p.prefix)
		if err != nil {
			return fmt.Errorf("look whether the volume is empty: %w", err)
		}
		if found != "" {
			return fmt.Errorf("the volume is not empty: it has %s, which this restore did not put there; restore into a new claim", found)
		}
	}
	return nil
}

// firstCopied gives a file that a backup would copy, if there is one.
func firstCopied(dir int, path string) (string, error) {
	entries, err := read(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		switch at := path + e.name; {
		case e.kind.IsDir() && !skipped(e.name) && path[:len(dataPrefix)] == dataPrefix:
			sub, err := openBelow(dir, e.name)
			if err != nil {
				return "", err
			}
			found, err := firstCopied(sub, at+"/")
			_ = unix.Close(sub)
			if found != "" || err != nil {
				return found, err
			}
		case !e.kind.IsDir() && kindOf(at).copied():
			return at, nil
		}
	}
	return "", nil
}

// isThere tells that a file that is on disk, as the journal says, is so still.
func (f *Filling) isThere(m tree.Meta) bool {
	p, below := f.target(m.Path)
	var s unix.Stat_t
	err := unix.Fstatat(p.fd, below, &s, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && s.Mode&unix.S_IFMT == unix.S_IFREG && s.Size == m.Size
}

func (f *Filling) enoughSpace(files []tree.Meta, complete map[int]bool) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(f.places[0].fd, &s); err != nil {
		return fmt.Errorf("ask for the free space of the volume: %w", err)
	}
	var need int64
	for i, m := range files {
		if !complete[i] {
			need += m.Size
		}
	}
	if free := int64(s.Bavail) * s.Bsize; need > free { //nolint:gosec // sizes of disks
		return fmt.Errorf("%w: %s are to be written and %s are free on the volume; restore into a larger one", ErrNoSpace, gib(need), gib(free))
	}
	return nil
}

// Finish implements transfer.Sink.
func (f *Filling) Finish(ctx context.Context) error {
	f.beginning.Lock()
	defer f.beginning.Unlock()
	if f.batch == nil {
		return errBegin
	}
	if left := len(f.files) - f.batch.complete(); left > 0 {
		return fmt.Errorf("%d of %d files are missing", left, len(f.files))
	}
	if err := f.end(); err != nil {
		return err
	}
	for _, p := range f.places {
		if err := p.removeStage(); err != nil {
			return fmt.Errorf("remove what the filling needed: %w", err)
		}
	}
	f.files = nil
	return f.sync()
}

// end has on disk what is under way, and ends the batch.
func (f *Filling) end() error {
	if f.batch == nil {
		return nil
	}
	b := f.batch
	f.batch = nil
	return b.close()
}

// sync has all directories of the places on disk.
func (f *Filling) sync() error {
	for _, p := range f.places {
		for _, fd := range []int{p.stage, p.fd} {
			if fd < 0 {
				continue
			}
			if err := unix.Fsync(fd); err != nil {
				return fmt.Errorf("write %s to the disk: %w", p.prefix, err)
			}
		}
	}
	return nil
}

// target is the place of a path, and what of it is below that.
func (f *Filling) target(path string) (*target, string) {
	for _, p := range f.places {
		if len(path) > len(p.prefix) && path[:len(p.prefix)] == p.prefix {
			return p, path[len(p.prefix):]
		}
	}
	return f.places[0], path // never: checkFiles looked
}

// Close lets the directories go. What was filled stays.
func (f *Filling) Close() error {
	f.beginning.Lock()
	defer f.beginning.Unlock()
	err := f.end()
	for _, p := range f.places {
		if p.stage >= 0 {
			_ = unix.Close(p.stage)
		}
		_ = unix.Close(p.fd)
	}
	f.places = nil
	return err
}

// full explains the error of a disk that is full.
func full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: the volume is full (%w); restore into a larger one", ErrNoSpace, err)
	}
	return err
}
