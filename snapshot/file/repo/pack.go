package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// A pack is chunks, each sealed by itself; then a trailer, signed, that tells of them;
// then the trailer's length in 4 bytes, and packMark.
const (
	packMark = "chtpack1"
	footer   = 4 + len(packMark)

	// maxChunk is how long a chunk is at most, in plain bytes, and as it comes compressed.
	maxChunk = 16 << 20
	// maxPack is how large a pack is at most, in bytes.
	maxPack = 64 << 20
	// maxInPack is how many chunks are in one at most.
	maxInPack = 1 << 18
	// maxTrailer bounds a trailer, in bytes.
	maxTrailer = 32 << 20
	// trailerGuess is read of a pack's end at first.
	trailerGuess = 32 << 10
)

// held is a chunk in a pack.
type held struct {
	tree.Piece
	offset, stored int64
}

// packing is a pack that is being filled.
type packing struct {
	name string
	data []byte
	in   []held
	// weight is what it has of the session's budget.
	weight int64
	// filling are the chunks that have their place in it, and are still being sealed into
	// it; broken is why one of them is not there.
	filling sync.WaitGroup
	broken  error
	// done is closed when it is stored, or will never be.
	done chan struct{}
}

// add gives a chunk its place, and the room there that it is sealed into.
func (p *packing) add(piece tree.Piece, stored int) (offset int64, room []byte) {
	from := len(p.data)
	p.data = p.data[:from+stored]
	p.in = append(p.in, held{piece, int64(from), int64(stored)})
	return int64(from), p.data[from:]
}

// trailerBytes is more than the trailer will have.
func (p *packing) trailerBytes() int64 { return int64(len(p.in))*44 + 2*sealOverhead }

// finish appends what tells of the chunks.
func (p *packing) finish(r *Repository) error {
	text := binary.AppendUvarint(nil, uint64(len(p.in)))
	for _, h := range p.in {
		text = append(text, h.ID[:]...)
		text = binary.AppendUvarint(text, uint64(h.Length)) //nolint:gosec // checked when it was put
		text = binary.AppendUvarint(text, uint64(h.stored)) //nolint:gosec // a length
	}
	trailer, err := r.sign(r.at(packsIn, p.name), text)
	if err != nil {
		return err
	}
	p.data = append(p.data, trailer...)
	p.data = binary.BigEndian.AppendUint32(p.data, uint32(len(trailer))) //nolint:gosec // far below
	p.data = append(p.data, packMark...)
	return nil
}

// trailer reads what is in a pack of that size. A *Damaged if it is not as it was written.
func (r *Repository) trailer(ctx context.Context, name string, size int64) ([]held, error) {
	end, err := r.end(ctx, name, size, min(size, trailerGuess))
	if err != nil {
		return nil, err
	}
	if length, ok := trailerLength(end, size); ok && length+int64(footer) > int64(len(end)) {
		if end, err = r.end(ctx, name, size, length+int64(footer)); err != nil {
			return nil, err
		}
	}
	return r.inPack(name, end, size)
}

// end gives the last n bytes of a pack.
func (r *Repository) end(ctx context.Context, name string, size, n int64) ([]byte, error) {
	if size <= int64(footer) || size > maxPack {
		return nil, r.damaged(packsIn, name, fmt.Errorf("it has %d bytes, as no pack has", size))
	}
	end, err := r.get(ctx, r.at(packsIn, name), size-n, n)
	if err != nil {
		return nil, r.notRead(name, err)
	}
	if int64(len(end)) != n {
		return nil, r.damaged(packsIn, name, fmt.Errorf("it is shorter than the %d bytes it had", size))
	}
	return end, nil
}

// notRead tells of a pack that could not be read: one that is not there is damaged.
func (r *Repository) notRead(name string, err error) error {
	if errors.Is(err, ErrNotFound) {
		return r.damaged(packsIn, name, err)
	}
	return fmt.Errorf("object %s: %w", r.at(packsIn, name), err)
}

// inPack reads what is in a pack off its end, or off all of it.
func (r *Repository) inPack(name string, end []byte, size int64) ([]held, error) {
	length, ok := trailerLength(end, size)
	if !ok || length+int64(footer) > int64(len(end)) {
		return nil, r.damaged(packsIn, name, errors.New("it does not end as a pack does"))
	}
	from := int64(len(end)) - int64(footer) - length
	in, err := r.parseTrailer(r.at(packsIn, name), end[from:from+length], size-int64(footer)-length)
	if err != nil {
		return nil, r.damaged(packsIn, name, fmt.Errorf("its trailer: %w", err))
	}
	return in, nil
}

// trailerLength reads it off a pack's end.
func trailerLength(end []byte, size int64) (int64, bool) {
	if len(end) < footer || string(end[len(end)-len(packMark):]) != packMark {
		return 0, false
	}
	length := int64(binary.BigEndian.Uint32(end[len(end)-footer:]))
	return length, length > 0 && length <= min(size-int64(footer), maxTrailer)
}

// parseTrailer gives the chunks, which fill what is before it.
func (r *Repository) parseTrailer(key string, sealed []byte, before int64) ([]held, error) {
	text, err := r.verify(key, sealed)
	if err != nil {
		return nil, err
	}
	d := decoding{left: text}
	n := d.number(maxInPack)
	if n > uint64(len(text)) {
		return nil, errors.New("it tells of more chunks than it has room for")
	}
	in := make([]held, 0, n)
	at := int64(0)
	for range n {
		h := held{offset: at}
		copy(h.ID[:], d.bytes(len(h.ID)))
		h.Length, h.stored = int64(d.number(maxChunk)), int64(d.number(maxPack)) //nolint:gosec // bounded
		if d.failed || h.Length < 1 || h.stored < 1 {
			return nil, errors.New("it cannot be read")
		}
		at += h.stored
		in = append(in, h)
	}
	if d.failed || len(d.left) > 0 || at != before {
		return nil, errors.New("it does not tell of the bytes before it")
	}
	return in, nil
}

// packs lists all packs by name.
func (r *Repository) packs(ctx context.Context) (map[string]Object, error) {
	prefix := r.at(packsIn, "")
	all := map[string]Object{}
	err := r.list(ctx, prefix, func(o Object) error {
		if name := strings.TrimPrefix(o.Key, prefix); packForm.MatchString(name) {
			all[name] = o
		}
		return nil
	}, func() { clear(all) })
	if err != nil {
		return nil, fmt.Errorf("list the packs: %w", err)
	}
	return all, nil
}
