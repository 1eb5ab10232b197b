package repo

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// What an interrupted session had sent is found again, and not sent twice.
func TestInterrupted(t *testing.T) {
	m := newMemory()
	r := create(t, m, Options{PackSize: 4 << 10, Budget: 16 << 10, Pause: time.Millisecond})
	s, err := r.Begin(t.Context(), "uid-1", []string{"n1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(20) {
		if _, err := s.Put(t.Context(), frame(s.HashKey(), content(i, 900))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.flush(t.Context()); err != nil { // and here it dies
		t.Fatal(err)
	}
	puts := m.puts
	again, err := r.Begin(t.Context(), "uid-1", []string{"n1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(20) {
		if _, ok := again.Find(s.HashKey().IDOf(content(i, 900))); !ok {
			t.Errorf("chunk %d is not found", i)
		}
	}
	f := files{"data/a.couch": nil}
	for i := range uint64(20) {
		f["data/a.couch"] = append(f["data/a.couch"], content(i, 900))
	}
	name, err := put(t.Context(), again, "n1", f)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if more := m.puts - puts; more != 3 { // the intent, a pack with the list of files, the tree
		t.Errorf("%d objects were written", more)
	}
	if got, err := read(t.Context(), r, name); err != nil || !reflect.DeepEqual(got, f) {
		t.Error(err)
	}
	// The dead one's intent keeps what it may need.
	if did, err := r.Collect(t.Context()); err != nil || did.Writers != 1 {
		t.Errorf("%+v, %v", did, err)
	}
}

// One failed request is tried again; a store that fails for long ends the session, which
// commits nothing; and says what it was doing.
func TestUploadFails(t *testing.T) {
	for name, c := range map[string]struct {
		times int32
		good  bool
	}{"once": {1, true}, "four times": {4, true}, "always": {1 << 30, false}} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			r := create(t, m, Options{PackSize: 4 << 10, Budget: 16 << 10, Pause: time.Microsecond})
			left := atomic.Int32{}
			left.Store(c.times)
			m.fault = func(op, key string) error {
				if op == "put" && strings.Contains(key, "/"+packsIn) && left.Add(-1) >= 0 {
					return errors.New("503 slow down")
				}
				return nil
			}
			s, err := r.Begin(t.Context(), "uid", []string{"couchdb-1"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = put(t.Context(), s, "couchdb-1", some(2))
			if c.good != (err == nil) {
				t.Fatal(err)
			}
			if !c.good && (!strings.Contains(err.Error(), filesUnder+testID+"/"+packsIn) || !strings.Contains(err.Error(), "slow down")) {
				t.Errorf("%v", err)
			}
			if trees := m.keys(r.at(treesIn, "")); c.good != (len(trees) == 1) {
				t.Errorf("trees %v", trees)
			}
			m.fault = nil
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := s.Put(t.Context(), frame(s.HashKey(), []byte("x"))); err == nil {
				t.Error("put after its end")
			}
			// A put was given up: it is waited for, for a while.
			if left := m.keys(r.at(writersIn, "")); len(left) != 2 {
				t.Errorf("%v", left)
			}
		})
	}
}

// Whatever is put at once, the packs in memory stay within the budget; Put waits.
func TestBudget(t *testing.T) {
	m := newMemory()
	const budget = 64 << 10
	r := create(t, m, Options{PackSize: 16 << 10, Budget: budget, Parallel: 3})
	var held, most, sending, mostSending atomic.Int64
	m.fault = func(op, key string) error {
		if op == "put" && strings.Contains(key, "/"+packsIn) {
			n := sending.Add(1)
			defer sending.Add(-1)
			mostSending.Store(max(mostSending.Load(), n))
			time.Sleep(2 * time.Millisecond)
		}
		return nil
	}
	s, err := r.Begin(t.Context(), "uid", []string{"n1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range uint64(8) {
		all.Go(func() {
			for k := range uint64(40) {
				if _, err := s.Put(t.Context(), frame(s.HashKey(), content(i*100+k, 3000))); err != nil {
					t.Error(err)
				}
				s.lock.Lock()
				n := int64(0)
				if s.open != nil {
					n = int64(len(s.open.data))
				}
				for _, p := range s.pending {
					n += p.weight
				}
				s.lock.Unlock()
				held.Store(n)
				most.Store(max(most.Load(), n))
			}
		})
	}
	all.Wait()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if most.Load() > budget || most.Load() < budget/2 {
		t.Errorf("%d bytes were held, of %d", most.Load(), budget)
	}
	if n := mostSending.Load(); n > 3 || n < 2 {
		t.Errorf("%d packs were sent at once", n)
	}
	if s.Sent() < 8*40*3000 {
		t.Errorf("%d bytes sent", s.Sent())
	}
}

// A Put that waits ends with its context.
func TestPutEnds(t *testing.T) {
	m := newMemory()
	r := create(t, m, Options{PackSize: 4 << 10, Budget: 8 << 10, Parallel: 1})
	release := make(chan struct{})
	m.fault = func(op, key string) error {
		if op == "put" && strings.Contains(key, "/"+packsIn) {
			<-release
		}
		return nil
	}
	s, err := r.Begin(t.Context(), "uid", []string{"n1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for i := range uint64(20) {
		if _, err = s.Put(ctx, frame(s.HashKey(), content(i, 2000))); err != nil {
			break
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(release)
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Chunks in packs that are too old are sent again: so what is locked for a time covers
// what a backup needs.
func TestMaxAge(t *testing.T) {
	m := newMemory()
	now := time.Now()
	m.now = func() time.Time { return now }
	o := Options{MaxAge: 24 * time.Hour, Now: func() time.Time { return now }}
	r := create(t, m, o)
	f := files{"data/a.couch": {content(1, 2000)}}
	first := backup(t, r, "uid-1", f)
	now = now.Add(23 * time.Hour)
	second := backup(t, r, "uid-2", f, first)
	a, _ := pack(t, r, first, "data/a.couch")
	if b, _ := pack(t, r, second, "data/a.couch"); a != b {
		t.Error("a day old is not too old")
	}
	now = now.Add(2 * time.Hour)
	third := backup(t, r, "uid-3", f, second)
	if b, _ := pack(t, r, third, "data/a.couch"); a == b {
		t.Error("it relies on a pack that is too old")
	}
}

// Where nothing can be deleted, backups go on and collections say so; later all goes.
func TestLocked(t *testing.T) {
	m := newMemory()
	now := time.Now()
	m.now = func() time.Time { return now }
	r := create(t, m, Options{PackSize: 4 << 10, Budget: 16 << 10, Now: func() time.Time { return now }})
	lock := true
	m.locked = func(string) bool { return lock }
	first := backup(t, r, "uid-1", some(1))
	backup(t, r, "uid-2", some(2), first)
	if err := r.DeleteTree(t.Context(), first); !errors.Is(err, ErrKept) {
		t.Errorf("delete a tree: %v", err)
	}
	m.locked = func(key string) bool { return lock && !strings.Contains(key, treesIn) }
	if err := r.DeleteTree(t.Context(), first); err != nil {
		t.Error(err)
	}
	now = now.Add(3 * 24 * time.Hour)
	did, err := r.Collect(t.Context())
	if err != nil || did.Deleted != 0 || did.Kept == 0 || !strings.Contains(did.Why, "keeps it") {
		t.Errorf("%+v, %v", did, err)
	}
	lock = false
	now = now.Add(3 * 24 * time.Hour)
	again, err := r.Collect(t.Context())
	if err != nil || again.Deleted != did.Kept || again.Kept != 0 {
		t.Errorf("%+v, %v", again, err)
	}
	if left := append(m.keys(r.at(writersIn, "")), m.keys(r.at(doomedIn, ""))...); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// The numbers of a large file's lists: those before the place where it changed are used
// again, and all of it comes back.
func TestListsAreUsedAgain(t *testing.T) {
	var one, two [][]byte
	long := tree.File{Meta: tree.Meta{Path: "data/long.couch"}}
	for i := range 20_000 {
		c := tree.Chunk{Piece: tree.Piece{Length: 10}, Pack: strings.Repeat("ab", 16), Offset: int64(i), Stored: 5}
		c.ID[0], c.ID[1] = byte(i), byte(i>>8)
		long.Chunks = append(long.Chunks, c)
		long.Size += 10
	}
	lists := func(t tree.Tree, into *[][]byte) {
		if err := writeLists(t, func(text []byte) error { *into = append(*into, text); return nil }); err != nil {
			panic(err)
		}
	}
	a, z := tree.File{Meta: tree.Meta{Path: "data/a.couch"}}, tree.File{Meta: tree.Meta{Path: "data/z.couch"}}
	lists(tree.Tree{Files: []tree.File{long, z}}, &one)
	long.Chunks = append(long.Chunks, tree.Chunk{Piece: tree.Piece{Length: 3}, Pack: strings.Repeat("cd", 16), Stored: 5})
	long.Size += 3
	lists(tree.Tree{Files: []tree.File{a, long, z}}, &two)
	same := 0
	for _, x := range one {
		for _, y := range two {
			if bytes.Equal(x, y) {
				same++
			}
		}
	}
	if same < len(one)-2 {
		t.Errorf("%d of %d lists are the same", same, len(one))
	}
	var back []tree.Chunk
	l := &listReader{names: map[string]string{}, file: func(tree.Meta) error { return nil }, chunk: func(c tree.Chunk) error { back = append(back, c); return nil }}
	for _, text := range two {
		if err := l.read(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.whole(); err != nil || !reflect.DeepEqual(back, long.Chunks) || l.files != 3 {
		t.Errorf("%v, %d chunks, %d files", err, len(back), l.files)
	}
}

// Nothing that is read as a list makes it fall over.
func FuzzList(f *testing.F) {
	var one [][]byte
	c := tree.Chunk{Piece: tree.Piece{Length: 10}, Pack: strings.Repeat("ab", 16), Stored: 5}
	t := tree.Tree{Files: []tree.File{{Meta: tree.Meta{Path: "data/a", Size: 10}, Chunks: []tree.Chunk{c}}}, Dropped: []string{"data/v.view"}}
	if err := writeLists(t, func(text []byte) error { one = append(one, text); return nil }); err != nil {
		f.Fatal(err)
	}
	f.Add(one[0])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, text []byte) {
		l := &listReader{names: map[string]string{}, file: func(m tree.Meta) error { return CheckPath(m.Path) }, chunk: func(c tree.Chunk) error { return checkChunk(c) }}
		_ = l.read(text)
	})
}
