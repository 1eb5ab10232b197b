package bucket

import (
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// directFrom is how large an object is for which that pays, in bytes.
	directFrom = 1 << 20
	// aligned is what an address and a length must be a multiple of: what disks have for
	// blocks is no more.
	aligned = 4096
)

// direct writes the beginning of a large object past the page cache, and tells how much
// that was; 0 where the file system, or where in memory the object lies, does not allow
// it. Nobody reads a pack soon after it was written: in the page cache it would only cost
// the copying, and the memory of the container.
func direct(f *os.File, data []byte) (written int) {
	if len(data) < directFrom || uintptr(unsafe.Pointer(unsafe.SliceData(data)))%aligned != 0 { //nolint:gosec // the address alone is looked at
		return 0
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return 0
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, flags|unix.O_DIRECT); err != nil {
		return 0
	}
	n, err := f.Write(data[:len(data)/aligned*aligned])
	if _, back := unix.FcntlInt(f.Fd(), unix.F_SETFL, flags); err == nil && back == nil {
		return n
	}
	// As if nothing had been: all is written again, and that says what is wrong.
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return n
	}
	return 0
}
