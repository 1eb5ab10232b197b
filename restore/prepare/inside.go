package prepare

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// inside refuses what lies on the volume only by name. This runs as root on a volume that
// somebody else wrote: a link could have it read and write another of its mounts, the new
// credentials' among them, and a pipe could have it wait for ever.
func inside(o Options) error {
	if o.Volume == "" {
		return nil
	}
	volume, err := filepath.EvalSymlinks(o.Volume)
	if err != nil {
		return err
	}
	paths := []string{o.Data}
	if o.Config != "" {
		files, err := filepath.Glob(filepath.Join(o.Config, "*.ini"))
		if err != nil {
			return err
		}
		paths = append(append(paths, o.Config), files...)
	}
	for _, path := range paths {
		target, err := filepath.EvalSymlinks(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // its user says so
		}
		if err != nil {
			return err
		}
		if target != volume && !strings.HasPrefix(target, volume+"/") {
			return fmt.Errorf("%s of the volume is a link that leads out of it, to %s; put the directory or file itself there", path, target)
		}
		if info, err := os.Stat(target); err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			return fmt.Errorf("%s of the volume is neither a file nor a directory (%w)", path, errOr(err, "not regular"))
		}
	}
	return nil
}
