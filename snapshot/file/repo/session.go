package repo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Session is one writing to a repository. All methods may be called at once.
type Session struct {
	repo   *Repository
	id     string
	writer string
	begun  time.Time
	nodes  map[string]bool
	// life ends with Close: of what is uploaded, which outlives the Put that began it.
	life context.Context //nolint:containedctx // see above
	end  context.CancelFunc
	// budget bounds the packs in memory, uploads how many are sent at once.
	budget, uploads *semaphore.Weighted
	running         sync.WaitGroup
	sent            atomic.Int64
	warnings        []error

	// renewing is held by one at a time, also while it waits for the store: of intent.
	renewing *semaphore.Weighted
	intent   *intent

	lock   sync.Mutex // of what follows
	packs  []packState
	packNo map[string]uint32
	index  *index
	// known are the files of the bases, as numbers in the index.
	known map[fileOf][]uint32
	open  *packing
	// pending are the packs that are not stored yet, but for the open one.
	pending map[string]*packing
	// failed is why this session will commit nothing more.
	failed error
	// asking are puts that are not answered yet, and unsure is set when one was given up
	// without an answer: it may be there later, and what it needs is not unused until then.
	asking int
	unsure bool
	closed bool
}

type fileOf struct{ node, path string }

// packState is a pack that chunks of this session lie in.
type packState struct {
	name string
	// size in bytes, 0 until it is stored.
	size int64
}

var _ transfer.Writer = (*Session)(nil)

// ErrClosed is the answer of a session that has ended.
var ErrClosed = errors.New("this session has ended")

// Begin begins to write: writer is the UID of the Backup, nodes are those whose trees
// will be committed, and bases the names of earlier trees whose chunks are used again. A
// base that is gone or damaged is left out and told by Warnings. Close must be called.
func (r *Repository) Begin(ctx context.Context, writer string, nodes, bases []string) (*Session, error) {
	s := &Session{
		repo: r, id: random(8), writer: writer, begun: r.options.Now().UTC().Truncate(time.Microsecond), nodes: map[string]bool{},
		budget: semaphore.NewWeighted(r.options.Budget), uploads: semaphore.NewWeighted(int64(r.options.Parallel)), renewing: semaphore.NewWeighted(1),
		packNo: map[string]uint32{}, index: newIndex(), known: map[fileOf][]uint32{}, pending: map[string]*packing{},
	}
	for _, node := range nodes {
		if _, err := treeName(s.begun, writer, node); err != nil {
			return nil, err
		}
		s.nodes[node] = true
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.intent = &intent{repo: r, session: s.id}
	// First of all: whoever collects from now on waits for this session, or has put before
	// what is read next.
	if err := s.intent.renew(ctx); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	if err := s.learn(ctx, bases); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	s.running.Go(s.keepOn)
	return s, nil
}

// keepOn says from time to time that the session goes on.
func (s *Session) keepOn() {
	wait := renewEvery
	for {
		select {
		case <-s.life.Done():
			return
		case <-time.After(wait):
		}
		wait = renewEvery
		if s.renew(s.life) != nil { // Commit looks at how long ago it succeeded
			wait = renewAgain
		}
	}
}

func (s *Session) renew(ctx context.Context) error {
	if err := s.renewing.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.renewing.Release(1)
	return s.intent.renew(ctx)
}

// Warnings tells what could not be used again, and why.
func (s *Session) Warnings() []error { return s.warnings }

// HashKey implements transfer.Writer, as do the following.
func (s *Session) HashKey() tree.HashKey { return s.repo.HashKey() }

// Sent is how many bytes were written.
func (s *Session) Sent() int64 { return s.sent.Load() }

// Known gives the chunks of a file as the base of that node has it, up to the first that
// is not to be used again.
func (s *Session) Known(node, path string) []tree.Chunk {
	s.lock.Lock()
	defer s.lock.Unlock()
	numbers := s.known[fileOf{node, path}]
	if len(numbers) == 0 {
		return nil
	}
	chunks := make([]tree.Chunk, len(numbers))
	for i, n := range numbers {
		chunks[i] = s.chunk(n)
	}
	return chunks
}

// Find gives a chunk that is there, or on its way in this session.
func (s *Session) Find(id tree.ID) (tree.Chunk, bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	n, ok := s.index.find(id)
	if !ok {
		return tree.Chunk{}, false
	}
	return s.chunk(n), true
}

// chunk of a number in the index.
func (s *Session) chunk(n uint32) tree.Chunk {
	p := s.index.at(n)
	return tree.Chunk{Piece: tree.Piece{ID: p.id, Length: int64(p.length)}, Pack: s.packs[p.pack].name, Offset: int64(p.offset), Stored: int64(p.stored)}
}

// pack gives the number of a pack.
func (s *Session) pack(name string, size int64) uint32 {
	no, ok := s.packNo[name]
	if !ok {
		no = uint32(len(s.packs)) //nolint:gosec // bounded by the store's listing
		s.packNo[name] = no
		s.packs = append(s.packs, packState{name: name, size: size})
	}
	return no
}

// note puts a chunk that lies in a pack into the index, and gives its number there.
func (s *Session) note(c tree.Chunk, size int64) uint32 {
	return s.index.add(place{id: c.ID, pack: s.pack(c.Pack, size), offset: uint32(c.Offset), stored: uint32(c.Stored), length: uint32(c.Length)}) //nolint:gosec // checked
}

// fail lets the session commit nothing more.
func (s *Session) fail(err error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.failed == nil {
		s.failed = err
	}
}

// Close ends the session. It must be called, whatever became of it. What was put and not
// committed is stored, if that goes without trouble, so that it is found again.
func (s *Session) Close(ctx context.Context) error {
	s.lock.Lock()
	if s.closed {
		s.lock.Unlock()
		return nil
	}
	s.closed = true
	asking := s.asking // trees alone: the packs are waited for
	s.lock.Unlock()
	if ctx.Err() == nil {
		_ = s.flush(ctx)
	}
	s.end()
	s.running.Wait()
	if s.failed == nil {
		s.failed = ErrClosed
	}
	// Even where the caller was told to stop: else what is deleted waits for this session
	// for days.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	over := s.intent.drop
	if s.unsure || asking > 0 {
		over = s.intent.settle
	}
	if err := over(ctx); err != nil {
		return fmt.Errorf("end the session: %w", err)
	}
	return nil
}

// put writes an object of this session; first, if given, is asked before each attempt. It
// also tells whether each was answered.
func (s *Session) put(ctx context.Context, key string, data []byte, first func(context.Context) error) (answered bool, err error) {
	answered, err = s.repo.putAnswered(ctx, key, data, first)
	if !answered {
		s.lock.Lock()
		s.unsure = true
		s.lock.Unlock()
	}
	return answered, err
}

// closeWithin bounds the end of a session.
const closeWithin = 30 * time.Second
