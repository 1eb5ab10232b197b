package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// folder is a directory as it was when it was last read.
type folder struct {
	place *opened
	// path below the place's directory; "" is that itself.
	path string
	id   identity
	// changed are the directory's own times, read is when its reading began.
	changed stamp
	read    time.Time
	// views says that its own name, or one above it, is hidden.
	views bool
	// index of a full-text search: nothing in it is copied.
	index   bool
	files   map[string]*file
	folders map[string]*folder
	left    []string
}

// stamp are the times that every change of a directory's entries sets.
type stamp struct{ mtime, ctime unix.Timespec }

// settles is how old a directory's last change must have been when it was read, for its
// times to tell of the next change. Some file systems count in whole seconds.
const settles = 2 * time.Second

// opened is a place whose directory is open.
type opened struct {
	place
	fd  int
	top *folder
}

// walk keeps what is known of a volume, and what it found since it began.
type walk struct {
	places []*opened
	// most is how many files may be open at once.
	most int
	open int
	// files is how many there are to be held, open or not.
	files int
}

// look brings a folder up to date, and what is below it where only says so.
func (w *walk) look(ctx context.Context, d *folder, only func(*folder) bool) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	same, err := d.unchanged()
	if err == nil && !same {
		err = w.reread(d)
	}
	if errors.Is(err, unix.ENOENT) && d.path != "" {
		return nil // removed since the directory above it was read
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.name(), err)
	}
	for _, sub := range d.folders {
		if only(sub) {
			if err := w.look(ctx, sub, only); err != nil {
				return err
			}
		}
	}
	return nil
}

// name tells a folder to people.
func (d *folder) name() string {
	if d.path == "" {
		return fmt.Sprintf("%s (%s%s)", d.place.prefix, d.place.root, "/"+d.place.path)
	}
	return d.place.prefix + d.path
}

// unchanged tells that a folder has the entries that are known of it.
func (d *folder) unchanged() (bool, error) {
	if d.index {
		return true, nil
	}
	if d.read.IsZero() {
		return false, nil
	}
	var s unix.Stat_t
	var err error
	if d.path == "" {
		err = unix.Fstat(d.place.fd, &s)
	} else {
		err = unix.Fstatat(d.place.fd, d.path, &s, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return false, err
	}
	return identityOf(&s) == d.id && stampOf(&s) == d.changed && d.settled(), nil
}

// settled tells that a change after the reading must have changed the times, too.
func (d *folder) settled() bool {
	return d.read.Sub(time.Unix(d.changed.mtime.Unix())) > settles && d.read.Sub(time.Unix(d.changed.ctime.Unix())) > settles
}

func stampOf(s *unix.Stat_t) stamp { return stamp{s.Mtim, s.Ctim} }

// mostReadings bounds how often a directory is read that changes while it is read.
const mostReadings = 8

// reread reads a folder, opens what is new in it, and lets go what is not there any more.
func (w *walk) reread(d *folder) error {
	dir, err := openBelow(d.place.fd, d.path)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	for range mostReadings {
		var before, after unix.Stat_t
		began := time.Now()
		if err := unix.Fstat(dir, &before); err != nil {
			return err
		}
		entries, err := read(dir)
		if err != nil {
			return err
		}
		if err := w.take(d, dir, entries); err != nil {
			return err
		}
		if err := unix.Fstat(dir, &after); err != nil {
			return err
		}
		d.id, d.changed, d.read = identityOf(&before), stampOf(&before), began
		// A file that is renamed while its directory is read can be missed under both of
		// its names.
		if stampOf(&after) == d.changed {
			return nil
		}
	}
	return nil // it changes faster than it is read: what was there throughout was found
}

// take compares a folder's entries with what is known of it.
func (w *walk) take(d *folder, dir int, entries []entry) (err error) {
	files, folders := map[string]*file{}, map[string]*folder{}
	defer func() {
		if err == nil {
			return
		}
		for name, f := range files {
			if d.files[name] != f {
				w.drop(f)
			}
		}
	}()
	d.left, d.index = nil, false
	for _, e := range entries {
		switch path := d.place.prefix + join(d.path, e.name); {
		case e.kind == fs.ModeDir:
			if d.place.prefix == configPrefix || skipped(e.name) || w.isPlace(d, dir, e.name) {
				continue
			}
			sub := d.folders[e.name]
			if sub == nil {
				sub = &folder{place: d.place, path: join(d.path, e.name), views: d.views || hidden(e.name)}
			}
			folders[e.name] = sub
		case e.kind == fs.ModeSymlink:
			return fmt.Errorf("%s: %w", path, errLink)
		case e.kind != 0:
			d.left = append(d.left, path)
		case indexes(e.name) && d.place.prefix == dataPrefix:
			d.index = true
		default:
			f, err := w.file(d, dir, e.name, path)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if f != nil {
				files[e.name] = f
			}
		}
	}
	for name, f := range d.files {
		if files[name] != f {
			w.drop(f)
		}
	}
	for name, sub := range d.folders {
		if folders[name] != sub {
			w.forget(sub)
		}
	}
	d.files, d.folders = files, folders
	if d.index {
		w.forget(d)
	}
	return nil
}

// isPlace tells that a folder is another place's directory: where data lies at the
// volume's root, its local.d does not belong to it.
func (w *walk) isPlace(d *folder, dir int, name string) bool {
	if len(w.places) < 2 {
		return false
	}
	var s unix.Stat_t
	if unix.Fstatat(dir, name, &s, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	for _, p := range w.places {
		if p != d.place && p.top.id == identityOf(&s) {
			return true
		}
	}
	return false
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
