package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// cut is what was measured at one time: the files, sorted by path.
type cut struct {
	measured Measured
	files    []measured
}

// measured is a file as it was at the cut.
type measured struct {
	meta tree.Meta
	// held is nil for what was read at the cut, and for what was let go.
	held *held
	gone bool
	// text is that of a configuration.
	text []byte
	// tail of a view.
	tail tail
	// read says that all of it was given once.
	read bool
}

func (c *cut) release() {
	for i := range c.files {
		c.files[i].release()
	}
}

func (m *measured) release() {
	if m.held != nil {
		m.held.release()
		m.held, m.gone = nil, true
	}
}

// Measure makes the cut, while CouchDB is held still. It gives up when ctx ends, and can
// then be called again. A cut that was made before is given up for this one.
//
// Views come first, then shards, _dbs and _nodes, and the configuration last. Held still
// the order makes no difference, but a node that is not held has a copy of its own all
// the same: of a view that is older than its shard CouchDB makes the rest, of one that is
// newer it notices nothing.
func (n *Node) Measure(ctx context.Context) (Measured, error) {
	if !n.moving.TryLock() {
		return Measured{}, errors.New("it is being prepared or measured already") // and nodes that are held still do not wait for that
	}
	defer n.moving.Unlock()
	began := time.Now()
	if n.isClosed() {
		return Measured{}, errClosed
	}
	c := &cut{measured: Measured{Cut: newCut(), At: began}, files: make([]measured, 0, n.walk.files+16)}
	if err := n.measure(ctx, c); err != nil {
		c.release()
		return Measured{}, err
	}
	slices.SortFunc(c.files, func(a, b measured) int { return cmp.Compare(a.meta.Path, b.meta.Path) })
	c.measured.Took = time.Since(began)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		c.release()
		return Measured{}, errClosed
	}
	n.letGo()
	n.cut, n.failed = c, ""
	go n.relieve(c)
	return c.measured, nil
}

func (n *Node) measure(ctx context.Context, c *cut) error {
	data := n.walk.places[0].top
	n.between(view)
	if err := n.walk.look(ctx, data, (*folder).mayHaveViews); err != nil {
		return err
	}
	if err := n.stat(ctx, c, data, view); err != nil {
		return err
	}
	n.between(shard)
	if err := n.walk.look(ctx, data, func(d *folder) bool { return !d.views }); err != nil {
		return err
	}
	if err := n.stat(ctx, c, data, shard); err != nil {
		return err
	}
	n.between(members)
	if err := n.stat(ctx, c, data, members); err != nil {
		return err
	}
	if err := enoughDescriptors(n.walk.files, n.limit); err != nil {
		return err
	}
	n.between(config)
	for _, p := range n.walk.places[1:] {
		if err := n.readConfig(ctx, c, p); err != nil {
			return err
		}
	}
	n.leftOut(c)
	return nil
}

// mayHaveViews says where to look before views are measured.
func (d *folder) mayHaveViews() bool {
	if d.views {
		return true
	}
	for _, sub := range d.folders {
		if sub.mayHaveViews() {
			return true
		}
	}
	return false
}

// stat notes how long the files of one kind are.
func (n *Node) stat(ctx context.Context, c *cut, root *folder, k kind) error {
	return root.each(func(d *folder) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, f := range d.files {
			if f.kind != k || f.held == nil {
				continue
			}
			if err := f.measure(); err != nil {
				return fmt.Errorf("%s: %w", f.path, err)
			}
			f.cut = c.measured.Cut
			c.add(measured{meta: metaOf(f.path, &f.stat), held: f.held.share(), tail: f.tail})
		}
		return nil
	})
}

func (f *file) measure() error {
	if err := unix.Fstat(f.held.fd, &f.stat); err != nil {
		return err
	}
	if f.kind != view || f.tail.end == f.stat.Size {
		return nil
	}
	// What has been written since Prepare is in the machine's memory still.
	t, err := tailOf(f.held.fd, f.stat.Size)
	f.tail = t
	return err
}

func metaOf(path string, s *unix.Stat_t) tree.Meta {
	return tree.Meta{Path: path, Size: s.Size, Mode: s.Mode & 0o777, UID: int(s.Uid), GID: int(s.Gid)}
}

func (c *cut) add(m measured) {
	c.files = append(c.files, m)
	c.measured.Files++
	c.measured.Size += m.meta.Size
}

// readConfig reads the files of local.d.
func (n *Node) readConfig(ctx context.Context, c *cut, p *opened) error {
	if err := n.walk.look(ctx, p.top, everywhere); err != nil {
		return err
	}
	for name, f := range p.top.files {
		text, s, err := readIni(p, name)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		c.add(measured{meta: metaOf(f.path, s), text: text})
	}
	return nil
}

// leftOut names what is not in the cut. A view that was found after views were measured
// is left out, too: it may be newer than its shard.
func (n *Node) leftOut(c *cut) {
	for _, p := range n.walk.places {
		_ = p.top.each(func(d *folder) error {
			for _, path := range d.left {
				c.measured.Left.add(path)
			}
			for _, f := range d.files {
				if f.kind == view && f.cut != c.measured.Cut {
					c.measured.Left.add(f.path)
				}
			}
			return nil
		})
	}
}
