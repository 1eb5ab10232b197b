//go:build linux

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// BenchmarkFillSmall fills a volume with as many small files as one of three nodes has
// with 600 databases; beside it, a sync of each file by itself, one after the other.
func BenchmarkFillSmall(b *testing.B) {
	const count, size = 2400, 20000
	text := make([]byte, size)
	var metas []tree.Meta
	for i := range count {
		metas = append(metas, tree.Meta{Path: fmt.Sprintf("data/shards/%d/db%d.1.couch", i%4, i), Size: size, Mode: 0o644})
	}
	b.Run("sink", func(b *testing.B) {
		for b.Loop() {
			dir := b.TempDir()
			f, err := Fill(Layout{Volume: dir, Data: "data"}, "a")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := f.Begin(b.Context(), metas, testKey); err != nil {
				b.Fatal(err)
			}
			var group errgroup.Group
			group.SetLimit(4)
			for i := range metas {
				group.Go(func() error { return f.Put(b.Context(), i, frames(text)) })
			}
			if err := group.Wait(); err != nil {
				b.Fatal(err)
			}
			if err := f.Finish(b.Context()); err != nil {
				b.Fatal(err)
			}
			_ = f.Close()
		}
	})
	b.Run("one by one", func(b *testing.B) {
		for b.Loop() {
			dir := b.TempDir()
			for i := range count {
				f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.Write(text); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				_ = f.Close()
			}
		}
	})
}
