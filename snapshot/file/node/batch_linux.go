package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

const (
	// batchSize is how many files are put in their places together.
	batchSize = 256
	// batchWithin is how long the first of them waits for others.
	batchWithin = 300 * time.Millisecond
	// syncs is how many of them are synced at once: file systems write them together.
	syncs = 16
)

// pending is a file that is written, and not yet in its place.
type pending struct {
	file   int
	meta   tree.Meta
	target *target
	below  string
	staged string
	out    *os.File
}

// batch puts files in their places, many at once, since each time the disk has to be
// waited for: contents first, then names, then the journal.
type batch struct {
	f       *Filling
	journal *os.File
	in      chan pending
	ended   chan struct{}

	mu   sync.Mutex
	done map[int]bool
	// expected are the done and those on their way.
	expected map[int]bool
	err      error
}

func newBatch(f *Filling, journal *os.File, done map[int]bool) *batch {
	b := &batch{f: f, journal: journal, in: make(chan pending, batchSize), ended: make(chan struct{}), done: done, expected: map[int]bool{}}
	for i := range done {
		b.expected[i] = true
	}
	go b.run()
	return b
}

func (b *batch) add(ctx context.Context, p pending) error {
	select {
	case b.in <- p:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.expected[p.file] = true
		return nil
	case <-ctx.Done():
		p.discard()
		return context.Cause(ctx)
	}
}

// failed is why nothing can be put in its place any more.
func (b *batch) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// complete is how many files are there, or will be when the batch is closed.
func (b *batch) complete() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.expected)
}

// close puts the rest in its place. Nothing is added any more.
func (b *batch) close() error {
	close(b.in)
	<-b.ended
	return errors.Join(b.failed(), b.journal.Close())
}

func (b *batch) run() {
	defer close(b.ended)
	for first := range b.in {
		all := []pending{first}
		wait := time.NewTimer(batchWithin)
	gather:
		for len(all) < batchSize {
			select {
			case p, more := <-b.in:
				if !more {
					break gather
				}
				all = append(all, p)
			case <-wait.C:
				break gather
			}
		}
		wait.Stop()
		err := b.failed()
		if err == nil {
			err = b.commit(all)
		}
		b.mu.Lock()
		if b.err = err; err == nil {
			for _, p := range all {
				b.done[p.file] = true
			}
		}
		b.mu.Unlock()
		for _, p := range all {
			p.discard()
		}
	}
}

// discard lets a file go; where it was put in its place, nothing of it is beside any more.
func (p pending) discard() {
	_ = p.out.Close()
	_ = unix.Unlinkat(p.target.stage, p.staged, 0)
}

func (b *batch) commit(all []pending) error {
	var group errgroup.Group
	group.SetLimit(syncs)
	for _, p := range all {
		group.Go(func() error {
			if err := p.out.Sync(); err != nil {
				return fmt.Errorf("write %s to the disk: %w", p.meta.Path, full(err))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	folders := map[string]int{}
	defer func() {
		for _, fd := range folders {
			_ = unix.Close(fd)
		}
	}()
	lines := make([]string, len(all))
	for i, p := range all {
		if err := p.name(folders); err != nil {
			return fmt.Errorf("put %s in its place: %w", p.meta.Path, full(err))
		}
		lines[i] = strconv.Itoa(p.file)
	}
	for _, fd := range folders {
		if err := unix.Fsync(fd); err != nil {
			return fmt.Errorf("write a directory to the disk: %w", full(err))
		}
	}
	return writeJournal(b.journal, lines...)
}

// name moves a file to its place, in a folder that is kept open for the others.
func (p pending) name(folders map[string]int) error {
	dir, name := "", p.below
	if i := strings.LastIndex(p.below, "/"); i >= 0 {
		dir, name = p.below[:i], p.below[i+1:]
	}
	fd, open := folders[p.target.prefix+dir]
	if !open {
		var err error
		if fd, err = makeBelow(p.target.fd, dir, p.meta.UID, p.meta.GID); err != nil {
			return err
		}
		folders[p.target.prefix+dir] = fd
	}
	return unix.Renameat(p.target.stage, p.staged, fd, name)
}
