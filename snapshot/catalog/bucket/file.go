package bucket

import (
	"errors"
	"os"
	"path/filepath"
)

// unfinished begins the name of a file that is being written, or was when the machine
// died.
const unfinished = ".unfinished-"

// writeFile writes an object of a catalog that is a directory, so that a crash of the
// machine leaves either all of it or none: a manifest without its content would be a
// record that can neither be read nor written again. The library leaves that to
// chance, and it asks and renames in two steps where an object must not be replaced.
func (b *Bucket) writeFile(key string, text []byte, once bool) error {
	path := filepath.Join(b.dir, filepath.FromSlash(key)) // our keys need no escaping
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err != nil {
		b.named.Clear() // somebody may have removed what was there
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return b.failed("write", key, err)
	}
	if err := writeWhole(path, text, once); errors.Is(err, errExists) {
		return b.refuse(key, err)
	} else if err != nil {
		return b.failed("write", key, err)
	}
	if err := syncDir(dir); err != nil {
		return b.failed("write", key, err)
	}
	// The names of all directories that are new, up to the catalog's own.
	var named []string
	for ; dir != filepath.Clean(b.dir) && dir != string(filepath.Separator); dir = filepath.Dir(dir) {
		if _, ok := b.named.Load(dir); ok {
			break
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return b.failed("write", key, err)
		}
		named = append(named, dir)
	}
	for _, dir := range named { // once all above them are, too
		b.named.Store(dir, nil)
	}
	return nil
}

func writeWhole(path string, text []byte, once bool) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), unfinished)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(text[direct(f, text):])
	if err = errors.Join(err, f.Chmod(0o640), f.Sync(), f.Close()); err != nil {
		return err
	}
	if !once {
		return os.Rename(f.Name(), path)
	}
	if err := os.Link(f.Name(), path); errors.Is(err, os.ErrExist) {
		return errExists
	} else if err != nil {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
