package shardfile

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Errors of one edit.
var (
	ErrConflict    = errors.New("document update conflict")
	ErrMissingStub = errors.New("attachment stub without attachment")
)

// AttIn is an attachment of an edit: data, or a stub for one already stored.
type AttIn struct {
	Name   string
	Type   string
	RevPos int
	Data   []byte
	Stub   bool
}

// Edit is one change of one document.
type Edit struct {
	ID      string
	Rev     string   // parent of an interactive edit
	Pos     int      // with Path: a replicated revision and its history
	Path    []string // newest first
	Deleted bool
	Local   bool   // a _local document
	Body    []byte // JSON object without special members
	Atts    []AttIn
}

// Result says what an edit became.
type Result struct {
	Rev string
	Err error
}

type request struct {
	edits   []Edit
	results []Result
	done    chan struct{}
}

// Update applies edits and returns when they are on disk. Edits that arrive
// while a write is under way share the next write and its fsync.
func (f *File) Update(edits []Edit) []Result {
	r := &request{edits: edits, done: make(chan struct{})}
	f.qmu.Lock()
	f.queue = append(f.queue, r)
	if !f.draining {
		f.draining = true
		go f.drain()
	}
	f.qmu.Unlock()
	<-r.done
	return r.results
}

func (f *File) drain() {
	for {
		f.qmu.Lock()
		batch := f.queue
		f.queue = nil
		f.draining = len(batch) > 0
		f.qmu.Unlock()
		if len(batch) == 0 {
			return
		}
		f.commit(batch)
	}
}

// stage is a batch being built: not yet written, not yet visible.
type stage struct {
	f      *File
	h      *handle
	buf    bytes.Buffer
	seq    uint64
	docs   map[string]*Doc
	order  []*Doc
	locals map[string]*localDoc // nil for deleted
}

func (f *File) commit(batch []*request) {
	f.wmu.Lock()
	f.mu.RLock()
	st := &stage{f: f, h: f.h, seq: f.seq, docs: map[string]*Doc{}, locals: map[string]*localDoc{}}
	f.mu.RUnlock()
	for _, r := range batch {
		r.results = make([]Result, len(r.edits))
		for i := range r.edits {
			rev, err := st.apply(&r.edits[i])
			r.results[i] = Result{rev, err}
		}
	}
	var err error
	if st.buf.Len() > 0 {
		err = f.append(st.buf.Bytes())
	}
	if err == nil {
		f.mu.Lock()
		for _, d := range st.order {
			f.install(d)
		}
		for id, l := range st.locals {
			if l == nil {
				delete(f.locals, id)
			} else {
				f.locals[id] = *l
			}
		}
		f.mu.Unlock()
	}
	f.wmu.Unlock()
	if err == nil && f.OnCommit != nil && len(st.order) > 0 {
		ids := make([]string, 0, len(st.docs))
		for id := range st.docs {
			ids = append(ids, id)
		}
		f.OnCommit(ids)
	}
	for _, r := range batch {
		for i := range r.results {
			if err != nil && r.results[i].Err == nil {
				r.results[i].Err = err
			}
		}
		close(r.done)
	}
}

func (st *stage) doc(id string) *Doc {
	if d := st.docs[id]; d != nil {
		return d
	}
	st.f.mu.RLock()
	defer st.f.mu.RUnlock()
	return st.f.docs[id]
}

func (st *stage) apply(e *Edit) (string, error) {
	switch {
	case e.Local:
		return st.applyLocal(e)
	case e.Path != nil:
		return st.applyReplicated(e)
	}
	old := st.doc(e.ID)
	var parent *Leaf
	switch {
	case old == nil && e.Rev != "":
		return "", ErrConflict
	case old == nil:
	case e.Rev == "":
		if parent = old.Winner(); !parent.Deleted || e.Deleted {
			return "", ErrConflict
		}
	default:
		if parent = old.Leaf(e.Rev); parent == nil || (parent.Deleted && e.Deleted) {
			return "", ErrConflict
		}
	}
	leaf := &Leaf{Pos: 1, Deleted: e.Deleted}
	m := meta{K: kindDoc, ID: e.ID, Deleted: e.Deleted}
	parentRev := ""
	if parent != nil {
		leaf.Pos, parentRev = parent.Pos+1, parent.Rev()
	}
	atts, err := st.attachments(e, old, leaf.Pos)
	if err != nil {
		return "", err
	}
	id := newRevID(e, parentRev, atts)
	if parent != nil {
		leaf.Path, m.Extends, m.Path = extend(id, parent.Path), true, []string{id, parent.Path[0]}
	} else {
		leaf.Path = []string{id}
		m.Path = leaf.Path
	}
	return st.add(old, leaf, m, atts, e.Body)
}

