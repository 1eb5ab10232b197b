package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

func TestFlags(t *testing.T) {
	o, err := parse(nil)
	if err != nil || !slices.Equal(o.sizes, []int64{1024, 8192}) || o.rounds != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range []string{"--sizes 0", "--sizes 1,x", "--rounds 0", "now"} {
		if o, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s is taken as %+v", args, o)
		}
	}
}

// The files are as large as was asked for, no block of them is there twice, and they are
// as hard to compress as CouchDB's.
func TestData(t *testing.T) {
	dir, total, seen := t.TempDir(), 0, map[string]bool{}
	if err := makeFiles(dir, 24<<20); err != nil {
		t.Fatal(err)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		total, packed = total+len(data), packed+len(encoder.EncodeAll(data, nil))
		for at := 0; at+block <= len(data); at += block {
			seen[string(data[at:at+block])] = true
		}
		return err
	})
	if err != nil || total != 24<<20 || len(seen) != 24<<20/block {
		t.Errorf("%d bytes, %d different blocks, %v", total, len(seen), err)
	}
	if left := float64(packed) / float64(total); left < 0.4 || left > 0.9 {
		t.Errorf("zstd leaves %.2f of it", left)
	}
}

func TestTargets(t *testing.T) {
	took := func(d time.Duration, kb int64) []answer { return []answer{{Took: 2 * d}, {Took: d, PeakKB: kb}} }
	s := size{mib: 100, turns: map[string][]answer{ways[0].name: took(time.Second, 0), ways[1].name: took(2*time.Second, 0), ways[2].name: took(2*time.Second, 150_000)}}
	lines := targets([]size{s})
	for i, want := range []string{"of cp -r: 0.50: NOT MET", "of cp -r, sync: 1.00: met", "154 MB with 100 MiB: met"} {
		if i >= len(lines) || !strings.HasSuffix(lines[i], want) {
			t.Errorf("%q does not end with %q", lines, want)
		}
	}
	var out strings.Builder
	(&run{sizes: []size{s}}).report(&out)
	if !strings.Contains(out.String(), "repository, neither") || strings.Contains(out.String(), "the way back") {
		t.Errorf("report:\n%s", &out)
	}
}
