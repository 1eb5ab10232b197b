package freezer

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is one line of /proc/self/mountinfo (see proc(5)).
type Mount struct {
	// Device is major:minor of the file system.
	Device string
	// Root is the directory of that file system that is mounted here.
	Root  string
	Point string
	Type  string
}

// freezable are the file systems whose freeze is known to hold back writes and
// to leave a snapshot that mounts cleanly.
var freezable = []string{"ext4", "xfs"}

// Mounts parses the text of /proc/self/mountinfo.
func Mounts(mountinfo string) ([]Mount, error) {
	var mounts []Mount
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(rest) < 2 {
			return nil, fmt.Errorf("mountinfo line %q is not understood", line)
		}
		mounts = append(mounts, Mount{Device: fields[2], Root: unescape(fields[3]), Point: unescape(fields[4]), Type: rest[0]})
	}
	return mounts, nil
}

// unescape undoes the octal escapes the kernel writes for blanks and the like.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// Unshared says why the file system mounted at volume must not be frozen, or
// returns nil. A container sees only its own mounts, so three signs are read:
//
//   - The mount shows a directory of the file system and not its root: others
//     have theirs beside it (hostPath, local-path, a directory of an NFS export).
//   - Another mount of this container lies on the same device. Its emptyDir,
//     /etc/hosts and the like lie on the node's own disk, so this finds the disk
//     that kubelet and runtime live on. Freezing that would stop the very
//     processes that should thaw it.
//   - The file system is not one whose freeze is known to work.
//
// mine are further mount points of the same claim, which do not count.
func Unshared(mounts []Mount, volume string, mine ...string) error {
	var at *Mount
	for i := range mounts {
		if mounts[i].Point == path.Clean(volume) {
			at = &mounts[i] // the last one covers those before
		}
	}
	if at == nil {
		return fmt.Errorf("%s is not a mount point", volume)
	}
	if at.Root != "/" {
		return fmt.Errorf("the volume is the directory %s of a file system that others use too (device %s, %s)", at.Root, at.Device, at.Type)
	}
	for _, m := range mounts {
		if m.Device == at.Device && m.Point != at.Point && !slices.Contains(mine, m.Point) {
			return fmt.Errorf("the volume lies on the same file system as %s of the node (device %s)", m.Point, m.Device)
		}
	}
	if !slices.Contains(freezable, at.Type) {
		return fmt.Errorf("the volume's file system is %s; a freeze is known to work on %s", at.Type, strings.Join(freezable, " and "))
	}
	return nil
}

// checkUnshared applies Unshared to this process's mounts, and compares
// st_dev of the volume with that of the root and of each path in foreign.
func checkUnshared(volume string, foreign ...string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	mounts, err := Mounts(string(text))
	if err != nil {
		return err
	}
	if err := Unshared(mounts, volume); err != nil {
		return err
	}
	var mine unix.Stat_t
	if err := unix.Stat(volume, &mine); err != nil {
		return fmt.Errorf("stat %s: %w", volume, err)
	}
	for _, p := range append([]string{"/"}, foreign...) {
		var theirs unix.Stat_t
		if err := unix.Stat(p, &theirs); err != nil {
			return fmt.Errorf("stat %s: %w", p, err)
		}
		if theirs.Dev == mine.Dev {
			return fmt.Errorf("the volume and %s are one file system (device %d:%d)", p, unix.Major(mine.Dev), unix.Minor(mine.Dev))
		}
	}
	return nil
}
