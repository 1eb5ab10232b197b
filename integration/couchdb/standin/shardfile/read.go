package shardfile

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
)

// Info is what GET /{db} adds up.
type Info struct {
	UUID     string
	Seq      uint64
	Live     int
	Deleted  int
	File     int64
	External int64
}

// Info reads the counts. It takes a slot, as the real one reads the file's
// header: on a disk full of blocked writers it waits.
func (f *File) Info() Info {
	f.touch()
	f.mu.RLock()
	defer f.mu.RUnlock()
	st, err := f.h.f.Stat()
	in := Info{UUID: f.uuid, Seq: f.seq, Live: f.live, Deleted: f.deleted, External: f.external}
	if err == nil {
		in.File = st.Size()
	}
	return in
}

func (f *File) touch() {
	_ = f.slots.Do(func() error { return nil })
}

// UUID identifies the file's lineage; sequence tokens carry it.
func (f *File) UUID() string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.uuid
}

// Doc returns a document, nil when it was never there.
func (f *File) Doc(id string) *Doc {
	f.touch()
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.docs[id]
}

// Memory returns a document's index entry without touching the disk.
func (f *File) Memory(id string) *Doc {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.docs[id]
}

// Local returns a _local document.
func (f *File) Local(id string) (rev string, body []byte, ok bool) {
	f.touch()
	f.mu.RLock()
	defer f.mu.RUnlock()
	l, ok := f.locals[id]
	return "0-" + strconv.Itoa(l.n), l.body, ok
}

// Prop returns a property, nil when not set.
func (f *File) Prop(key string) json.RawMessage {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.props[key]
}

// Body reads a leaf's JSON.
func (f *File) Body(d *Doc, l *Leaf) ([]byte, error) {
	return f.read(d.h, l.off, int64(l.size))
}

// Attachment reads an attachment's bytes.
func (f *File) Attachment(d *Doc, a Att) ([]byte, error) {
	return f.read(d.h, a.Off, a.Len)
}

func (f *File) read(h *handle, off, size int64) ([]byte, error) {
	b := make([]byte, size)
	err := f.slots.Do(func() error {
		_, err := h.f.ReadAt(b, off)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %d bytes at %d of %s: %w", size, off, f.Path, err)
	}
	return b, nil
}

// IDs lists live documents in order. The slice is shared: do not change it.
func (f *File) IDs() []string {
	f.mu.RLock()
	ids := f.sorted
	f.mu.RUnlock()
	if ids != nil {
		return ids
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sorted == nil {
		f.sorted = make([]string, 0, f.live)
		for id, d := range f.docs {
			if !d.Winner().Deleted {
				f.sorted = append(f.sorted, id)
			}
		}
		slices.Sort(f.sorted)
	}
	return f.sorted
}

// All returns every document, deleted ones too.
func (f *File) All() []*Doc {
	f.mu.RLock()
	defer f.mu.RUnlock()
	out := make([]*Doc, 0, len(f.docs))
	for _, d := range f.docs {
		out = append(out, d)
	}
	return out
}

// Since returns documents changed after seq, oldest first (or newest first), at
// most limit of them, and how many more there are.
func (f *File) Since(seq uint64, limit int, newestFirst bool) (docs []*Doc, pending int) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	entries := f.bySeq[sort.Search(len(f.bySeq), func(i int) bool { return f.bySeq[i].seq > seq }):]
	take := func(e seqEntry) {
		d := f.docs[e.id]
		switch {
		case d.Seq != e.seq:
		case len(docs) < limit:
			docs = append(docs, d)
		default:
			pending++
		}
	}
	if newestFirst {
		for i := len(entries) - 1; i >= 0; i-- {
			take(entries[i])
		}
		return docs, pending
	}
	for _, e := range entries {
		take(e)
	}
	return docs, pending
}

// Seq is the newest sequence.
func (f *File) Seq() uint64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.seq
}
