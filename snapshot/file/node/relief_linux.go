package node

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// looksAtSpace is how often the free space of a volume is looked at whose files are held.
const looksAtSpace = 3 * time.Second

// relieve watches a volume while a cut's files are held, and lets them go before they
// fill it: a backup that fails is better than a CouchDB that can not write.
func (n *Node) relieve(c *cut) {
	tick := time.NewTicker(looksAtSpace)
	defer tick.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-tick.C:
		}
		if !n.relieveOnce(c) {
			return
		}
	}
}

// relieveOnce tells whether to go on watching.
func (n *Node) relieveOnce(c *cut) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.cut != c {
		return false
	}
	free, capacity, err := n.space()
	if err != nil {
		return true // asked again soon
	}
	read, unread := c.removed()
	letRead, letAll := relief(free, capacity, read, unread)
	if letAll {
		n.failed = fmt.Sprintf("%v: only %s of %s were free on CouchDB's volume while %s that it had removed were held for the copy; the files were let go. Free some space, or back up when nothing is compacted",
			ErrNoSpace, gib(free), gib(capacity), gib(read+unread))
		c.release()
		n.forgetAll()
		return false
	}
	if letRead {
		for i := range c.files {
			if c.files[i].read {
				c.files[i].release()
			}
		}
		n.forgetAll()
	}
	return true
}

// forgetAll lets the walk's shares go, too, where no Measure is under way.
func (n *Node) forgetAll() {
	if !n.moving.TryLock() {
		return
	}
	defer n.moving.Unlock()
	for _, p := range n.walk.places {
		n.walk.forget(p.top)
		p.top.read = time.Time{}
	}
}

// removed sums up what only we still hold.
func (c *cut) removed() (read, unread int64) {
	for i := range c.files {
		f := &c.files[i]
		if f.held == nil {
			continue
		}
		var s unix.Stat_t
		if unix.Fstat(f.held.fd, &s) != nil || s.Nlink > 0 {
			continue
		}
		if bytes := s.Blocks * 512; f.read {
			read += bytes
		} else {
			unread += bytes
		}
	}
	return read, unread
}
