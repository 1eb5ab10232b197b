package node

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// makeBelow opens a directory below another, and makes what is missing of it, with that
// owner (-1 for this process' own). It follows no symbolic link.
func makeBelow(root int, path string, uid, gid int) (int, error) {
	fd, err := openBelow(root, "")
	if err != nil {
		return -1, err
	}
	for _, name := range strings.Split(path, "/") {
		if name == "" {
			continue
		}
		err := unix.Mkdirat(fd, name, 0o755)
		made := err == nil
		var next int
		if err == nil || errors.Is(err, unix.EEXIST) {
			next, err = openBelow(fd, name)
		}
		if err == nil && made {
			// The mask of this process has no say, and CouchDB has to write there.
			if err = errors.Join(unix.Fchmod(next, 0o755), unix.Fchown(next, uid, gid), unix.Fsync(fd)); err != nil {
				_ = unix.Close(next)
			}
		}
		_ = unix.Close(fd)
		if err != nil {
			return -1, fmt.Errorf("directory %s: %w", path, full(err))
		}
		fd = next
	}
	return fd, nil
}

// openStage makes the folder that files are written in, and empties it of what an earlier
// filling did not complete.
func (t *target) openStage() error {
	if t.stage >= 0 {
		_ = unix.Close(t.stage)
		t.stage = -1
	}
	err := unix.Mkdirat(t.fd, staging, 0o700)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make %s%s: %w", t.prefix, staging, full(err))
	}
	if t.stage, err = openBelow(t.fd, staging); err != nil {
		t.stage = -1
		return err
	}
	return t.emptyStage(journalName)
}

func (t *target) emptyStage(but string) error {
	entries, err := read(t.stage)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.name == but {
			continue
		}
		if err := unix.Unlinkat(t.stage, e.name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove %s%s/%s: %w", t.prefix, staging, e.name, err)
		}
	}
	return nil
}

func (t *target) removeStage() error {
	if err := t.emptyStage(""); err != nil {
		return err
	}
	_ = unix.Close(t.stage)
	t.stage = -1
	return unix.Unlinkat(t.fd, staging, unix.AT_REMOVEDIR)
}
