package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

type sum = [sha256.Size]byte

// way is one way to cut files, with all that it has seen.
type way struct {
	name     string
	cut      cutter
	prefix   bool // begins with the chunks of the same path
	unmarked bool
	known    map[sum]bool
	files    map[string][]piece // the last backup's, by path
}

type piece struct {
	sum    sum
	length int
}

// ways are all that are compared, for these sizes of chunks.
func ways(sizes []int) []*way {
	var all []*way
	for _, n := range sizes {
		all = append(all, &way{name: "prefix " + kib(n), cut: fixed(n), prefix: true})
	}
	for _, n := range sizes {
		all = append(all, &way{name: "content " + kib(n), cut: content(n)})
	}
	for _, n := range sizes {
		all = append(all, &way{name: "markers " + kib(n), cut: content(n), unmarked: true})
	}
	for _, w := range all {
		w.known, w.files = map[sum]bool{}, map[string][]piece{}
	}
	return all
}

func kib(n int) string { return fmt.Sprintf("%dK", n>>10) }

// cost is what one backup has to send.
type cost struct {
	bytes, fresh int64 // of all files; of those in chunks that are not known
	chunks       int   // that are not known
}

func (c cost) share() float64 {
	if c.bytes == 0 {
		return 0
	}
	return 100 * float64(c.fresh) / float64(c.bytes)
}

// backup notes all chunks of the files below the folders and counts what is new.
func (w *way) backup(files []string) (c cost, err error) {
	for _, path := range files {
		if err := w.file(path, &c); err != nil {
			return c, fmt.Errorf("read %s: %w", path, err)
		}
	}
	return c, nil
}

func (w *way) file(path string, c *cost) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c.bytes += info.Size()
	var pieces []piece
	if w.prefix {
		if pieces, err = w.begins(f, path, info.Size()); err != nil {
			return err
		}
	}
	r := io.LimitReader(f, info.Size())
	if w.unmarked {
		r = newUnmarked(r)
	}
	err = w.cut(r, func(chunk []byte) {
		s := sha256.Sum256(chunk)
		pieces = append(pieces, piece{s, len(chunk)})
		if !w.known[s] {
			w.known[s] = true
			c.fresh += int64(len(chunk))
			c.chunks++
		}
	})
	w.files[path] = pieces
	return err
}

// begins gives the known chunks that the file begins with, and leaves it read to their
// end.
func (w *way) begins(f *os.File, path string, size int64) (same []piece, err error) {
	at := int64(0)
	for _, p := range w.files[path] {
		if at+int64(p.length) > size {
			break
		}
		buf := make([]byte, p.length)
		if _, err := f.ReadAt(buf, at); err != nil {
			return nil, err
		}
		if sha256.Sum256(buf) != p.sum {
			break
		}
		same, at = append(same, p), at+int64(p.length)
	}
	_, err = f.Seek(at, io.SeekStart)
	return same, err
}

// copied are the files that a backup copies, of all nodes: the databases' and the
// views'.
func copied(dirs []string) (all []string, err error) {
	for _, dir := range dirs {
		err = filepath.WalkDir(filepath.Join(dir, "data"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && !strings.Contains(path, "/.delete/") && !strings.HasSuffix(path, ".compact.view") &&
				(strings.HasSuffix(path, ".couch") || strings.HasSuffix(path, ".view")) {
				all = append(all, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return all, nil
}
