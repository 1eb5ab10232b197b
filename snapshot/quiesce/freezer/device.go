package freezer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The ioctls of linux/fs.h: _IOWR('X', 119, int) and _IOWR('X', 120, int).
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

// ErrNotFrozen is the answer to a thaw of a file system that was not frozen:
// proof that a freeze was not held.
var ErrNotFrozen = errors.New("the file system was not frozen")

// Device is a mounted file system that can be frozen. It is an interface so
// that the order of events can be tested without one.
type Device interface {
	// Sync writes out what is dirty, so that the freeze itself is short.
	Sync() error
	// Freeze stops all writes; it returns when the file system is quiet.
	Freeze() error
	// Thaw lets them go on. ErrNotFrozen when there was no freeze.
	Thaw() error
}

// Volume is the file system mounted at a path. Its descriptor is opened before
// any freeze, so that a thaw needs nothing that a freeze could block.
type Volume struct {
	path string
	dir  *os.File
}

// OpenVolume opens the file system mounted at path.
func OpenVolume(path string) (*Volume, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	return &Volume{path: path, dir: dir}, nil
}

// Sync implements Device.
func (v *Volume) Sync() error {
	return wrap("syncfs", v.path, unix.Syncfs(int(v.dir.Fd())))
}

// Freeze implements Device.
func (v *Volume) Freeze() error {
	return wrap("FIFREEZE", v.path, unix.IoctlSetInt(int(v.dir.Fd()), fiFreeze, 0))
}

// Thaw implements Device.
func (v *Volume) Thaw() error {
	err := unix.IoctlSetInt(int(v.dir.Fd()), fiThaw, 0)
	if errors.Is(err, unix.EINVAL) {
		return ErrNotFrozen
	}
	return wrap("FITHAW", v.path, err)
}

func wrap(what, path string, err error) error {
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, filepath.Clean(path), err)
	}
	return nil
}
