package extract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// subset reads of one tree the shards of one database, by the paths that they get.
type subset struct {
	transfer.Reader
	database Database
	held     int
	name     string
	tree     tree.Tree
}

// Tree implements transfer.Reader. The tree was read before, and compared with its
// digest.
func (s subset) Tree(_ context.Context, name string) (tree.Tree, error) {
	if name != s.name {
		return tree.Tree{}, fmt.Errorf("tree %s is not the one that was read", name)
	}
	t := tree.Tree{Node: s.tree.Node}
	for _, shard := range s.database.Shards {
		if shard.Held == s.held {
			f := shard.File
			f.Path = s.database.path(shard)
			t.Files = append(t.Files, f)
		}
	}
	return t, nil
}

// write has a file of a known length written: it does not depend on the end of its input
// being told, which not every API server does.
const write = `umask 022; mkdir -p "$1" && head -c "$3" > "$2" && test $(wc -c < "$2") -eq "$3"`

// filler is a transfer.Sink that streams files into the pod.
type filler struct {
	put   func(ctx context.Context, path string, size int64, content io.Reader) error
	files []tree.Meta
	key   tree.HashKey
}

var unpacker = newUnpacker()

// newUnpacker reads frames of any node: chunks have 1 MiB, and never more than this.
func newUnpacker() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(32<<20))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}

// Begin implements transfer.Sink.
func (f *filler) Begin(_ context.Context, files []tree.Meta, key tree.HashKey) ([]int, error) {
	f.files, f.key = files, key
	return nil, nil
}

// Put implements transfer.Sink.
func (f *filler) Put(ctx context.Context, file int, next func() (transfer.Frame, error)) error {
	meta := f.files[file]
	read, into := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := f.put(ctx, path.Join(dataMount, meta.Path), meta.Size, read)
		_ = read.CloseWithError(errors.Join(errEnded, err)) // who still writes shall not wait
		ended <- err
	}()
	failed := f.frames(into, meta, next)
	_ = into.CloseWithError(failed)
	err := <-ended
	if failed != nil && !errors.Is(failed, errEnded) {
		return failed
	}
	return err
}

var errEnded = errors.New("the pod takes no more of the file")

// frames unpacks the chunks, compares each with its ID, and writes them.
func (f *filler) frames(into io.Writer, meta tree.Meta, next func() (transfer.Frame, error)) error {
	var plain []byte
	at := int64(0)
	for {
		frame, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if plain, err = unpacker.DecodeAll(frame.Data, plain[:0]); err != nil {
			return fmt.Errorf("unpack the chunk at %d: %w", at, err)
		}
		if int64(len(plain)) != frame.Length || !f.key.IDOf(plain).Is(frame.ID) {
			return fmt.Errorf("the chunk at %d is not what its ID %s says", at, frame.ID)
		}
		if at += frame.Length; at > meta.Size {
			return fmt.Errorf("%d bytes came, and the file has %d", at, meta.Size)
		}
		if _, err := into.Write(plain); err != nil {
			return err
		}
	}
	if at != meta.Size {
		return fmt.Errorf("%d of %d bytes came", at, meta.Size)
	}
	return nil
}

// Finish implements transfer.Sink.
func (f *filler) Finish(context.Context) error { return nil }

// writing is the command that writes a file.
func writing(file string, size int64) []string {
	return []string{"sh", "-c", write, "write", path.Dir(file), file, strconv.FormatInt(size, 10)}
}

// file writes a small one.
func (t *ThrowAway) file(ctx context.Context, path, text string) error {
	return t.pods.Exec(ctx, t.spec.Namespace, t.spec.Name, fillContainer, writing(path, int64(len(text))), strings.NewReader(text), io.Discard)
}
