//go:build linux

package node

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

func grown(t *testing.T) (volume, []byte, []tree.Piece) {
	t.Helper()
	v := newVolume(t)
	b := make([]byte, 3*ChunkSize+1000)
	rand.NewChaCha8([32]byte{4}).Read(b) //nolint:errcheck // never fails
	v.write(medic, string(b))
	_, s := measure(t, v.prepared())
	var pieces []tree.Piece
	must(t, s.Read(t.Context(), 0, 0, func(f transfer.Frame) error { pieces = append(pieces, f.Piece); return nil }))
	if len(pieces) != 4 || pieces[0].Length != ChunkSize || pieces[3].Length != 1000 {
		t.Fatalf("pieces: %+v", pieces)
	}
	return v, b, pieces
}

// An increment: the known beginning matches, and only what follows is read.
func TestMatchAndReadTheRest(t *testing.T) {
	v, b, pieces := grown(t)
	more := bytes.Repeat([]byte("more "), 300000)
	v.append(medic, string(more))
	_, s := measure(t, v.prepared())
	n, err := s.Match(t.Context(), 0, pieces)
	if err != nil || n != 4 {
		t.Fatalf("%d match, %v", n, err)
	}
	var lengths []int64
	var sum int64
	must(t, s.Read(t.Context(), 0, int64(len(b)), func(f transfer.Frame) error {
		lengths = append(lengths, f.Length)
		sum += f.Length
		return nil
	}))
	if sum != int64(len(more)) || lengths[0] != ChunkSize-1000 || lengths[1] != int64(len(more))-lengths[0] {
		t.Errorf("lengths %v", lengths)
	}
}

func TestMatchStops(t *testing.T) {
	v, _, pieces := grown(t)
	other := []byte("no prefix of it")
	_, s := measure(t, v.prepared())
	for name, c := range map[string]struct {
		known []tree.Piece
		want  int
	}{
		"a changed chunk": {[]tree.Piece{pieces[0], {ID: testKey.IDOf(other), Length: ChunkSize}, pieces[2]}, 1},
		"out of order":    {[]tree.Piece{pieces[1], pieces[0]}, 0},
		"too long":        {append(bytesOf(pieces), tree.Piece{ID: pieces[0].ID, Length: ChunkSize}), 4},
		"absurd lengths":  {[]tree.Piece{{ID: pieces[0].ID, Length: 1 << 60}}, 0},
		"below 0":         {[]tree.Piece{{ID: pieces[0].ID, Length: -ChunkSize}}, 0},
		"nothing":         {nil, 0},
	} {
		if n, err := s.Match(t.Context(), 0, c.known); err != nil || n != c.want {
			t.Errorf("%s: %d match, %v", name, n, err)
		}
	}
	must(t, os.Truncate(v.path(medic), ChunkSize))
	if _, err := s.Match(t.Context(), 0, pieces); !errors.Is(err, transfer.ErrShort) {
		t.Errorf("cut short: %v", err)
	}
}

func bytesOf(p []tree.Piece) []tree.Piece { return append([]tree.Piece(nil), p...) }

