package compose

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/medic/cht-backup/snapshot/compose/project"
)

// Write writes files below a directory where they lack. Those that are there stay, and
// are told where they differ.
func Write(dir string, files []project.File) (written, differing []string, err error) {
	for _, f := range files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return written, differing, fmt.Errorf("%q is not within the project", f.Path)
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		there, err := os.ReadFile(path) //nolint:gosec // checked to be below the operator's directory
		if err == nil {
			if !bytes.Equal(there, f.Data) {
				differing = append(differing, path)
			}
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return written, differing, err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as a checkout has it
			return written, differing, err
		}
		// Not through a link that somebody put there meanwhile, and never readable by others
		// than it was.
		out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.Mode.Perm()&0o777)
		if err != nil {
			return written, differing, err
		}
		_, err = out.Write(f.Data)
		if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
			return written, differing, err
		}
		written = append(written, path)
	}
	return written, differing, nil
}
