package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Node is the files of one CouchDB node, to be copied.
type Node struct {
	// moving is held by Prepare and Measure, and by Close at the end.
	moving sync.Mutex
	walk   walk
	limit  uint64
	// between is called by Measure before each of its steps: tests let things happen there.
	between func(kind)

	// mu guards what follows, and the shares of what is held.
	mu     sync.Mutex
	cut    *cut
	failed string
	closed bool
	stop   chan struct{}
}

// Open opens the directories; it looks at no file yet.
func Open(l Layout) (*Node, error) {
	places, err := l.places()
	if err != nil {
		return nil, err
	}
	n := &Node{stop: make(chan struct{}), between: func(kind) {}}
	if n.limit, err = raiseLimit(); err != nil {
		return nil, err
	}
	n.walk.most = int(min(n.limit, 1<<30)) - reserve //nolint:gosec // bounded
	for _, p := range places {
		fd, err := openPlace(p)
		if err != nil {
			n.closePlaces()
			return nil, fmt.Errorf("open CouchDB's directory for %s: %w; the subPath that the pod was given does not fit this volume", p.prefix, err)
		}
		o := &opened{place: p, fd: fd}
		var s unix.Stat_t
		if err := unix.Fstat(fd, &s); err != nil {
			return nil, err
		}
		o.top = &folder{place: o, id: identityOf(&s)}
		n.walk.places = append(n.walk.places, o)
	}
	return n, nil
}

func (n *Node) closePlaces() {
	for _, p := range n.walk.places {
		_ = unix.Close(p.fd)
	}
	n.walk.places = nil
}

// errClosed is the error of a node whose files were let go.
var errClosed = errors.New("the node is closed already")

// Prepare walks the volume, opens what will be copied, and checks that there are
// descriptors and space enough. Again, it looks at what changed: called right before the
// nodes are held, it leaves little to Measure.
func (n *Node) Prepare(ctx context.Context) (Survey, error) {
	n.moving.Lock()
	defer n.moving.Unlock()
	began := time.Now()
	if n.isClosed() {
		return Survey{}, errClosed
	}
	s := Survey{Descriptors: n.limit}
	for _, p := range n.walk.places {
		if err := n.walk.look(ctx, p.top, everywhere); err != nil {
			return s, err
		}
	}
	if err := enoughDescriptors(n.walk.files, n.limit); err != nil {
		return s, err
	}
	for _, p := range n.walk.places {
		err := p.top.each(func(d *folder) error {
			s.Directories++
			for _, path := range d.left {
				s.Left.add(path)
			}
			for _, f := range d.files {
				size, err := f.warm()
				if err != nil {
					return fmt.Errorf("%s: %w", f.path, err)
				}
				s.Files++
				s.Size += size
			}
			return nil
		})
		if err != nil {
			return s, err
		}
	}
	var err error
	if s.Free, s.Capacity, err = n.space(); err != nil {
		return s, err
	}
	s.Took = time.Since(began)
	return s, enoughSpace(s.Free, s.Capacity)
}

// warm has in memory what Measure will want to know of a file.
func (f *file) warm() (int64, error) {
	if f.held == nil {
		return 0, nil
	}
	var s unix.Stat_t
	if err := unix.Fstat(f.held.fd, &s); err != nil {
		return 0, err
	}
	if f.kind == view && f.tail.end != s.Size {
		t, err := tailOf(f.held.fd, s.Size)
		if err != nil {
			return 0, err
		}
		f.tail = t
	}
	return s.Size, nil
}

// everywhere looks into every folder.
func everywhere(*folder) bool { return true }

// each visits a folder and all below it.
func (d *folder) each(visit func(*folder) error) error {
	if err := visit(d); err != nil {
		return err
	}
	for _, sub := range d.folders {
		if err := sub.each(visit); err != nil {
			return err
		}
	}
	return nil
}

// space asks how much is free on the volume.
func (n *Node) space() (free, capacity int64, err error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(n.walk.places[0].fd, &s); err != nil {
		return 0, 0, fmt.Errorf("ask for the free space of the volume: %w", err)
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize, nil //nolint:gosec // sizes of disks
}

// State tells how far it is.
func (n *Node) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := State{Failed: n.failed}
	if n.cut != nil {
		m := n.cut.measured
		s.Measured = &m
	}
	return s
}

func (n *Node) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

// Close lets all files go.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	close(n.stop)
	n.letGo()
	n.mu.Unlock()
	n.moving.Lock()
	defer n.moving.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.walk.places {
		n.walk.forget(p.top)
	}
	n.closePlaces()
	return nil
}

// letGo gives up the cut that is held.
func (n *Node) letGo() {
	if n.cut != nil {
		n.cut.release()
		n.cut = nil
	}
}

// newCut names a cut.
func newCut() string { return rand.Text() }
