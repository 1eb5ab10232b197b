//go:build linux

package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

func TestCopier(t *testing.T) {
	p, dir, big := startCopier(t, time.Minute)
	c := p.copier()
	if s, err := c.State(t.Context()); err != nil || s.Measured != nil {
		t.Errorf("state %+v, %v", s, err)
	}
	if _, err := c.Measure(t.Context()); err == nil {
		t.Error("measured without a deadline")
	}
	m, s := measured(t, c)
	if m.Files != 4 || m.Size != int64(len(big))+16 || m.At.IsZero() {
		t.Errorf("measured %+v", m)
	}
	// Written over and removed: what was measured comes all the same.
	must(t, os.Remove(filepath.Join(dir, medic)))
	got, err := readAll(t, s, medic, nil)
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("%d bytes of %d, %v", len(got), len(big), err)
	}
	var pieces []tree.Piece
	i := number(t, s, medic)
	must(t, s.Read(t.Context(), i, 0, func(f transfer.Frame) error { pieces = append(pieces, f.Piece); return nil }))
	pieces[4].ID[0]++
	if n, err := s.Match(t.Context(), i, pieces); n != 4 || err != nil {
		t.Errorf("%d match, %v", n, err)
	}
	enough := errors.New("enough")
	wantErr(t, s.Read(t.Context(), i, 0, func(transfer.Frame) error { return enough }), enough)
	ctx, cancel := context.WithCancel(t.Context())
	wantErr(t, s.Read(ctx, i, 0, func(transfer.Frame) error { cancel(); return nil }), context.Canceled)
	must(t, s.Close(t.Context()))
	if err := p.end(); err != nil {
		t.Errorf("the copier ended with %v", err)
	}
	if _, err := c.State(ctx); err == nil {
		t.Error("a copier that has ended answers")
	}
}

