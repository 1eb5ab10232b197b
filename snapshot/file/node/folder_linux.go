package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// identity is what a file is, whatever it is called. It is unique while it is open.
type identity struct{ dev, ino uint64 }

func identityOf(s *unix.Stat_t) identity { return identity{uint64(s.Dev), s.Ino} } //nolint:unconvert // not 64 bits wide everywhere

// openRoot opens a directory that is trusted.
func openRoot(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// openBelow opens a directory below another, and follows no symbolic link on the way.
func openBelow(root int, path string) (int, error) {
	fd, err := unix.Dup(root)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	for _, name := range strings.Split(path, "/") {
		if name == "" {
			continue
		}
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		_ = unix.Close(fd)
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: path, Err: linked(err)}
		}
		fd = next
	}
	return fd, nil
}

// openPlace opens the directory of a place.
func openPlace(p place) (int, error) {
	root, err := openRoot(p.root)
	if err != nil || p.path == "" {
		return root, err
	}
	defer func() { _ = unix.Close(root) }()
	return openBelow(root, p.path)
}

// errLink is the error of a symbolic link where none is followed.
var errLink = errors.New("it is a symbolic link, and those are not followed on CouchDB's volume: put the file itself there")

// linked explains the error of an open that met a symbolic link.
func linked(err error) error {
	if errors.Is(err, unix.ELOOP) {
		return errLink
	}
	return err
}

// entry of a directory.
type entry struct {
	name string
	kind fs.FileMode // its type bits
}

// read lists an open directory. What changes meanwhile may be missing: the caller
// compares the directory's stamps before and after.
func read(dir int) ([]entry, error) {
	// A description of its own, so that it begins at the first entry. The name is for file
	// systems that tell no types, where each entry is looked at.
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	defer func() { _ = f.Close() }()
	found, err := f.ReadDir(-1)
	entries := make([]entry, len(found))
	for i, e := range found {
		entries[i] = entry{e.Name(), e.Type()}
	}
	return entries, err
}
