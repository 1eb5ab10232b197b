package node

import (
	"fmt"
	"math"
	"strings"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// checkFiles refuses a tree that no backup has made: what is written to a volume is
// written by root. It gives the sum of the sizes.
func checkFiles(files []tree.Meta, places []place) (size int64, err error) {
	seen := make(map[string]bool, len(files))
	for _, f := range files {
		if err := checkFile(f, places); err != nil {
			return 0, fmt.Errorf("the tree has a file %.300q: %w", f.Path, err)
		}
		if seen[f.Path] {
			return 0, fmt.Errorf("the tree has the file %q twice", f.Path)
		}
		seen[f.Path] = true
		if size > math.MaxInt64-f.Size {
			return 0, fmt.Errorf("the tree's sizes are no sizes of files")
		}
		size += f.Size
	}
	return size, nil
}

const (
	mostPath = 4000
	mostName = 255
)

func checkFile(f tree.Meta, places []place) error {
	if !kindOf(f.Path).copied() {
		return fmt.Errorf("no backup has such a file")
	}
	if len(f.Path) > mostPath || strings.ContainsRune(f.Path, 0) {
		return fmt.Errorf("that is no path")
	}
	for _, name := range strings.Split(f.Path, "/") {
		if name == "" || name == "." || name == ".." || len(name) > mostName || skipped(name) {
			return fmt.Errorf("it does not lie below CouchDB's directories")
		}
	}
	switch {
	case f.Size < 0:
		return fmt.Errorf("its size is %d", f.Size)
	case f.Mode&^0o777 != 0:
		return fmt.Errorf("its mode is %o", f.Mode)
	case f.UID < 0 || f.UID > math.MaxInt32 || f.GID < 0 || f.GID > math.MaxInt32:
		return fmt.Errorf("its owner is %d:%d", f.UID, f.GID)
	}
	for _, p := range places {
		if strings.HasPrefix(f.Path, p.prefix) {
			return nil
		}
	}
	return fmt.Errorf("this volume has no place for its %s", strings.SplitN(f.Path, "/", 2)[0])
}