// Errors that somebody has to know arrive as what they are.
func TestErrorsCross(t *testing.T) {
	p, dir, _ := startCopier(t, time.Minute)
	c := p.copier()
	_, err := c.Source("another", testKey).Files(t.Context())
	wantErr(t, err, node.ErrNotMeasured)
	_, s := measured(t, c)
	number := number(t, s, medic)
	must(t, os.Truncate(filepath.Join(dir, medic), 3*node.ChunkSize))
	n := 0
	err = s.Read(t.Context(), number, 0, func(transfer.Frame) error { n++; return nil })
	wantErr(t, err, transfer.ErrShort)
	if n != 3 || !strings.Contains(err.Error(), "couchdb-1 (pod a/b)") {
		t.Errorf("%d chunks, then %v", n, err)
	}
	_, err = s.Match(t.Context(), number, []tree.Piece{{Length: 4 * node.ChunkSize}})
	wantErr(t, err, transfer.ErrShort)
	for code, e := range codes {
		var b bytes.Buffer
		must(t, writeEnd(&b, errors.Join(errors.New("x"), e)))
		_, err := readFrame(reader(&b))
		if wantErr(t, err, e); !strings.Contains(err.Error(), "x") {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// After a restart of the controller: what was measured is there, by whoever measured it,
// and the one before is cut off in the middle of what it does.
func TestANewControllerTakesTheOldOnesPlace(t *testing.T) {
	p, _, big := startCopier(t, time.Minute)
	old := p.copier()
	m, s := measured(t, old)
	var c *Copier
	_, err := readAll(t, s, medic, func(n int) {
		if n == 1 {
			c = p.copier()
		}
	})
	wantErr(t, err, ErrLost)
	if _, err := old.State(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("the old one: %v", err)
	}
	state, err := c.State(t.Context())
	if err != nil || state.Measured == nil || state.Measured.Cut != m.Cut || !state.Measured.At.Equal(m.At) {
		t.Errorf("state %+v, %v", state, err)
	}
	got, err := readAll(t, c.Source(m.Cut, testKey), medic, nil)
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("%d bytes of %d, %v", len(got), len(big), err)
	}
}

// Whoever leaves a copier alone does not keep what it holds for ever.
func TestForgotten(t *testing.T) {
	p, _, _ := startCopier(t, 300*time.Millisecond)
	c := p.copier()
	measured(t, c)
	wantErr(t, p.end(), ErrIdle)
}

// slowFiles lets Measure take long, and notes how it ended.
type slowFiles struct {
	Files
	ended chan error
}

func (s slowFiles) Measure(ctx context.Context) (node.Measured, error) {
	<-ctx.Done()
	s.ended <- context.Cause(ctx)
	return node.Measured{}, context.Cause(ctx)
}

func (slowFiles) State() node.State { return node.State{} }
func (slowFiles) Close() error      { return nil }

// Nodes are held still while it is measured: both ends give up in time.
func TestMeasureHasADeadline(t *testing.T) {
	files := slowFiles{ended: make(chan error, 1)}
	p := start(t, func(ctx context.Context, o ServeOptions) error { return ServeCopier(ctx, files, o) }, time.Minute)
	c := p.copier()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Measure(ctx); err == nil {
		t.Error("measured")
	}
	select {
	case err := <-files.ended:
		if err == nil {
			t.Error("it ended by itself")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the pod goes on measuring")
	}
	past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := c.Measure(past); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
}

func TestFiller(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("files get CouchDB's owner: only root can do that")
	}
	from, _, big := startCopier(t, time.Minute)
	c := from.copier()
	_, s := measured(t, c)
	files, err := s.Files(t.Context())
	must(t, err)
	dir := t.TempDir()
	p := startFiller(t, dir)
	f := p.filler()
	wantBroken(t, f.Put(t.Context(), 0, nothing), "not begun")
	done, err := f.Begin(t.Context(), files, testKey)
	if err != nil || len(done) > 0 {
		t.Fatal(done, err)
	}
	all := map[int][]transfer.Frame{}
	for i := range files {
		must(t, s.Read(t.Context(), i, 0, func(f transfer.Frame) error {
			f.Room = nil // they are put more than once
			all[i] = append(all[i], f)
			return nil
		}))
	}
	give := func(frames []transfer.Frame) func() (transfer.Frame, error) {
		return func() (transfer.Frame, error) {
			if len(frames) == 0 {
				return transfer.Frame{}, io.EOF
			}
			one := frames[0]
			frames = frames[1:]
			return one, nil
		}
	}
	large := number(t, s, medic)
	bad := slices.Clone(all[large])
	bad[1].ID[0]++
	wantBroken(t, f.Put(t.Context(), large, give(bad)), "is not what its ID")
	wantBroken(t, f.Put(t.Context(), large, give(all[large][:3])), "bytes came")
	gone := errors.New("the repository is gone")
	n := 0
	wantErr(t, f.Put(t.Context(), large, func() (transfer.Frame, error) {
		if n++; n > 4 {
			return transfer.Frame{}, gone
		}
		return all[large][n-1], nil
	}), gone)
	wantBroken(t, f.Finish(t.Context()), "4 of 4 files are missing")
	for i := range files {
		must(t, f.Put(t.Context(), i, give(all[i])))
		if i == 1 { // a new controller goes on
			f = p.filler()
			done, err := f.Begin(t.Context(), files, testKey)
			if err != nil || len(done) != 2 {
				t.Errorf("done: %v, %v", done, err)
			}
		}
	}
	must(t, f.Finish(t.Context()))
	if err := p.end(); err != nil {
		t.Errorf("the filler ended with %v", err)
	}
	got, err := os.ReadFile(filepath.Join(dir, medic))
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("%d bytes of %d, %v", len(got), len(big), err)
	}
}

func nothing() (transfer.Frame, error) { return transfer.Frame{}, io.EOF }

func wantBroken(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one with %q", err, text)
	}
}

// A controller that goes away while it fills leaves nothing half: the next begins with
// what was whole.
func TestFillerWithoutItsController(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("files get CouchDB's owner: only root can do that")
	}
	dir := t.TempDir()
	p := startFiller(t, dir)
	files := []tree.Meta{{Path: medic, Size: 2 * node.ChunkSize}}
	f := p.filler()
	_, err := f.Begin(t.Context(), files, testKey)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	plain := make([]byte, node.ChunkSize)
	n := 0
	err = f.Put(ctx, 0, func() (transfer.Frame, error) {
		if n++; n == 2 {
			cancel()
			return transfer.Frame{}, ctx.Err()
		}
		return transfer.Frame{Piece: tree.Piece{ID: testKey.IDOf(plain), Length: node.ChunkSize}, Data: node.CompressionOn.Frame(plain, nil)}, nil
	})
	if err == nil {
		t.Error("put without its end")
	}
	done, err := p.filler().Begin(t.Context(), files, testKey)
	if err != nil || len(done) != 0 {
		t.Errorf("done: %v, %v", done, err)
	}
	if _, err := os.Stat(filepath.Join(dir, medic)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a file is in its place: %v", err)
	}
}
