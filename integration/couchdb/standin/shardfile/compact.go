package shardfile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// Compact rewrites the file with what is still needed. Writers of this file wait.
// Names follow CouchDB: X.compact.data is scratch, X.compact is complete, and
// between the two last steps X.compact is the only copy there is.
func (f *File) Compact() error {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	f.mu.RLock()
	old, gone := f.h, f.gone
	docs := make([]*Doc, 0, len(f.docs))
	for _, e := range f.bySeq {
		if d := f.docs[e.id]; d.Seq == e.seq {
			docs = append(docs, d)
		}
	}
	f.mu.RUnlock()
	if gone {
		return ErrGone
	}
	c := &compaction{f: f, atts: map[int64]int64{}}
	if err := c.run(docs); err != nil {
		return fmt.Errorf("compact %s: %w", f.Path, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.h, f.size = c.h, c.size
	f.bySeq = f.bySeq[:0:0]
	for _, d := range c.docs {
		f.docs[d.ID] = d
		f.bySeq = append(f.bySeq, seqEntry{d.Seq, d.ID})
	}
	_ = old // closed by its finalizer once no reader's document points into it
	return nil
}

type compaction struct {
	f    *File
	h    *handle
	buf  bytes.Buffer
	size int64
	docs []*Doc
	atts map[int64]int64 // attachment offsets, old to new
}

func (c *compaction) run(docs []*Doc) error {
	data, done := c.f.Path+".compact.data", c.f.Path+".compact"
	err := c.f.slots.Do(func() error {
		fd, err := os.OpenFile(data, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		c.h = &handle{fd}
		return err
	})
	if err != nil {
		return err
	}
	if err := c.head(); err != nil {
		return err
	}
	for _, d := range docs {
		if err := c.doc(d); err != nil {
			return err
		}
	}
	if err := c.flush(); err != nil {
		return err
	}
	return c.f.slots.Do(func() error {
		if err := c.h.f.Sync(); err != nil {
			return err
		}
		if err := os.Rename(data, done); err != nil {
			return err
		}
		if err := os.Remove(c.f.Path); err != nil {
			return err
		}
		if err := os.Rename(done, c.f.Path); err != nil {
			return err
		}
		return syncDir(filepath.Dir(c.f.Path))
	})
}

func (c *compaction) head() error {
	if _, err := c.put(meta{K: kindHeader, UUID: c.f.uuid, Seq: c.f.seq}, nil); err != nil {
		return err
	}
	for key, value := range c.f.props {
		if _, err := c.put(meta{K: kindProp, ID: key}, value); err != nil {
			return err
		}
	}
	for id, l := range c.f.locals {
		if _, err := c.put(meta{K: kindLocal, ID: id, Pos: l.n}, l.body); err != nil {
			return err
		}
	}
	return nil
}

func (c *compaction) doc(d *Doc) error {
	nd := &Doc{ID: d.ID, Seq: d.Seq, h: c.h}
	for _, l := range d.Leaves {
		body, err := c.f.Body(d, l)
		if err != nil {
			return err
		}
		nl := *l
		nl.Atts = nil
		for _, a := range l.Atts {
			if a.Off, err = c.att(d, a); err != nil {
				return err
			}
			nl.Atts = append(nl.Atts, a)
		}
		m := meta{K: kindDoc, ID: d.ID, Seq: d.Seq, Pos: l.Pos, Path: l.Path, Deleted: l.Deleted, Atts: nl.Atts}
		if nl.off, err = c.put(m, body); err != nil {
			return err
		}
		nd.Leaves = append(nd.Leaves, &nl)
	}
	c.docs = append(c.docs, nd)
	return nil
}

func (c *compaction) att(d *Doc, a Att) (int64, error) {
	if off, ok := c.atts[a.Off]; ok {
		return off, nil
	}
	data, err := c.f.Attachment(d, a)
	if err != nil {
		return 0, err
	}
	off, err := c.put(meta{K: kindAtt, ID: d.ID}, data)
	c.atts[a.Off] = off
	return off, err
}

func (c *compaction) put(m meta, body []byte) (int64, error) {
	off, err := appendRecord(&c.buf, c.size, m, body)
	if err == nil && c.buf.Len() > 1<<20 {
		err = c.flush()
	}
	return off, err
}

func (c *compaction) flush() error {
	return c.f.slots.Do(func() error {
		n, err := c.h.f.WriteAt(c.buf.Bytes(), c.size)
		c.size += int64(n)
		c.buf.Reset()
		return err
	})
}
