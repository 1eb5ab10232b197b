package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Progress of a check.
type Progress struct {
	// Objects that were looked at, trees and packs, and how many there are.
	Objects, Total int
	// Bytes that were read of packs, of TotalBytes.
	Bytes, TotalBytes int64
}

// Damage is an object that is not as it was written.
type Damage struct {
	// Key of the object, Reason what is wrong with it.
	Key, Reason string
	// Trees that cannot be restored because of it, and Files some of their files as
	// TREE: PATH.
	Trees []string
	Files []string
}

// maxFilesNamed are named of each damage.
const maxFilesNamed = 10

// Report of a check.
type Report struct {
	Trees, Packs, Chunks int
	// Bytes of the packs that trees name.
	Bytes int64
	// Unused packs that no tree names, and their bytes: what is being written, and what
	// waits to be collected.
	Unused      int
	UnusedBytes int64
	// Read says that all data was read.
	Read    bool
	Damaged []Damage
}

// Check reads all trees and compares what they name with what is there; with readData it
// reads and compares every chunk as well. What is damaged is told in the report; an error
// is of a check that could not be made.
func (r *Repository) Check(ctx context.Context, readData bool, progress func(Progress)) (Report, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	c := &check{repo: r, tell: progress, named: map[string]int64{}, numbers: map[string]uint32{}, refs: newIndex(), bad: map[string]error{}, badChunks: map[tree.ID]error{}, badTrees: map[string]error{}}
	c.report.Read = readData
	err := c.run(ctx)
	return c.report, err
}

type check struct {
	repo   *Repository
	tell   func(Progress)
	report Report
	packs  map[string]Object

	lock     sync.Mutex // of what follows
	progress Progress
	named    map[string]int64 // packs that trees name, and their sizes
	numbers  map[string]uint32
	// refs are the chunks that trees name, under refID.
	refs *index
	seen []bool // by number in refs: a trailer tells the same
	// bad are packs, badChunks chunks by refID, badTrees trees.
	bad       map[string]error
	badChunks map[tree.ID]error
	badTrees  map[string]error
}

// refID is a chunk's at a place: one ID may lie in two packs.
func refID(id tree.ID, pack uint32, offset int64) tree.ID {
	binary.BigEndian.PutUint64(id[:], binary.BigEndian.Uint64(id[:])^(uint64(pack)<<32|uint64(offset))) //nolint:gosec // bounded
	return id
}

func (c *check) run(ctx context.Context) (err error) {
	r := c.repo
	if c.packs, err = r.packs(ctx); err != nil {
		return err
	}
	trees, err := r.Trees(ctx)
	if err != nil {
		return err
	}
	c.report.Trees, c.progress.Total = len(trees), len(trees)
	err = r.inParallel(ctx, len(trees), func(ctx context.Context, i int) error { return c.readTree(ctx, trees[i].Name) })
	if err != nil {
		return err
	}
	c.count()
	names := slices.Sorted(maps.Keys(c.named))
	err = r.inParallel(ctx, len(names), func(ctx context.Context, i int) error { return c.readPack(ctx, names[i]) })
	if err != nil {
		return err
	}
	for i, seen := range c.seen {
		if ref := c.refs.at(uint32(i)); !seen { //nolint:gosec // bounded by the memory
			c.badChunks[ref.id] = errors.New("the pack's trailer does not tell of it")
		}
	}
	return c.judge(ctx, trees)
}

func (c *check) count() {
	c.report.Chunks, c.seen = c.refs.n, make([]bool, c.refs.n)
	for _, size := range c.named {
		c.report.Packs++
		c.report.Bytes += size
	}
	for name, o := range c.packs {
		if _, ok := c.named[name]; !ok {
			c.report.Unused++
			c.report.UnusedBytes += o.Size
		}
	}
	c.progress.Total += len(c.named)
	if c.report.Read {
		c.progress.TotalBytes = c.report.Bytes
	}
	c.tell(c.progress)
}

