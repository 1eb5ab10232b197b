package node

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// reserve is how many descriptors are left for all else: connections, directories.
const reserve = 256

// raiseLimit lets this process have as many files open as it may, and tells how many.
func raiseLimit() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("ask how many files may be open: %w", err)
	}
	if l.Cur == l.Max {
		return l.Cur, nil
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("raise the limit of open files to %d: %w", l.Max, err)
	}
	return l.Cur, nil
}

// enoughDescriptors judges a limit by what a node has.
func enoughDescriptors(files int, limit uint64) error {
	if need := uint64(files) + reserve; need > limit { //nolint:gosec // a count
		return fmt.Errorf("%w: CouchDB has %d here, each is held open while it is copied; raise the container runtime's limit of open files (RLIMIT_NOFILE, LimitNOFILE of its service) from %d to %d or more",
			ErrTooManyFiles, files, limit, need)
	}
	return nil
}
