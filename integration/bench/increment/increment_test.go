package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/medic/cht-backup/integration/bench/engine"
)

func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, seed))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func cutAll(t *testing.T, c cutter, r io.Reader) (chunks [][]byte) {
	t.Helper()
	if err := c(r, func(b []byte) { chunks = append(chunks, slices.Clone(b)) }); err != nil {
		t.Fatal(err)
	}
	return chunks
}

func TestFlags(t *testing.T) {
	o, err := parse(nil)
	if err != nil || o.nodes != 3 || !slices.Equal(o.sizes, []int{16 << 10, 64 << 10, 256 << 10, 1 << 20}) || o.some() != o.docs/100 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range []string{"--nodes 0", "--docs 1", "--percent 0", "--sizes 3", "--sizes 24", "--sizes x", "now"} {
		if o, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s is taken as %+v", args, o)
		}
	}
}

// A cutter loses no byte, and keeps to its sizes.
func TestCuttersKeepAllBytes(t *testing.T) {
	data := noise(1_000_003, 1)
	for name, c := range map[string]struct {
		cut         cutter
		least, most int
	}{"fixed": {fixed(4096), 4096, 4096}, "content": {content(4096), 1024, 16384}} {
		chunks := cutAll(t, c.cut, bytes.NewReader(data))
		if !bytes.Equal(bytes.Join(chunks, nil), data) {
			t.Errorf("%s: other bytes", name)
		}
		for i, b := range chunks {
			if len(b) > c.most || len(b) < c.least && i < len(chunks)-1 {
				t.Errorf("%s: chunk %d of %d bytes", name, i, len(b))
			}
		}
		if mean := len(data) / len(chunks); mean < 3000 || mean > 6000 {
			t.Errorf("%s: %d bytes on average", name, mean)
		}
	}
}

// What moved is found again by content and not by place.
func TestContentFindsWhatMoved(t *testing.T) {
	data := noise(1<<20, 2)
	moved := append(noise(777, 3), data...)
	for name, want := range map[string]struct {
		cut cutter
		yes bool
	}{"fixed": {fixed(4096), false}, "content": {content(4096), true}} {
		known, found := map[string]bool{}, 0
		for _, b := range cutAll(t, want.cut, bytes.NewReader(data)) {
			known[string(b)] = true
		}
		for _, b := range cutAll(t, want.cut, bytes.NewReader(moved)) {
			if known[string(b)] {
				found += len(b)
			}
		}
		if got := found > len(data)*9/10; got != want.yes {
			t.Errorf("%s: %d of %d bytes found again", name, found, len(data))
		}
	}
}

func TestUnmarked(t *testing.T) {
	data := noise(10_000, 4)
	var marked []byte
	for i := 0; i < len(data); i += block - 1 {
		marked = append(append(marked, byte(i&1)), data[i:min(i+block-1, len(data))]...)
	}
	got, err := io.ReadAll(newUnmarked(bytes.NewReader(marked)))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes, %v", len(got), len(data), err)
	}
}

// A file that grew costs its tail, one that was made anew what its beginning is not.
func TestWhatIsNew(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "data", "a.couch")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	data := noise(100<<10, 5)
	var fresh []int64
	all := ways([]int{16 << 10})
	for _, content := range [][]byte{data, append(slices.Clone(data), noise(1000, 6)...), append(slices.Clone(data[:20<<10]), noise(80<<10, 7)...)} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		files, err := copied([]string{dir})
		if err != nil || !slices.Equal(files, []string{file}) {
			t.Fatalf("%v, %v", files, err)
		}
		c, err := all[0].backup(files)
		if err != nil || c.bytes != int64(len(content)) {
			t.Fatalf("%+v, %v", c, err)
		}
		fresh = append(fresh, c.fresh)
	}
	if want := []int64{100 << 10, 1000, 84 << 10}; !slices.Equal(fresh, want) {
		t.Errorf("new bytes %v, want %v", fresh, want)
	}
}

func TestDocuments(t *testing.T) {
	one, two := newDocuments(1), newDocuments(1)
	photos := 0
	for range 300 {
		a, b := one.one(), two.one()
		if a["_id"] != b["_id"] {
			t.Fatal("two runs do not have the same documents")
		}
		if _, has := a["_attachments"]; has {
			photos++
		}
	}
	if photos != 3 {
		t.Errorf("%d of 300 have a photograph", photos)
	}
}

func TestReport(t *testing.T) {
	r := &run{o: options{docs: 100, percent: 1, nodes: 1}, version: "3.5.2", ways: ways([]int{16 << 10})[:1], steps: []step{
		{name: "first", costs: []cost{{bytes: 1 << 20, fresh: 1 << 20, chunks: 64}}, product: engine.Cost{Sent: 1000}},
		{name: "second", grown: -1 << 19, costs: []cost{{bytes: 1 << 19, fresh: 1 << 18, chunks: 16}}, product: engine.Cost{Sent: 31}},
	}, levels: []level{{kind: ".couch", name: "default", in: 10 << 20, out: 5 << 20, took: 1e9}}}
	var out strings.Builder
	r.report(&out)
	for _, want := range []string{"CouchDB 3.5.2", "1. first: 1.0 MiB\n", "2. second: 0.5 MiB, -0.5 MiB", "50.0%", "prefix 16K", "default   10", "3.1% of what", "second: at most 3% of the first backup's bytes sent: 3.1%: NOT MET"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