func (c *check) step(bytes int64) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.progress.Objects++
	c.progress.Bytes += bytes
	c.tell(c.progress)
}

// readTree notes what a tree names.
func (c *check) readTree(ctx context.Context, name string) error {
	defer c.step(0)
	h, err := c.repo.head(ctx, name)
	if err == nil {
		c.lock.Lock()
		for _, p := range h.Packs {
			c.named[p.Name] = p.Size
			if _, ok := c.numbers[p.Name]; !ok {
				c.numbers[p.Name] = uint32(len(c.numbers)) //nolint:gosec // bounded
			}
		}
		c.lock.Unlock()
		for _, l := range h.Lists {
			c.ref(l.chunk())
		}
		err = c.repo.entries(ctx, h, &listReader{file: func(tree.Meta) error { return nil }, chunk: func(t tree.Chunk) error {
			c.ref(t)
			return nil
		}})
	}
	var bad *Damaged
	switch {
	case errors.As(err, &bad):
		c.lock.Lock()
		defer c.lock.Unlock()
		c.badTrees[name] = err
		return nil
	case errors.Is(err, ErrNotFound):
		return nil // deleted meanwhile
	}
	return err
}

func (c *check) ref(t tree.Chunk) {
	c.lock.Lock()
	defer c.lock.Unlock()
	no := c.numbers[t.Pack]
	c.refs.add(place{id: refID(t.ID, no, t.Offset), pack: no, offset: uint32(t.Offset), stored: uint32(t.Stored), length: uint32(t.Length)}) //nolint:gosec // checked
}

// readPack compares a pack with what trees say of it.
func (c *check) readPack(ctx context.Context, name string) error {
	size := c.named[name]
	read := int64(0)
	if c.report.Read {
		read = size
	}
	defer c.step(read)
	err := c.comparePack(ctx, name, size)
	var bad *Damaged
	if errors.As(err, &bad) {
		c.lock.Lock()
		defer c.lock.Unlock()
		c.bad[name] = bad.Err
		return nil
	}
	return err
}

func (c *check) comparePack(ctx context.Context, name string, size int64) error {
	r := c.repo
	o, ok := c.packs[name]
	if !ok {
		return r.damaged(packsIn, name, ErrNotFound)
	}
	if o.Size != size {
		return r.damaged(packsIn, name, fmt.Errorf("it has %d bytes, and had %d", o.Size, size))
	}
	if !c.report.Read {
		in, err := r.trailer(ctx, name, size)
		if err != nil {
			return err
		}
		c.confirm(name, in)
		return nil
	}
	weight := min(2*size, r.options.Budget)
	if err := r.ahead.Acquire(ctx, weight); err != nil {
		return err
	}
	defer r.ahead.Release(weight)
	data, err := r.get(ctx, r.at(packsIn, name), 0, size)
	if err != nil {
		return r.notRead(name, err)
	}
	in, err := r.inPack(name, data, size)
	if err != nil {
		return err
	}
	c.confirm(name, in)
	for _, h := range in {
		packed, err := r.unseal(data[h.offset : h.offset+h.stored])
		if err == nil {
			_, err = r.plain(transfer.Frame{Piece: h.Piece, Data: packed})
		}
		if err != nil {
			c.lock.Lock()
			c.badChunks[refID(h.ID, c.numbers[name], h.offset)] = err
			c.lock.Unlock()
		}
	}
	return nil
}

// confirm notes the chunks that a trailer tells of just as trees do.
func (c *check) confirm(name string, in []held) {
	c.lock.Lock()
	defer c.lock.Unlock()
	no := c.numbers[name]
	for _, h := range in {
		if n, ok := c.refs.find(refID(h.ID, no, h.offset)); ok {
			ref := c.refs.at(n)
			c.seen[n] = int64(ref.stored) == h.stored && int64(ref.length) == h.Length
		}
	}
}
