package repo

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"unicode/utf8"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// A tree's files are told in lists of some 64 files, or of some thousand chunks of one,
// that are chunks of the repository themselves: so one backup's tree has most of its
// lists from the one before, and none is ever in memory as a whole when it is written.
//
// A list begins with the packs that it names. It ends before files by their paths'
// hashes, so that a new file leaves the lists after it as they are.
const (
	listedFile byte = iota + 1
	listedChunk
	listedDropped

	// listChunks are in a list at most.
	listChunks = 4096
	// longFile has chunks enough for lists of its own.
	longFile = 1024
	// maxList bounds a list, in bytes.
	maxList = 4 << 20

	// maxFiles and maxChunks of a tree. In memory a chunk takes 72 bytes in a tree and 56
	// in a session: with chunks of 1 MiB, a tree has 4 TiB.
	maxFiles  = 1 << 20
	maxChunks = 4 << 20
	maxPath   = 4096
	// maxFile is how long one file is at most, in bytes.
	maxFile = 1 << 50
)

// CheckPath refuses a path that could leave the places files are restored to.
func CheckPath(path string) error {
	rest, data := strings.CutPrefix(path, tree.Data)
	if !data {
		var config bool
		if rest, config = strings.CutPrefix(path, tree.Config); !config {
			return fmt.Errorf("path %.200q: it is not below %s or %s", path, tree.Data, tree.Config)
		}
	}
	if len(path) > maxPath || !utf8.ValidString(path) || strings.ContainsFunc(path, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
		return fmt.Errorf("path %.200q: it is too long, or has characters that no file of CouchDB's has", path)
	}
	for _, element := range strings.Split(rest, "/") {
		if element == "" || element == "." || element == ".." {
			return fmt.Errorf("path %.200q: it has an element %q", path, element)
		}
	}
	return nil
}

func checkMeta(m tree.Meta) error {
	if err := CheckPath(m.Path); err != nil {
		return err
	}
	if m.Size < 0 || m.Size > maxFile || m.Mode > 0o7777 || m.UID < 0 || m.GID < 0 || int64(m.UID) > 1<<32 || int64(m.GID) > 1<<32 {
		return fmt.Errorf("path %.200q: its size, mode or owner is none", m.Path)
	}
	return nil
}

// listWriter makes lists of a tree's files.
type listWriter struct {
	emit    func(text []byte) error
	packs   map[string]uint64
	names   []byte // of the packs, 16 bytes each
	body    []byte
	chunks  int
	scratch [16]byte
}

// writeLists gives all lists of a tree.
func writeLists(t tree.Tree, emit func(text []byte) error) error {
	w := &listWriter{emit: emit, packs: map[string]uint64{}}
	for _, f := range t.Files {
		if err := w.file(f); err != nil {
			return err
		}
	}
	for _, path := range t.Dropped {
		if len(w.body) > maxList/2 {
			if err := w.end(); err != nil {
				return err
			}
		}
		w.body = appendText(append(w.body, listedDropped), path)
	}
	return w.end()
}

func (w *listWriter) file(f tree.File) error {
	h := fnv.New32a()
	_, _ = h.Write([]byte(f.Path))
	if h.Sum32()%64 == 0 || len(f.Chunks) >= longFile || w.chunks >= listChunks || len(w.body) > maxList/4 {
		if err := w.end(); err != nil {
			return err
		}
	}
	w.body = appendText(append(w.body, listedFile), f.Path)
	for _, n := range []int64{f.Size, int64(f.Mode), int64(f.UID), int64(f.GID)} {
		w.body = binary.AppendUvarint(w.body, uint64(n)) //nolint:gosec // checked
	}
	if len(f.Chunks) >= longFile { // its size changes, and its first chunks do not
		if err := w.end(); err != nil {
			return err
		}
	}
	for _, c := range f.Chunks {
		if w.chunks >= listChunks {
			if err := w.end(); err != nil {
				return err
			}
		}
		if err := w.chunk(c); err != nil {
			return err
		}
	}
	if len(f.Chunks) >= longFile {
		return w.end()
	}
	return nil
}

