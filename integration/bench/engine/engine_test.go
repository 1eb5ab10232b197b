package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/medic/cht-backup/snapshot/file/node"
)

// What is copied comes back, and a second backup sends what is new.
func TestThereAndBack(t *testing.T) {
	for name, o := range map[string]Options{"as the product": {}, "bare": {Unsealed: true, Compressed: node.CompressionOff}} {
		t.Run(name, func(t *testing.T) {
			data, back := t.TempDir(), t.TempDir()
			path := filepath.Join("shards", "00000000-ffffffff", "medic.1700000000.couch")
			content := bytes.Repeat([]byte("a document\n"), 300_000)
			write := func(b []byte) {
				t.Helper()
				if err := os.MkdirAll(filepath.Join(data, filepath.Dir(path)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(data, path), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Create(t.Context(), t.TempDir(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			write(content)
			first, err := r.Backup(t.Context(), []string{data})
			if err != nil || first.Size != int64(len(content)) || first.Files != 1 {
				t.Fatalf("%+v, %v", first, err)
			}
			content = append(content, "one more\n"...)
			write(content)
			second, err := r.Backup(t.Context(), []string{data})
			if err != nil || second.Size != int64(len(content)) || second.Warnings != 0 || second.Sent > 64<<10 {
				t.Fatalf("%+v, %v", second, err)
			}
			if _, err := r.Restore(t.Context(), back); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(back, path)); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d of %d bytes came back: %v", len(got), len(content), err)
			}
		})
	}
}

// BenchmarkBackup is for profiles: BENCH_COPY_DATA names a data directory.
func BenchmarkBackup(b *testing.B) {
	data := os.Getenv("BENCH_COPY_DATA")
	if data == "" {
		b.Skip("BENCH_COPY_DATA names no data directory")
	}
	for name, o := range map[string]Options{"product": {}, "bare": {Unsealed: true, Compressed: node.CompressionOff}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				dir := b.TempDir()
				r, err := Create(b.Context(), dir, o)
				if err != nil {
					b.Fatal(err)
				}
				c, err := r.Backup(b.Context(), []string{data})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(c.Size)
				_ = r.Close()
				_ = os.RemoveAll(dir)
			}
		})
	}
}
