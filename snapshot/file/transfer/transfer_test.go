package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

func TestThereAndBack(t *testing.T) {
	from, s := newNode(4, "data/a.couch", "0123456789", "data/b.view", "", "config/local.ini", "[x]"), newStore()
	var told []Progress
	made, name, err := Backup(t.Context(), from, s, "couchdb", Options{Progress: func(p Progress) { told = append(told, p) }})
	if err != nil {
		t.Fatal(err)
	}
	if got := made.Files[0].Path + " " + made.Files[2].Path; got != "config/local.ini data/b.view" || made.Size() != 13 {
		t.Errorf("the tree is %+v", made)
	}
	if last := told[len(told)-1]; last != (Progress{Done: 13, Total: 13, FilesDone: 3, Files: 3}) {
		t.Errorf("the last that was told is %+v", last)
	}
	to := newNode(0)
	if _, err := Restore(t.Context(), s, name, to, Options{}); err != nil {
		t.Fatal(err)
	}
	for path, data := range from.data {
		if string(to.put[path]) != string(data) {
			t.Errorf("%s came back as %q", path, to.put[path])
		}
	}
	if !to.ended || to.metas[1].Mode != 0o640 {
		t.Errorf("finished: %v; %+v", to.ended, to.metas)
	}

	// Once more into a volume that has one of them.
	again := newNode(0)
	again.done = []int{1}
	if _, err := Restore(t.Context(), s, name, again, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, sent := again.put["data/a.couch"]; sent || len(again.put) != 2 {
		t.Errorf("sent %v", again.put)
	}
}

// Of what has only grown, the end alone is read; of what was made anew, all.
func TestIncrement(t *testing.T) {
	s := newStore()
	_, name, err := Backup(t.Context(), newNode(4, "data/grown.couch", "01234567", "data/anew.couch", "abcdefgh", "data/same.couch", "xyz"), s, "n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.base = name
	next := newNode(4, "data/grown.couch", "0123456789", "data/anew.couch", "abcdEFGHij", "data/same.couch", "xyz")
	made, _, err := Backup(t.Context(), next, s, "n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int64{"data/grown.couch": 2, "data/anew.couch": 6, "data/same.couch": 0} {
		if next.reads[path] != want {
			t.Errorf("%d bytes of %s were read, want %d", next.reads[path], path, want)
		}
	}
	to := newNode(0)
	if _, err := Restore(t.Context(), s, "tree-1", to, Options{}); err != nil {
		t.Fatal(err)
	}
	for path, data := range next.data {
		if string(to.put[path]) != string(data) {
			t.Errorf("%s came back as %q, want %q (%v)", path, to.put[path], data, made)
		}
	}
}

// A view that has become shorter is left out; a shard that has is no backup.
func TestShort(t *testing.T) {
	n := newNode(4, "data/.shards/a.view", "0123456789", "data/shards/a.couch", "0123456789")
	n.short["data/.shards/a.view"] = true
	made, _, err := Backup(t.Context(), n, newStore(), "n", Options{})
	if err != nil || len(made.Files) != 1 || !slices.Equal(made.Dropped, []string{"data/.shards/a.view"}) {
		t.Errorf("%+v, %v", made, err)
	}
	n = newNode(4, "data/shards/a.couch", "0123456789")
	n.short["data/shards/a.couch"] = true
	s := newStore()
	_, _, err = Backup(t.Context(), n, s, "couchdb-2", Options{})
	if !errors.Is(err, ErrShort) || !strings.Contains(err.Error(), "couchdb-2: copy data/shards/a.couch") || len(s.trees) != 0 {
		t.Errorf("%v; trees %v", err, s.trees)
	}
}

func TestFailures(t *testing.T) {
	n, s := newNode(4, "data/a.couch", "0123456789"), newStore()
	s.putErr = errors.New("the bucket is away")
	if _, _, err := Backup(t.Context(), n, s, "n", Options{}); err == nil || !strings.Contains(err.Error(), "the bucket is away") || len(s.trees) != 0 {
		t.Errorf("%v; trees %v", err, s.trees)
	}
	s.putErr = nil
	made, name, err := Backup(t.Context(), n, s, "n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.failAt[made.Files[0].Chunks[1].ID] = errors.New("pack p is damaged")
	to := newNode(0)
	_, err = Restore(t.Context(), s, name, to, Options{})
	if err == nil || !strings.Contains(err.Error(), "restore data/a.couch: pack p is damaged") || to.ended || len(to.put) != 0 {
		t.Errorf("%v; put %v", err, to.put)
	}
	if _, err := Restore(t.Context(), s, "none", to, Options{}); err == nil {
		t.Error("a tree that is not there was restored")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Backup(ctx, n, s, "n", Options{}); err == nil || len(s.trees) != 1 {
		t.Errorf("%v after the end", err)
	}
	to.done = []int{7}
	if _, err := Restore(t.Context(), s, name, to, Options{}); err == nil {
		t.Error("a file that is none was taken for complete")
	}
}

// A source that lies about its chunks makes no backup.
func TestSourceThatLies(t *testing.T) {
	for name, change := range map[string]func(*Frame){"longer": func(f *Frame) { f.Length = 100 }, "of nothing": func(f *Frame) { f.Length = 0 }, "shorter": func(f *Frame) { f.Length = 1 }} {
		s := newStore()
		if _, _, err := Backup(t.Context(), liar{newNode(4, "data/a.couch", "0123"), change}, s, "n", Options{}); err == nil || len(s.trees) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type liar struct {
	*node
	change func(*Frame)
}

func (l liar) Read(ctx context.Context, file int, from int64, yield func(Frame) error) error {
	return l.node.Read(ctx, file, from, func(f Frame) error { l.change(&f); return yield(f) })
}

// Two transfers share their slots.
func TestSlots(t *testing.T) {
	var files []string
	for i := range 40 {
		files = append(files, fmt.Sprintf("data/%d.couch", i), strings.Repeat("x", 100))
	}
	n, slots := newNode(1, files...), semaphore.NewWeighted(3)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if _, _, err := Backup(t.Context(), n, newStore(), "n", Options{Parallel: 8, Slots: slots}); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if n.most > 3 {
		t.Errorf("%d files were on their way at once", n.most)
	}
}

func TestKeep(t *testing.T) {
	chunks := func(lengths ...int64) (all []tree.Chunk) {
		for _, n := range lengths {
			all = append(all, tree.Chunk{Piece: tree.Piece{Length: n}})
		}
		return all
	}
	many := append([]int64{small, small}, slices.Repeat([]int64{1}, mostFragments)...)
	for _, tt := range []struct {
		known []tree.Chunk
		size  int64
		want  int
	}{
		{nil, 10, 0},
		{chunks(4, 4, 2), 10, 3},
		{chunks(4, 4, 2), 9, 2}, // it has become shorter
		{chunks(4, 0, 2), 10, 1},
		{chunks(many...), 10 << 20, 2 + mostFragments},
		{chunks(append(many, 1)...), 10 << 20, 2},
	} {
		if got := len(Keep(tt.known, tt.size)); got != tt.want {
			t.Errorf("%v of a file of %d: %d are kept, want %d", tt.known, tt.size, got, tt.want)
		}
	}
}

func TestText(t *testing.T) {
	for _, tt := range []struct {
		p     Progress
		at    int64
		since time.Duration
		want  string
	}{
		{Progress{}, 0, 0, "100 %, 0 B of 0 B"},
		{Progress{Done: 512, Total: 2048}, 0, 0, "25 %, 512 B of 2.0 KiB"},
		{Progress{Done: 400 << 20, Total: 1 << 30}, 300 << 20, 10 * time.Second, "39 %, 400 MiB of 1.0 GiB, 10 MiB/s, 1m2s left"},
		{Progress{Done: 1 << 30, Total: 1 << 30}, 0, 4 * time.Second, "100 %, 1.0 GiB of 1.0 GiB, 256 MiB/s"},
	} {
		if got := tt.p.Text(tt.at, tt.since); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
