package repo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

func TestMain(m *testing.M) {
	// The packer makes its channels when it is used first, and not in a test's bubble.
	if _, err := unpacker.DecodeAll(packer.EncodeAll([]byte("x"), nil), nil); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

const testID = "r1"

// small makes packs of a few chunks.
var small = Options{PackSize: 4 << 10, Budget: 16 << 10}

func testKey(t testing.TB) Key {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func create(t testing.TB, objects Objects, o Options) *Repository {
	t.Helper()
	key := testKey(t)
	if err := Create(t.Context(), objects, testID, key); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), objects, testID, key, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// content of some length that is the same for a seed, and does not compress.
func content(seed uint64, n int) []byte {
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

func frame(key tree.HashKey, plain []byte) transfer.Frame {
	return transfer.Frame{Piece: tree.Piece{ID: key.IDOf(plain), Length: int64(len(plain))}, Data: packer.EncodeAll(plain, nil)}
}

// files are contents by path, in pieces.
type files map[string][][]byte

// put writes files in a session and commits them as a node's.
func put(ctx context.Context, s *Session, node string, f files) (string, error) {
	t := tree.Tree{Node: node}
	for path, pieces := range f {
		file := tree.File{Meta: tree.Meta{Path: path, Mode: 0o640, UID: 5984, GID: 5984}}
		for _, plain := range pieces {
			c, err := s.Put(ctx, frame(s.HashKey(), plain))
			if err != nil {
				return "", err
			}
			file.Chunks = append(file.Chunks, c)
			file.Size += c.Length
		}
		t.Files = append(t.Files, file)
	}
	slices.SortFunc(t.Files, func(a, b tree.File) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	})
	return s.Commit(ctx, t)
}

// backup is a session of one node.
func backup(t testing.TB, r *Repository, owner string, f files, bases ...string) string {
	t.Helper()
	s, err := r.Begin(t.Context(), owner, []string{"couchdb-1"}, bases)
	if err != nil {
		t.Fatal(err)
	}
	name, err := put(t.Context(), s, "couchdb-1", f)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return name
}

// read gives the files of a tree.
func read(ctx context.Context, r *Repository, name string) (files, error) {
	t, err := r.Tree(ctx, name)
	if err != nil {
		return nil, err
	}
	all := files{}
	for _, f := range t.Files {
		all[f.Path] = nil
		i := 0
		err := r.Read(ctx, f.Chunks, func(frame transfer.Frame) error {
			if frame.Piece != f.Chunks[i].Piece {
				return fmt.Errorf("frame %d is another", i)
			}
			i++
			plain, err := r.plain(frame)
			all[f.Path] = append(all[f.Path], plain)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func some(seed uint64) files {
	f := files{}
	for i := range uint64(5) {
		for k := range seed%3 + 2 {
			path := fmt.Sprintf("data/shards/%d/db.%d.couch", seed%2, i)
			f[path] = append(f[path], content(seed*100+i*10+k, 300+int(i)*100)) //nolint:gosec // small
		}
	}
	f["config/docker.ini"] = [][]byte{content(seed, 10)}
	f["data/empty.couch"] = nil
	return f
}
