package node

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// file is one that is copied. Those of local.d are not held open.
type file struct {
	path string
	kind kind
	held *held
	// stat at the last measuring, which was that of the cut of that name.
	stat unix.Stat_t
	cut  string
	tail tail
}

// held is an open file. The walk and a cut each have a share of it.
type held struct {
	fd     int
	f      *os.File
	id     identity
	shares atomic.Int32
}

func (h *held) share() *held {
	h.shares.Add(1)
	return h
}

func (h *held) release() {
	if h.shares.Add(-1) == 0 {
		_ = h.f.Close()
	}
}

// file gives the file of that name, opened if it is not yet; nil for one that is not
// copied, or is gone again.
func (w *walk) file(d *folder, dir int, name, path string) (*file, error) {
	k := kindOf(path)
	switch {
	case k == unknown:
		d.left = append(d.left, path)
		return nil, nil
	case !k.copied():
		return nil, nil
	}
	known := d.files[name]
	if k == config {
		if known == nil {
			known = &file{path: path, kind: k}
		}
		return known, nil
	}
	if known != nil && known.held != nil {
		// The same name can be another file by now: a compaction ends so.
		var s unix.Stat_t
		err := unix.Fstatat(dir, name, &s, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if identityOf(&s) == known.held.id {
			return known, nil
		}
	}
	f := &file{path: path, kind: k}
	if known == nil {
		w.files++
	} else if known.held == nil {
		f = known // it was counted, but could not be opened
	} else {
		w.files++ // the other one is dropped by take
	}
	if w.open >= w.most {
		return f, nil // refused in the end, when it is known how many there are
	}
	h, err := hold(dir, name)
	if errors.Is(err, unix.ENOENT) {
		w.files--
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f.held = h
	w.open++
	return f, nil
}

// hold opens a file, and makes sure that it is one.
func hold(dir int, name string) (*held, error) {
	// Without O_NONBLOCK a pipe that was put in the place of the file would hold us up.
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, linked(err)
	}
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	if s.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		return nil, errors.New("it is no regular file")
	}
	return (&held{fd: fd, f: os.NewFile(uintptr(fd), name), id: identityOf(&s)}).share(), nil
}

// drop lets a file go that is not there any more.
func (w *walk) drop(f *file) {
	if f.kind == config {
		return
	}
	w.files--
	if f.held != nil {
		w.open--
		f.held.release()
		f.held = nil
	}
}

// forget lets go all that is below a folder.
func (w *walk) forget(d *folder) {
	for _, f := range d.files {
		w.drop(f)
	}
	for _, sub := range d.folders {
		w.forget(sub)
	}
	d.files, d.folders, d.left = nil, nil, nil
}

// mostIni bounds what of a configuration is read, in bytes. CouchDB's are a few thousand.
const mostIni = 4 << 20

// readIni reads a file of local.d, as it is now.
func readIni(p *opened, name string) ([]byte, *unix.Stat_t, error) {
	h, err := hold(p.fd, name)
	if err != nil {
		return nil, nil, err
	}
	defer h.release()
	var s unix.Stat_t
	if err := unix.Fstat(h.fd, &s); err != nil {
		return nil, nil, err
	}
	if s.Size > mostIni {
		return nil, nil, fmt.Errorf("it has %s, which no configuration has", gib(s.Size))
	}
	text := make([]byte, s.Size+1) // a byte more, to see that it has no more
	n := 0
	for n < len(text) {
		k, err := unix.Pread(h.fd, text[n:], int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if k == 0 {
			break
		}
		n += k
	}
	s.Size = int64(n)
	return text[:n], &s, nil
}
