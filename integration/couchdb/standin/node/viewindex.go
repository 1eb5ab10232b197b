package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

// viewIndex is the rows of a design document's views over one shard, in an
// append-only file under .shards. It believes its own sequence: a file newer
// than its shard (a copy made in the wrong order) keeps rows of documents that
// are not there and never sees new ones below that sequence.
type viewIndex struct {
	mu   sync.Mutex
	f    *os.File
	size int64
	seq  uint64
	rows map[string][]viewRow // by document
}

type viewRow struct {
	View  string
	ID    string
	Key   any
	Value any
}

type viewLine struct {
	Seq  uint64
	ID   string
	Rows []viewRow
}

// viewSet is the indexes open on this node, by path.
type viewSet struct {
	mu sync.Mutex
	m  map[string]*viewIndex
}

func (n *Node) viewPath(shardName, sig string) string {
	return filepath.Join(n.set.DataDir(), "."+filepath.FromSlash(shardName)+"_design", "mrview", sig+".view")
}

func (v *viewSet) get(path string) *viewIndex {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.m == nil {
		v.m = map[string]*viewIndex{}
	}
	if v.m[path] == nil {
		v.m[path] = &viewIndex{}
	}
	return v.m[path]
}

// drop removes a shard's indexes with it.
func (v *viewSet) drop(n *Node, shardName string) {
	dir := strings.TrimSuffix(n.viewPath(shardName, "x"), filepath.Join("mrview", "x.view"))
	v.mu.Lock()
	defer v.mu.Unlock()
	for path, idx := range v.m {
		if strings.HasPrefix(path, dir) {
			if idx.f != nil {
				idx.f.Close() //nolint:errcheck // its file goes next
			}
			delete(v.m, path)
		}
	}
	_ = n.slots.Do(func() error { return os.RemoveAll(dir) }) // an index left behind is never read again
}

func (x *viewIndex) load(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err != nil {
		return err
	}
	if x.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return err
	}
	x.rows, x.size = map[string][]viewRow{}, int64(len(raw))
	for _, line := range bytes.Split(raw, []byte("\n")) {
		var l viewLine
		if json.Unmarshal(line, &l) == nil && l.Seq > 0 { // a torn line is indexed again
			x.take(l)
		}
	}
	return nil
}

func (x *viewIndex) take(l viewLine) {
	x.seq = max(x.seq, l.Seq)
	if len(l.Rows) == 0 {
		delete(x.rows, l.ID)
	} else {
		x.rows[l.ID] = l.Rows
	}
}

// update indexes what changed in the shard since the index's own sequence.
func (x *viewIndex) update(n *Node, path string, f *shardfile.File, funs map[string]*mapFun) error {
	if x.f == nil {
		if err := n.slots.Do(func() error { return x.load(path) }); err != nil {
			return fmt.Errorf("open view index %s: %w", path, err)
		}
	}
	f.Info() // one turn at the disk
	docs, _ := f.Since(x.seq, 1<<40, false)
	if len(docs) == 0 {
		return nil
	}
	var buf bytes.Buffer
	var lines []viewLine
	for _, d := range docs {
		l := viewLine{Seq: d.Seq, ID: d.ID}
		if w := d.Winner(); !w.Deleted && !strings.HasPrefix(d.ID, "_design/") {
			body, err := f.Body(d, w)
			if err != nil {
				return err
			}
			doc := map[string]any{}
			if err := json.Unmarshal(withIDRev(d.ID, w.Rev(), body), &doc); err != nil {
				return fmt.Errorf("index %s: %w", d.ID, err)
			}
			for name, fun := range funs {
				if fun == nil {
					continue
				}
				if key, value, ok := fun.run(doc); ok {
					l.Rows = append(l.Rows, viewRow{View: name, ID: d.ID, Key: key, Value: value})
				}
			}
		}
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		buf.WriteByte('\n') // ends a torn line before it
		buf.Write(b)
		lines = append(lines, l)
	}
	err := n.slots.Do(func() error {
		if _, err := x.f.WriteAt(buf.Bytes(), x.size); err != nil {
			return err
		}
		x.size += int64(buf.Len())
		return x.f.Sync()
	})
	if err != nil {
		return fmt.Errorf("write view index %s: %w", path, err)
	}
	for _, l := range lines {
		x.take(l)
	}
	return nil
}