func (w *listWriter) chunk(c tree.Chunk) error {
	no, ok := w.packs[c.Pack]
	if !ok {
		if _, err := hex.Decode(w.scratch[:], []byte(c.Pack)); err != nil || len(c.Pack) != 2*len(w.scratch) {
			return fmt.Errorf("%.80q is no name of a pack", c.Pack)
		}
		no = uint64(len(w.packs))
		w.packs[c.Pack] = no
		w.names = append(w.names, w.scratch[:]...)
	}
	w.body = append(w.body, listedChunk)
	w.body = append(w.body, c.ID[:]...)
	for _, n := range []uint64{no, uint64(c.Offset), uint64(c.Stored), uint64(c.Length)} { //nolint:gosec // checked
		w.body = binary.AppendUvarint(w.body, n)
	}
	w.chunks++
	return nil
}

func (w *listWriter) end() error {
	if len(w.body) == 0 {
		return nil
	}
	text := binary.AppendUvarint(nil, uint64(len(w.packs)))
	text = append(append(text, w.names...), w.body...)
	clear(w.packs)
	w.names, w.body, w.chunks = w.names[:0], w.body[:0], 0
	return w.emit(text)
}

// listReader reads the lists of a tree in their order, and checks that they can be true.
type listReader struct {
	file    func(tree.Meta) error
	chunk   func(tree.Chunk) error
	dropped func(path string)
	// names are shared, since each stands in many chunks.
	names map[string]string

	meta          tree.Meta
	left          int64 // of the file's bytes no chunk was told yet
	files, chunks int
	size          int64
}

var errList = errors.New("a list of files cannot be read")

func (l *listReader) read(text []byte) error {
	d := decoding{left: text}
	n := d.number(listChunks)
	packs := make([]string, 0, n)
	for range n {
		name := hex.EncodeToString(d.bytes(16))
		if d.failed {
			return errList
		}
		if shared, ok := l.names[name]; ok {
			name = shared
		} else {
			l.names[name] = name
		}
		packs = append(packs, name)
	}
	for !d.failed && len(d.left) > 0 {
		var err error
		switch d.bytes(1)[0] {
		case listedFile:
			err = l.readFile(&d)
		case listedChunk:
			err = l.readChunk(&d, packs)
		case listedDropped:
			path := d.text(maxPath)
			if err = CheckPath(path); err == nil && l.dropped != nil {
				l.dropped(path)
			}
		default:
			err = errList
		}
		if err != nil && !d.failed {
			return err
		}
	}
	if d.failed {
		return errList
	}
	return nil
}

func (l *listReader) readFile(d *decoding) error {
	if err := l.whole(); err != nil {
		return err
	}
	m := tree.Meta{Path: d.text(maxPath), Size: int64(d.number(maxFile)), Mode: uint32(d.number(0o7777)), UID: int(d.number(1 << 32)), GID: int(d.number(1 << 32))} //nolint:gosec // bounded
	if d.failed {
		return errList
	}
	if err := checkMeta(m); err != nil {
		return err
	}
	if m.Path <= l.meta.Path {
		return fmt.Errorf("path %.200q comes after %.200q", m.Path, l.meta.Path)
	}
	if l.files++; l.files > maxFiles {
		return fmt.Errorf("it has more than %d files", maxFiles)
	}
	l.meta, l.left = m, m.Size
	l.size += m.Size
	return l.file(m)
}

func (l *listReader) readChunk(d *decoding, packs []string) error {
	var c tree.Chunk
	copy(c.ID[:], d.bytes(len(c.ID)))
	no := d.number(listChunks)
	c.Offset, c.Stored, c.Length = int64(d.number(maxPack)), int64(d.number(maxPack)), int64(d.number(maxChunk)) //nolint:gosec // bounded
	if d.failed || no >= uint64(len(packs)) || c.Length < 1 || c.Stored < 1 {
		return errList
	}
	c.Pack = packs[no]
	if c.Length > l.left || l.files == 0 {
		return fmt.Errorf("path %.200q: its chunks have more bytes than it", l.meta.Path)
	}
	l.left -= c.Length
	if l.chunks++; l.chunks > maxChunks {
		return fmt.Errorf("it has more than %d chunks", maxChunks)
	}
	return l.chunk(c)
}

// whole tells whether the last file had all its chunks.
func (l *listReader) whole() error {
	if l.left != 0 {
		return fmt.Errorf("path %.200q: its chunks have %d bytes less than it", l.meta.Path, l.left)
	}
	return nil
}