// applyReplicated merges a revision with its history; known ones change nothing.
func (st *stage) applyReplicated(e *Edit) (string, error) {
	old := st.doc(e.ID)
	rev := strconv.Itoa(e.Pos) + "-" + e.Path[0]
	if old != nil && slices.ContainsFunc(old.Leaves, func(l *Leaf) bool { return l.knows(e.Pos, e.Path[0]) }) {
		return rev, nil
	}
	atts, err := st.attachments(e, old, e.Pos)
	if err != nil {
		return "", err
	}
	leaf := &Leaf{Pos: e.Pos, Path: e.Path[:min(len(e.Path), revsLimit)], Deleted: e.Deleted}
	return st.add(old, leaf, meta{K: kindDoc, ID: e.ID, Deleted: e.Deleted, Path: leaf.Path}, atts, e.Body)
}

func (st *stage) add(old *Doc, leaf *Leaf, m meta, atts []Att, body []byte) (string, error) {
	st.seq++
	m.Seq, m.Pos, m.Atts, leaf.Atts = st.seq, leaf.Pos, atts, atts
	off, err := appendRecord(&st.buf, st.f.size, m, body)
	if err != nil {
		return "", err
	}
	leaf.off, leaf.size = off, len(body)
	d := withLeaf(old, m.ID, st.seq, leaf, st.h)
	st.docs[m.ID] = d
	st.order = append(st.order, d)
	return leaf.Rev(), nil
}

func (st *stage) attachments(e *Edit, old *Doc, pos int) ([]Att, error) {
	var out []Att
	for _, in := range e.Atts {
		if in.Stub {
			a, ok := stored(old, in.Name)
			if !ok {
				return nil, fmt.Errorf("%w: %s of %s", ErrMissingStub, in.Name, e.ID)
			}
			out = append(out, a)
			continue
		}
		sum := md5.Sum(in.Data)
		a := Att{Name: in.Name, Type: in.Type, RevPos: pos, Len: int64(len(in.Data)),
			Digest: "md5-" + base64.StdEncoding.EncodeToString(sum[:])}
		if in.RevPos > 0 {
			a.RevPos = in.RevPos
		}
		off, err := appendRecord(&st.buf, st.f.size, meta{K: kindAtt, ID: e.ID}, in.Data)
		if err != nil {
			return nil, err
		}
		a.Off = off
		out = append(out, a)
	}
	return out, nil
}

func stored(d *Doc, name string) (Att, bool) {
	if d == nil {
		return Att{}, false
	}
	for _, l := range d.Leaves {
		for _, a := range l.Atts {
			if a.Name == name {
				return a, true
			}
		}
	}
	return Att{}, false
}

// applyLocal stores a _local document: no history, no conflict, no sequence.
func (st *stage) applyLocal(e *Edit) (string, error) {
	n := 0
	if e.Rev != "" {
		_, id, err := ParseRev(e.Rev)
		if err == nil {
			n, err = strconv.Atoi(id)
		}
		if err != nil {
			return "", ErrConflict
		}
	}
	n++
	if _, err := appendRecord(&st.buf, st.f.size, meta{K: kindLocal, ID: e.ID, Pos: n, Deleted: e.Deleted}, e.Body); err != nil {
		return "", err
	}
	st.locals[e.ID] = nil
	if !e.Deleted {
		st.locals[e.ID] = &localDoc{n, e.Body}
		return "0-" + strconv.Itoa(n), nil
	}
	return "0-0", nil
}
