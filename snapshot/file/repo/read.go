package repo

import (
	"context"
	"fmt"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

const (
	// maxRun is how many bytes of a pack are read at once, if no chunk has more.
	maxRun = 4 << 20
	// maxGap is what is read between two chunks rather than asking twice.
	maxGap = 64 << 10
)

// run is what is read at once: chunks that lie one after the other in a pack.
type run struct {
	chunks       []tree.Chunk
	pack         string
	offset, size int64
}

// runs puts chunks together, in their order, that can be read at once.
func runs(chunks []tree.Chunk) []run {
	var all []run
	for i, c := range chunks {
		if n := len(all); n > 0 {
			last := &all[n-1]
			gap, size := c.Offset-last.offset-last.size, c.Offset+c.Stored-last.offset
			if c.Pack == last.pack && gap >= 0 && gap <= maxGap && size <= maxRun {
				last.size = size
				last.chunks = last.chunks[:len(last.chunks)+1]
				continue
			}
		}
		all = append(all, run{chunks: chunks[i : i+1], pack: c.Pack, offset: c.Offset, size: c.Stored})
	}
	return all
}

func checkChunk(c tree.Chunk) error {
	if !packForm.MatchString(c.Pack) || c.Length < 1 || c.Length > maxChunk || c.Stored < 1 || c.Stored > maxPack || c.Offset < 0 || c.Offset > maxPack {
		return fmt.Errorf("chunk %s: pack %.80q, %d bytes from %d on, is no place of a chunk of %d bytes", c.ID, c.Pack, c.Stored, c.Offset, c.Length)
	}
	return nil
}

// fetched is what became of a run.
type fetched struct {
	frames []transfer.Frame
	err    error
}

// Read gives chunks in their order, unsealed and still compressed. It reads ahead.
func (r *Repository) Read(ctx context.Context, chunks []tree.Chunk, yield func(transfer.Frame) error) error {
	for _, c := range chunks {
		if err := checkChunk(c); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Each run takes its share of the budget in the order in which they are given, so
	// the next one that is waited for always has it.
	type going struct {
		weight int64
		answer chan fetched
	}
	ahead := make(chan going, r.options.Parallel-1)
	failed := make(chan error, 1)
	go func() {
		defer close(ahead)
		for _, one := range runs(chunks) {
			// What is read, and what is unsealed of it.
			g := going{min(2*one.size, r.options.Budget), make(chan fetched, 1)}
			if err := r.ahead.Acquire(ctx, g.weight); err != nil {
				failed <- err
				return
			}
			go func() {
				frames, err := r.fetch(ctx, one)
				g.answer <- fetched{frames, err}
			}()
			select {
			case ahead <- g:
			case <-ctx.Done():
				<-g.answer
				r.ahead.Release(g.weight)
				failed <- ctx.Err()
				return
			}
		}
	}()
	var err error
	for g := range ahead { // to the end, since each holds a share
		got := <-g.answer
		if err == nil {
			err = got.err
		}
		for i := 0; err == nil && i < len(got.frames); i++ {
			err = yield(got.frames[i])
			got.frames[i] = transfer.Frame{}
		}
		r.ahead.Release(g.weight)
		if err != nil {
			cancel()
		}
	}
	if err == nil {
		select {
		case err = <-failed:
		default:
		}
	}
	return err
}

// fetch reads one run and unseals its chunks.
func (r *Repository) fetch(ctx context.Context, one run) ([]transfer.Frame, error) {
	data, err := r.get(ctx, r.at(packsIn, one.pack), one.offset, one.size)
	if err != nil {
		return nil, r.notRead(one.pack, err)
	}
	frames := make([]transfer.Frame, 0, len(one.chunks))
	for _, c := range one.chunks {
		from := c.Offset - one.offset
		if from+c.Stored > int64(len(data)) {
			return nil, r.damaged(packsIn, one.pack, fmt.Errorf("it ends before byte %d, where chunk %s ends", c.Offset+c.Stored, c.ID))
		}
		var room *transfer.Room
		var space []byte
		if c.Stored >= maxRun/8 { // of smaller ones there may be many in a run
			room = transfer.NewRoom()
			space = room.Space(0)
		}
		packed, err := r.unsealTo(space, data[from:from+c.Stored])
		if err != nil {
			return nil, r.damaged(packsIn, one.pack, fmt.Errorf("chunk %s, %d bytes from %d on: %w", c.ID, c.Stored, c.Offset, err))
		}
		frames = append(frames, transfer.Frame{Piece: c.Piece, Data: packed, Room: room})
	}
	return frames, nil
}

// plain unpacks a chunk and compares it with its ID.
func (r *Repository) plain(f transfer.Frame) ([]byte, error) {
	text, err := unpacker.DecodeAll(f.Data, make([]byte, 0, f.Length))
	if err != nil {
		return nil, fmt.Errorf("chunk %s: unpack: %w", f.ID, err)
	}
	if int64(len(text)) != f.Length || !r.key.hash.IDOf(text).Is(f.ID) {
		return nil, fmt.Errorf("chunk %s: it is another chunk", f.ID)
	}
	return text, nil
}