func TestReadEnds(t *testing.T) {
	v, _, _ := grown(t)
	n := v.prepared()
	m, s := measure(t, n)
	enough := errors.New("enough")
	if err := s.Read(t.Context(), 0, 0, func(transfer.Frame) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("err: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Read(ctx, 0, 0, func(transfer.Frame) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("err: %v", err)
	}
	for _, at := range []int64{-1, 1 << 40} {
		if err := s.Read(t.Context(), 0, at, nil); err == nil {
			t.Errorf("read from %d", at)
		}
	}
	if err := s.Read(t.Context(), 1, 0, nil); err == nil {
		t.Error("read a file that is not there")
	}
	if _, err := n.Source("another", testKey); !errors.Is(err, ErrNotMeasured) {
		t.Errorf("another cut: %v", err)
	}
	if st := n.State(); st.Measured == nil || st.Measured.Cut != m.Cut {
		t.Errorf("state %+v", st)
	}
	must(t, s.Close(t.Context()))
	if err := s.Read(t.Context(), 0, 0, nil); err == nil {
		t.Error("read after Close")
	}
	if _, err := n.Measure(t.Context()); err == nil {
		t.Error("measured after Close")
	}
}

// A cut takes the place of the one before it; whoever read that is told.
func TestMeasureAgain(t *testing.T) {
	v := newVolume(t, medic)
	n := v.prepared()
	first, old := measure(t, n)
	v.append(medic, " more")
	second, s := measure(t, n)
	if first.Cut == second.Cut {
		t.Error("two cuts have one name")
	}
	want(t, copied(t, s), medic, "content of "+medic+" more")
	if _, err := readFile(t, old, 0); !errors.Is(err, ErrLetGo) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := n.Source(first.Cut, testKey); !errors.Is(err, ErrNotMeasured) {
		t.Errorf("the old one's name: %v", err)
	}
}

// Held nodes do not wait: Measure gives up at its deadline, and can be called again.
func TestMeasureGivesUp(t *testing.T) {
	v := newVolume(t, medic, medicView, docker)
	n := v.prepared()
	for _, at := range []kind{view, shard, members, config} {
		ctx, cancel := context.WithCancelCause(t.Context())
		late := errors.New("late")
		n.between = func(k kind) {
			if k == at {
				cancel(late)
			}
		}
		if _, err := n.Measure(ctx); !errors.Is(err, late) {
			t.Errorf("ended at %d: %v", at, err)
		}
		cancel(nil)
		if st := n.State(); st.Measured != nil {
			t.Error("it says that it has measured")
		}
	}
	n.between = func(kind) {
		if _, err := n.Measure(t.Context()); err == nil {
			t.Error("measured twice at once")
		}
	}
	_, s := measure(t, n)
	if got := copied(t, s); len(got) != 3 {
		t.Errorf("copied %v", keys(got))
	}
}

// What only we hold is let go before it fills the volume.
func TestRelief(t *testing.T) {
	v := newVolume(t, medic, dbs)
	n := v.prepared()
	_, s := measure(t, n)
	if _, unread := n.cut.removed(); unread != 0 {
		t.Errorf("%d bytes are removed", unread)
	}
	must(t, os.Remove(v.path(medic)))
	if read, unread := n.cut.removed(); read != 0 || unread < 4096 {
		t.Errorf("%d and %d bytes are removed", read, unread)
	}
	copied(t, s)
	if read, unread := n.cut.removed(); read < 4096 || unread != 0 {
		t.Errorf("%d and %d bytes are removed", read, unread)
	}
	before := openFiles(t)
	n.mu.Lock()
	n.failed = "full"
	n.cut.release()
	n.forgetAll()
	n.mu.Unlock()
	if now := openFiles(t); now != before-2 {
		t.Errorf("%d files are open, %d were, and 2 were let go", now, before)
	}
	if _, err := readFile(t, s, 0); !errors.Is(err, ErrLetGo) || !strings.Contains(err.Error(), "full") {
		t.Errorf("err: %v", err)
	}
	if st := n.State(); st.Failed != "full" {
		t.Errorf("state %+v", st)
	}
	_, s = measure(t, n)
	want(t, copied(t, s), dbs, "content of "+dbs)
}

// Frames are zstd's, whether something was saved or not.
func TestFrames(t *testing.T) {
	random := make([]byte, ChunkSize)
	rand.NewChaCha8([32]byte{5}).Read(random) //nolint:errcheck // never fails
	for _, plain := range [][]byte{{}, []byte("x"), random[:128<<10], random[:128<<10+1], random, bytes.Repeat([]byte("abc"), 100000)} {
		for _, c := range []Compression{CompressionOn, CompressionOff} {
			f := c.Frame(plain, nil)
			got, err := decoder.DecodeAll(f, nil)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%v of %d bytes: %d, %v", c, len(plain), len(got), err)
			}
			if len(f) > len(plain)+len(plain)/1000+64 {
				t.Errorf("%v of %d bytes: a frame of %d", c, len(plain), len(f))
			}
		}
	}
}
