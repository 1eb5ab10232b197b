package loopcsi

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Volume is the record of one volume.
type Volume struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Bytes    int64  `json:"bytes"`
	FromSnap string `json:"fromSnapshot,omitempty"`
	FromVol  string `json:"fromVolume,omitempty"`
	Grow     bool   `json:"grow,omitempty"` // larger than what it was copied from
}

// Snapshot is the record of one cut. The point in time lies between CutBegan and
// Cut; a driver says Cut.
type Snapshot struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Source   string    `json:"source"`
	Bytes    int64     `json:"bytes"`
	CutBegan time.Time `json:"cutBegan"`
	Cut      time.Time `json:"cut"`
	ReadyAt  time.Time `json:"readyAt"`
}

// pool keeps images and their records below one directory of a file system with
// reflinks. A record exists only beside a complete image, so a driver killed at
// any instruction loses and invents nothing.
type pool struct {
	dir string
	// ids makes the id of a name.
	ids func(kind, name string) string
}

const (
	volumes   = "volumes"
	snapshots = "snapshots"
)

func openPool(dir string, ids func(kind, name string) string) (*pool, error) {
	p := &pool{dir: dir, ids: ids}
	for _, kind := range []string{volumes, snapshots} {
		if err := os.MkdirAll(filepath.Join(dir, kind), 0o700); err != nil {
			return nil, fmt.Errorf("make pool: %w", err)
		}
		half, err := filepath.Glob(filepath.Join(dir, kind, "*.part"))
		if err != nil {
			return nil, err
		}
		for _, f := range half {
			if err := os.Remove(f); err != nil {
				return nil, fmt.Errorf("remove half-made image: %w", err)
			}
		}
	}
	return p, nil
}

func (p *pool) image(kind, id string) string  { return filepath.Join(p.dir, kind, id+".img") }
func (p *pool) record(kind, id string) string { return filepath.Join(p.dir, kind, id+".json") }

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// idOf makes the name of a volume or snapshot its id, so that a repeated create
// finds the first one; names that no file can have are hashed.
func idOf(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return fmt.Sprintf("=%x", sha256.Sum256([]byte(name)))
}

// cloudID is an id as EC2 gives them, of a name: a repeated create finds the first.
func cloudID(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	prefix := map[string]string{volumes: "vol-0", snapshots: "snap-0"}[kind]
	return fmt.Sprintf("%s%.8x", prefix, sum[:8])
}

// load reads a record into out and says whether there is one.
func (p *pool) load(kind, id string, out any) (bool, error) {
	if id == "" || strings.Contains(id, "/") {
		return false, nil
	}
	data, err := os.ReadFile(p.record(kind, id))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENAMETOOLONG) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		return false, fmt.Errorf("read record of %s %s: %w", kind, id, err)
	}
	return true, nil
}

// store writes a record; rename makes it all or nothing.
func (p *pool) store(kind, id string, record any) error {
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	part := p.record(kind, id) + ".part"
	if err := os.WriteFile(part, data, 0o600); err != nil {
		return fmt.Errorf("write record of %s %s: %w", kind, id, err)
	}
	return os.Rename(part, p.record(kind, id))
}

// remove forgets a record, then its image. Removing what is gone is no error.
func (p *pool) remove(kind, id string) error {
	for _, f := range []string{p.record(kind, id), p.image(kind, id)} {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s %s: %w", kind, id, err)
		}
	}
	return nil
}

// create makes the image of (kind, id): bytes long, and a reflink of source
// unless that is empty. It returns the moments around the reflink.
func (p *pool) create(kind, id string, bytes int64, source string) (began, ended time.Time, err error) {
	part := p.image(kind, id) + ".part"
	image, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return began, ended, fmt.Errorf("create image: %w", err)
	}
	defer func() { _ = image.Close() }()
	if source != "" {
		from, err := os.Open(source)
		if err != nil {
			return began, ended, fmt.Errorf("open source image: %w", err)
		}
		defer func() { _ = from.Close() }()
		began = time.Now()
		if err := unix.IoctlFileClone(int(image.Fd()), int(from.Fd())); err != nil {
			return began, ended, fmt.Errorf("clone %s: %w", source, err)
		}
		ended = time.Now()
	}
	if err := image.Truncate(bytes); err != nil {
		return began, ended, fmt.Errorf("size image: %w", err)
	}
	return began, ended, os.Rename(part, p.image(kind, id))
}

// snapshotList returns all snapshots by id.
func (p *pool) snapshotList() ([]Snapshot, error) {
	files, err := filepath.Glob(p.record(snapshots, "*"))
	if err != nil {
		return nil, err
	}
	sort.Strings(files)
	var all []Snapshot
	for _, f := range files {
		var s Snapshot
		found, err := p.load(snapshots, strings.TrimSuffix(filepath.Base(f), ".json"), &s)
		if err != nil {
			return nil, err
		}
		if found {
			all = append(all, s)
		}
	}
	return all, nil
}
