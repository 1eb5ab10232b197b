package bucket

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/medic/cht-backup/snapshot/file/repo"
)

// leftAfter is how old an unfinished file is that nobody writes any more.
const leftAfter = 7 * 24 * time.Hour

// listFiles lists a catalog that is a directory, in one walk: the library walks once for
// each page. What was left unfinished long ago is removed on the way, since a crash of
// the machine leaves whole packs.
func (b *Bucket) listFiles(ctx context.Context, prefix string, each func(repo.Object) error) error {
	// Objects and not directories have the order of keys: a directory's name is compared
	// without the slash that its keys have. Names of ours are not such.
	root := filepath.Join(b.dir, filepath.FromSlash(prefix))
	if !strings.HasSuffix(prefix, "/") {
		root = filepath.Dir(root)
	}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // deleted meanwhile, or nothing was ever written there
		case err != nil:
			return b.failed("list", prefix, err)
		case ctx.Err() != nil:
			return b.failed("list", prefix, ctx.Err())
		case !entry.Type().IsRegular():
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return b.failed("list", prefix, err)
		}
		if strings.HasPrefix(entry.Name(), unfinished) {
			if time.Since(info.ModTime()) > leftAfter {
				_ = os.Remove(path) // or the next time
			}
			return nil
		}
		within, err := filepath.Rel(b.dir, path)
		key := filepath.ToSlash(within)
		if err != nil || !strings.HasPrefix(key, prefix) {
			return nil
		}
		return each(repo.Object{Key: key, Size: info.Size(), Time: info.ModTime()})
	})
}
