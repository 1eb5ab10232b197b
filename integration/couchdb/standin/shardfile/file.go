package shardfile

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// ErrGone is the answer to work on a removed file.
var ErrGone = errors.New("database file was removed")

// handle is an open file that documents point into. After a compaction old
// documents still point into the old handle; it closes when the last is dropped.
type handle struct{ f *os.File }

type seqEntry struct {
	seq uint64
	id  string
}

type localDoc struct {
	n    int
	body []byte
}

// File is one open database file.
type File struct {
	Path string
	// OnCommit is told the ids of documents after they are durable and visible.
	OnCommit func(ids []string)

	slots Slots

	qmu      sync.Mutex
	queue    []*request
	draining bool

	wmu  sync.Mutex // held by whoever appends or replaces the file
	size int64

	mu       sync.RWMutex // guards everything below
	h        *handle
	uuid     string
	docs     map[string]*Doc
	locals   map[string]localDoc
	props    map[string]json.RawMessage
	bySeq    []seqEntry
	sorted   []string // ids of live documents, nil when stale
	seq      uint64
	live     int
	deleted  int
	external int64
	gone     bool
}

// Open opens path, and creates it when it is missing: no error, no trace. That
// a volume in the wrong place looks like an empty database is CouchDB's trap.
func Open(slots Slots, path string) (*File, error) {
	f := &File{Path: path, slots: slots, docs: map[string]*Doc{}, locals: map[string]localDoc{}, props: map[string]json.RawMessage{}}
	err := slots.Do(func() error {
		if err := finishCompaction(path); err != nil {
			return err
		}
		fd, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return f.create()
		}
		if err != nil {
			return err
		}
		f.h = &handle{fd}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f.size = int64(len(raw))
		f.load(raw)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open database file %s: %w", path, err)
	}
	return f, nil
}

// finishCompaction puts X.compact in place where a stop between the two renames
// left it as the only copy.
func finishCompaction(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := os.Rename(path+".compact", path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (f *File) create() error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	fd, err := os.OpenFile(f.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	f.h, f.uuid = &handle{fd}, newUUID()
	var buf bytes.Buffer
	if _, err := appendRecord(&buf, 0, meta{K: kindHeader, UUID: f.uuid}, nil); err != nil {
		return err
	}
	if _, err := fd.WriteAt(buf.Bytes(), 0); err != nil {
		return err
	}
	f.size = int64(buf.Len())
	if err := fd.Sync(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.Path))
}

func newUUID() string {
	b := make([]byte, 16)
	rand.Read(b) //nolint:errcheck // never fails
	return hex.EncodeToString(b)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // read only
	return d.Sync()
}

func (f *File) load(raw []byte) {
	scan(raw, func(m meta, off int64, body []byte) {
		switch m.K {
		case kindHeader:
			f.uuid = m.UUID
			f.seq = max(f.seq, m.Seq)
		case kindProp:
			f.props[m.ID] = bytes.Clone(body)
		case kindLocal:
			if m.Deleted {
				delete(f.locals, m.ID)
			} else {
				f.locals[m.ID] = localDoc{m.Pos, bytes.Clone(body)}
			}
		case kindDoc:
			leaf := &Leaf{Pos: m.Pos, Path: m.Path, Deleted: m.Deleted, Atts: m.Atts, off: off, size: len(body)}
			old := f.docs[m.ID]
			if m.Extends && old != nil && len(m.Path) == 2 {
				for _, l := range old.Leaves {
					if l.Path[0] == m.Path[1] && l.Pos == m.Pos-1 {
						leaf.Path = extend(m.Path[0], l.Path)
					}
				}
			}
			f.install(withLeaf(old, m.ID, m.Seq, leaf, f.h))
		}
	})
	if f.uuid == "" { // the header itself was torn: only possible before anything was acknowledged
		f.uuid = newUUID()
	}
}

const revsLimit = 1000

func extend(id string, path []string) []string {
	out := make([]string, 0, min(len(path)+1, revsLimit))
	out = append(out, id)
	return append(out, path[:min(len(path), revsLimit-1)]...)
}

// withLeaf is the document with a leaf added, in place of the leaf it extends.
func withLeaf(old *Doc, id string, seq uint64, leaf *Leaf, h *handle) *Doc {
	d := &Doc{ID: id, Seq: seq, h: h, Leaves: []*Leaf{leaf}}
	if old != nil {
		for _, l := range old.Leaves {
			if !leaf.knows(l.Pos, l.Path[0]) {
				d.Leaves = append(d.Leaves, l)
			}
		}
	}
	sortLeaves(d.Leaves)
	return d
}

// install makes a document visible; the caller holds mu or is alone.
func (f *File) install(d *Doc) {
	wasLive := false
	if old := f.docs[d.ID]; old != nil {
		wasLive = !old.Winner().Deleted
		f.external -= int64(old.Winner().size)
		if !wasLive {
			f.deleted--
		}
	}
	isLive := !d.Winner().Deleted
	f.external += int64(d.Winner().size)
	switch {
	case isLive && !wasLive:
		f.live++
	case !isLive && wasLive:
		f.live--
	}
	if !isLive {
		f.deleted++
	}
	if isLive != wasLive {
		f.sorted = nil
	}
	f.docs[d.ID] = d
	f.seq = max(f.seq, d.Seq)
	f.bySeq = append(f.bySeq, seqEntry{d.Seq, d.ID})
	if len(f.bySeq) > 64 && len(f.bySeq) > 2*len(f.docs) {
		f.bySeq = slices.DeleteFunc(f.bySeq, func(e seqEntry) bool { return f.docs[e.id].Seq != e.seq })
	}
}

// SetProp stores a property (_security and the like) durably.
func (f *File) SetProp(key string, value json.RawMessage) error {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	var buf bytes.Buffer
	if _, err := appendRecord(&buf, f.size, meta{K: kindProp, ID: key}, value); err != nil {
		return err
	}
	if err := f.append(buf.Bytes()); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.props[key] = value
	return nil
}

// append writes and fsyncs; the caller holds wmu.
func (f *File) append(b []byte) error {
	f.mu.RLock()
	h, gone := f.h, f.gone
	f.mu.RUnlock()
	if gone {
		return ErrGone
	}
	return f.slots.Do(func() error {
		_, err := h.f.WriteAt(b, f.size)
		if err == nil {
			err = h.f.Sync()
		}
		if err != nil {
			// Whatever got there stays as a torn record; go on behind it.
			if st, serr := h.f.Stat(); serr == nil {
				f.size = max(f.size, st.Size())
			}
			return fmt.Errorf("append to %s: %w", f.Path, err)
		}
		f.size += int64(len(b))
		return nil
	})
}

// Remove deletes the file; work still queued on it ends with ErrGone.
func (f *File) Remove() error {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	f.mu.Lock()
	f.gone = true
	f.mu.Unlock()
	return f.slots.Do(func() error { return os.Remove(f.Path) })
}
