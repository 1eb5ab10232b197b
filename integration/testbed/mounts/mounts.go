package mounts

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is one line of /proc/self/mountinfo.
type Mount struct {
	Path   string // where it is mounted
	FSType string
	Source string // device or label
}

// List returns all mounts of this process's mount namespace, oldest first.
func List() ([]Mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mount table: %w", err)
	}
	return parse(string(data)), nil
}

func parse(table string) []Mount {
	var all []Mount
	scanner := bufio.NewScanner(strings.NewReader(table))
	for scanner.Scan() {
		before, after, ok := strings.Cut(scanner.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 2 {
			continue
		}
		all = append(all, Mount{Path: unescape(left[4]), FSType: right[0], Source: unescape(right[1])})
	}
	return all
}

// unescape undoes the kernel's \ooo for blanks and backslashes.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// At returns the topmost mount at exactly path.
func At(path string) (Mount, bool, error) {
	all, err := List()
	if err != nil {
		return Mount{}, false, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Path == filepath.Clean(path) {
			return all[i], true, nil
		}
	}
	return Mount{}, false, nil
}

// Under returns the mounts at dir or below it, newest first, which is the order
// to take them away in.
func Under(dir string) ([]Mount, error) {
	all, err := List()
	if err != nil {
		return nil, err
	}
	var found []Mount
	for i := len(all) - 1; i >= 0; i-- {
		if Within(dir, all[i].Path) {
			found = append(found, all[i])
		}
	}
	return found, nil
}

// Within tells whether path is dir or lies below it.
func Within(dir, path string) bool {
	dir = filepath.Clean(dir)
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// UnmountUnder takes away every mount at dir or below it.
func UnmountUnder(dir string) error {
	found, err := Under(dir)
	if err != nil {
		return err
	}
	for _, m := range found {
		if unix.Unmount(m.Path, unix.UMOUNT_NOFOLLOW) == nil {
			continue
		}
		// A process that dies slowly may still hold it; detached it goes with him.
		if err := unix.Unmount(m.Path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", m.Path, err)
		}
	}
	return nil
}

const fithaw = 0xC0045878 // FITHAW of linux/fs.h

// ThawUnder thaws every file system on a loop device mounted at dir or below it
// and returns where it found a frozen one. A process blocked on a frozen file
// system cannot be killed, so this comes before any stop.
func ThawUnder(dir string) ([]string, error) {
	found, err := Under(dir)
	if err != nil {
		return nil, err
	}
	var thawed []string
	seen := map[string]bool{}
	for _, m := range found {
		if !strings.HasPrefix(m.Source, "/dev/loop") || seen[m.Source] {
			continue
		}
		seen[m.Source] = true
		if Thaw(m.Path) == nil {
			thawed = append(thawed, m.Path)
		}
	}
	return thawed, nil
}

// Thaw thaws the file system mounted at path; EINVAL says that it was not frozen.
func Thaw(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fithaw, 0); errno != 0 {
		return fmt.Errorf("thaw %s: %w", path, errno)
	}
	return nil
}
