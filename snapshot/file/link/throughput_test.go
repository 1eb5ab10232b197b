//go:build linux

package link

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// uncompressed serves frames that nothing was saved in.
type uncompressed struct{ *node.Node }

func (u uncompressed) Source(cut string, key tree.HashKey) (transfer.Source, error) {
	return u.SourceWith(cut, key, node.CompressionOff)
}

// writeVolume makes a volume of some files, half of whose bytes can be compressed.
func writeVolume(b *testing.B, dir string, files int, size int64) {
	b.Helper()
	random := rand.NewChaCha8([32]byte{9})
	chunk := make([]byte, 1<<20)
	for i := range files {
		name := filepath.Join(dir, "data", "shards", "0", fmt.Sprintf("db%d.1.couch", i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			b.Fatal(err)
		}
		f, err := os.Create(name)
		if err != nil {
			b.Fatal(err)
		}
		for at := int64(0); at < size; at += int64(len(chunk)) {
			_, _ = random.Read(chunk[:len(chunk)/2])
			if _, err := f.Write(chunk[:min(int64(len(chunk)), size-at)]); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkThroughput compares what comes through the link with what cp would do: reads
// of the same files, and of all of them twice, once into the cache.
func BenchmarkThroughput(b *testing.B) {
	const files, size = 4, 64 << 20
	dir := b.TempDir()
	writeVolume(b, dir, files, size)
	b.Run("cp", func(b *testing.B) {
		to := b.TempDir()
		b.SetBytes(files * size)
		for b.Loop() {
			for i := range files {
				name := fmt.Sprintf("db%d.1.couch", i)
				if err := copyFile(filepath.Join(dir, "data/shards/0", name), filepath.Join(to, name)); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	for _, c := range []struct {
		name  string
		files func(*node.Node) Files
	}{{"off", func(n *node.Node) Files { return uncompressed{n} }}, {"on", func(n *node.Node) Files { return n }}} {
		b.Run("local, compression "+c.name, func(b *testing.B) {
			n := opened(b, dir)
			m, err := n.Measure(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			s, err := c.files(n).Source(m.Cut, testKey)
			if err != nil {
				b.Fatal(err)
			}
			transferAll(b, s, files, size)
		})
		b.Run("link, compression "+c.name, func(b *testing.B) {
			n := opened(b, dir)
			socket := filepath.Join(b.TempDir(), "admit.sock")
			go func() {
				_ = ServeCopier(b.Context(), c.files(n), ServeOptions{Address: "127.0.0.1:0", Socket: socket, Idle: time.Minute})
			}()
			copier, err := DialCopier(b.Context(), (&pod{socket: socket}).peer())
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
			defer cancel()
			m, err := copier.Measure(ctx)
			if err != nil {
				b.Fatal(err)
			}
			transferAll(b, copier.Source(m.Cut, testKey), files, size)
		})
	}
}

func opened(b *testing.B, dir string) *node.Node {
	b.Helper()
	n, err := node.Open(node.Layout{Volume: dir, Data: "data"})
	if err == nil {
		_, err = n.Prepare(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.Close() })
	return n
}

func transferAll(b *testing.B, s transfer.Source, files int, size int64) {
	b.Helper()
	b.SetBytes(int64(files) * size)
	for b.Loop() {
		group, ctx := errgroup.WithContext(b.Context())
		for i := range files {
			group.Go(func() error { return s.Read(ctx, i, 0, func(transfer.Frame) error { return nil }) })
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := out.ReadFrom(in); err != nil {
		return err
	}
	return out.Close()
}
