package extract

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// The command in the pod writes a file whole, or fails.
func TestWriting(t *testing.T) {
	for _, tt := range []struct {
		content string
		size    int64
		good    bool
	}{{"four", 4, true}, {"", 0, true}, {"four", 5, false}} {
		file := filepath.Join(t.TempDir(), "shards", "0-f", "a(b)+c.couch")
		words := writing(file, tt.size)
		cmd := exec.CommandContext(t.Context(), words[0], words[1:]...) //nolint:gosec // the command under test
		cmd.Stdin = strings.NewReader(tt.content)
		err := cmd.Run()
		got, _ := os.ReadFile(file) //nolint:gosec // below
		if tt.good != (err == nil) || string(got) != tt.content {
			t.Errorf("%+v: %v, %q", tt, err, got)
		}
	}
}

// A chunk that is not what its ID says, and a file that ends early, are not taken.
func TestFillingCompares(t *testing.T) {
	packer, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var key tree.HashKey
	frame := func(plain, id string) transfer.Frame {
		return transfer.Frame{Piece: tree.Piece{ID: key.IDOf([]byte(id)), Length: int64(len(plain))}, Data: packer.EncodeAll([]byte(plain), nil)}
	}
	for says, frames := range map[string][]transfer.Frame{
		"":                   {frame("ab", "ab"), frame("cd", "cd")},
		"is not what its ID": {frame("ab", "ab"), frame("cx", "cd")},
		"2 of 4 bytes came":  {frame("ab", "ab")},
		"6 bytes came":       {frame("abcd", "abcd"), frame("ef", "ef")},
	} {
		f := &filler{put: func(_ context.Context, _ string, _ int64, content io.Reader) error {
			_, err := io.Copy(io.Discard, content)
			return err
		}}
		if _, err := f.Begin(t.Context(), []tree.Meta{{Path: "shards/a.couch", Size: 4}}, key); err != nil {
			t.Fatal(err)
		}
		left := frames
		err := f.Put(t.Context(), 0, func() (transfer.Frame, error) {
			if len(left) == 0 {
				return transfer.Frame{}, io.EOF
			}
			next := left[0]
			left = left[1:]
			return next, nil
		})
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

// Of a database that was deleted and made again the latest is taken, of a shard that is
// there twice the whole file, and of copies the longest.
func TestFind(t *testing.T) {
	held := func(node string, paths ...string) Held {
		h := Held{Tree: tree.Tree{Node: node}}
		for i, p := range paths {
			h.Tree.Files = append(h.Tree.Files, tree.File{Meta: tree.Meta{Path: "data/shards/" + p, Size: int64(10 * (i + 1))}})
		}
		return h
	}
	trees := []Held{
		held("one", "00000000-7fffffff/a.1700000001.couch", "00000000-7fffffff/a.1700000002.couch", "00000000-7fffffff/a.1700000002.couch.compact", "80000000-ffffffff/a.1700000001.couch"),
		held("two", "80000000-ffffffff/a.1700000002.couch", "00000000-7fffffff/a.1700000002.couch.compact", "00000000-7fffffff/a.1700000002.couch.compact.data"),
	}
	d, notes, err := Find(catalog.Record{}, trees, "a")
	if err != nil || d.Suffix != ".1700000002" || len(d.Shards) != 2 || len(notes) != 2 {
		t.Fatalf("%+v, %q, %v", d, notes, err)
	}
	if s := d.Shards[0]; s.Held != 0 || !strings.HasSuffix(s.File.Path, "2.couch") {
		t.Errorf("%+v", s)
	}
	if d.Size() != 30 {
		t.Errorf("%d bytes", d.Size())
	}
}
