package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

// kept is what this machine keeps of a repository: who has it can read all backups.
type kept struct {
	Catalog    string `json:"catalog"`
	Repository string `json:"repository"`
	Key        string `json:"key"`
}

const repositoryFile = "repository.json"

// Lock keeps a second backup of the instance away until it is unlocked.
func Lock(state string) (unlock func(), err error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(state, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // our own directory
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another backup of this project runs (%s is locked): %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}

// Repository opens the instance's repository in a catalog, or makes it. The key is kept
// in state, and in the bucket sealed to the recipients.
func Repository(ctx context.Context, b *bucket.Bucket, state string, recipients []string, o repo.Options) (*repo.Repository, error) {
	to, err := bucket.Recipients(recipients)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(state, repositoryFile)
	var k kept
	text, err := os.ReadFile(path) //nolint:gosec // our own directory
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if json.Unmarshal(text, &k) != nil {
			return nil, fmt.Errorf("%s is damaged; set it aside, and a new repository is begun (the next backup copies all)", path)
		}
	}
	if k.Catalog != b.URL() {
		key, err := repo.NewKey()
		if err != nil {
			return nil, err
		}
		k = kept{Catalog: b.URL(), Repository: repo.NewID(), Key: key.Text()}
		// Before anything is sealed with it: a key that is lost is lost with the data.
		if err := replace(path, k); err != nil {
			return nil, fmt.Errorf("keep the key of the new repository: %w", err)
		}
	}
	key, err := repo.ParseKey(k.Key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r, err := repo.Open(ctx, b.Objects(), k.Repository, key, o)
	if errors.Is(err, repo.ErrNoRepository) {
		if err := repo.Create(ctx, b.Objects(), k.Repository, key, to...); err != nil {
			return nil, err
		}
		r, err = repo.Open(ctx, b.Objects(), k.Repository, key, o)
	}
	if err != nil {
		return nil, err
	}
	if len(to) > 0 {
		if err := r.SealKey(ctx, to...); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// replace writes a file as a whole. An older one stays beside it: with another catalog
// come other keys, and those of the former are still needed.
func replace(path string, k kept) error {
	text, err := json.MarshalIndent(k, "", " ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".unfinished-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // renamed, or of no use
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	var old kept
	if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &old) == nil && old.Repository != "" { //nolint:gosec // our own directory
		if err := os.Rename(path, filepath.Join(filepath.Dir(path), "repository-"+filepath.Base(old.Repository)+".json")); err != nil {
			return err
		}
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// KeyOf gives the key of a repository that this machine keeps.
func KeyOf(state, catalog, id string) (repo.Key, error) {
	if err := repo.CheckID(id); err != nil {
		return repo.Key{}, err
	}
	for _, name := range []string{repositoryFile, "repository-" + id + ".json"} {
		var k kept
		text, err := os.ReadFile(filepath.Join(state, name)) //nolint:gosec // our own directory
		if err == nil && json.Unmarshal(text, &k) == nil && k.Repository == id && k.Catalog == catalog {
			return repo.ParseKey(k.Key)
		}
	}
	return repo.Key{}, fmt.Errorf("there is none in %s", state)
}
