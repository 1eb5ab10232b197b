package repo

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// pack gives the key of the pack that has the first chunk of a path.
func pack(t *testing.T, r *Repository, name, path string) (string, tree.Chunk) {
	t.Helper()
	all, err := r.Tree(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all.Files {
		if f.Path == path {
			return r.at(packsIn, f.Chunks[0].Pack), f.Chunks[0]
		}
	}
	t.Fatal("no such file")
	return "", tree.Chunk{}
}

// What is not as it was written is found by whoever checks, and by whoever reads it, and
// both name the object.
func TestDamage(t *testing.T) {
	const path = "data/shards/1/db.3.couch"
	for name, c := range map[string]struct {
		harm func(m *memory, key string, c tree.Chunk)
		// quick: without reading the data.
		quick, reads bool
	}{
		"missing": {func(m *memory, key string, _ tree.Chunk) { _ = m.Delete(t.Context(), key) }, true, true},
		"truncated": {func(m *memory, key string, c tree.Chunk) {
			m.change(key, func(b []byte) []byte { return b[:c.Offset+c.Stored/2] })
		}, true, true},
		"longer": {func(m *memory, key string, _ tree.Chunk) {
			m.change(key, func(b []byte) []byte { return append(b, 0) })
		}, true, false},
		"flipped": {func(m *memory, key string, c tree.Chunk) {
			m.change(key, func(b []byte) []byte { b[c.Offset+c.Stored-3] ^= 1; return b })
		}, false, true},
		"flipped in its seal": {func(m *memory, key string, c tree.Chunk) {
			m.change(key, func(b []byte) []byte { b[c.Offset+40] ^= 1; return b })
		}, false, true},
		"nothing but zeros": {func(m *memory, key string, _ tree.Chunk) {
			m.change(key, func(b []byte) []byte { clear(b); return b })
		}, true, true},
		"another pack's content": {func(m *memory, key string, _ tree.Chunk) {
			for _, other := range m.keys(filesUnder + testID + "/" + packsIn) {
				if other != key {
					m.change(key, func([]byte) []byte { return bytes.Clone(m.objects[other].data) })
				}
			}
		}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			r := create(t, m, small)
			first := backup(t, r, "uid-1", some(1))
			backup(t, r, "uid-2", some(4))
			key, chunk := pack(t, r, first, path)
			size := len(m.objects[key].data)
			c.harm(m, key, chunk)
			for _, all := range []bool{false, true} {
				report, err := r.Check(t.Context(), all, nil)
				if err != nil {
					t.Fatal(err)
				}
				if !all && !c.quick {
					if len(report.Damaged) > 0 {
						t.Errorf("without reading: %+v", report.Damaged)
					}
					continue
				}
				i := slices.IndexFunc(report.Damaged, func(d Damage) bool { return d.Key == key })
				if i < 0 {
					t.Fatalf("reading %v: %s is not among %+v", all, key, report.Damaged)
				}
				d := report.Damaged[i]
				if !slices.Contains(d.Trees, first) {
					t.Errorf("%+v", d)
				}
			}
			if _, err := read(t.Context(), r, first); c.reads && (err == nil || !strings.Contains(err.Error(), key) && !strings.Contains(err.Error(), "another chunk")) {
				t.Errorf("read: %v", err)
			}
			// What is gone, or has another size, is sent again. The rest is when it was deleted,
			// as a check says.
			if o, there := m.objects[key]; there && len(o.data) == size {
				_ = m.Delete(t.Context(), key)
			}
			again := backup(t, r, "uid-3", some(1), first)
			if _, err := read(t.Context(), r, again); err != nil {
				t.Errorf("the next backup: %v", err)
			}
		})
	}
}

// A chunk that lies where another should is not taken for it.
func TestSwapped(t *testing.T) {
	m := newMemory()
	r := create(t, m, Options{})
	a, b := content(1, 400), content(2, 400)
	name := backup(t, r, "uid", files{"data/a.couch": {a}, "data/b.couch": {b}})
	key, at := pack(t, r, name, "data/a.couch")
	_, other := pack(t, r, name, "data/b.couch")
	if at.Stored != other.Stored {
		t.Fatal("they have the same length")
	}
	m.change(key, func(d []byte) []byte {
		copy(d[at.Offset:at.Offset+at.Stored], bytes.Clone(d[other.Offset:other.Offset+other.Stored]))
		return d
	})
	if _, err := read(t.Context(), r, name); err == nil {
		t.Error("it is read")
	}
	report, err := r.Check(t.Context(), true, nil)
	if err != nil || len(report.Damaged) != 1 || !slices.Equal(report.Damaged[0].Files, []string{name + ": data/a.couch"}) {
		t.Errorf("%+v, %v", report.Damaged, err)
	}
}

// A tree that is damaged is named, and nothing is deleted as long as it is there.
func TestDamagedTree(t *testing.T) {
	m := newMemory()
	r := create(t, m, small)
	first, second := backup(t, r, "uid-1", some(1)), backup(t, r, "uid-2", some(2))
	if err := r.DeleteTree(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	key := r.at(treesIn, second)
	m.change(key, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	var bad *Damaged
	if _, err := r.Tree(t.Context(), second); !errors.As(err, &bad) || bad.Key != key {
		t.Errorf("read: %v", err)
	}
	packs := m.keys(r.at(packsIn, ""))
	if _, err := r.Collect(t.Context()); !errors.As(err, &bad) || !strings.Contains(err.Error(), key) {
		t.Errorf("collect: %v", err)
	}
	if !slices.Equal(packs, m.keys(r.at(packsIn, ""))) {
		t.Error("packs were deleted")
	}
	report, err := r.Check(t.Context(), false, nil)
	if err != nil || len(report.Damaged) != 1 || report.Damaged[0].Key != key || !slices.Equal(report.Damaged[0].Trees, []string{second}) {
		t.Errorf("%+v, %v", report, err)
	}
	// As a base it is left out, and said so.
	s, err := r.Begin(t.Context(), "uid-3", []string{"couchdb-1"}, []string{second})
	if err != nil || len(s.Warnings()) != 1 || !strings.Contains(s.Warnings()[0].Error(), key) {
		t.Fatalf("%v, %v", s, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Who knows the recipient can seal; what he seals is not taken for ours. Nor is what is
// ours under another name.
func TestForged(t *testing.T) {
	m := newMemory()
	r := create(t, m, small)
	name := backup(t, r, "uid-1", some(1))
	sealed := func(plain []byte) []byte {
		var b bytes.Buffer
		w, err := age.Encrypt(&b, r.key.identity.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(plain)
		_ = w.Close()
		return b.Bytes()
	}
	other := create(t, newMemory(), small)
	ours := m.objects[r.at(treesIn, name)].data
	text, err := json.Marshal(head{Format: headFormat, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	sum := other.key.mac(r.at(treesIn, name), packer.EncodeAll(text, nil))
	for what, forged := range map[string][]byte{
		"sealed":                      sealed(packer.EncodeAll(text, nil)),
		"sealed, another's signature": sealed(append(sum[:], packer.EncodeAll(text, nil)...)),
		"not sealed":                  text,
		"empty":                       {},
		"a bomb":                      sealed(append(make([]byte, 32), packer.EncodeAll(make([]byte, 200<<20), nil)...)),
	} {
		m.change(r.at(treesIn, name), func([]byte) []byte { return forged })
		if got, err := r.Tree(t.Context(), name); err == nil {
			t.Errorf("%s: %v", what, got)
		}
	}
	// An older tree of ours in a newer one's place.
	newer := "29991231T235959.000000Z_uid-9_couchdb-1"
	m.objects[r.at(treesIn, newer)] = stored{data: ours}
	if _, err := r.Tree(t.Context(), newer); err == nil {
		t.Error("a tree is taken for another")
	}
	// Trailers too: with one that lies, the next backup would rely on what is not there.
	m.change(r.at(treesIn, name), func([]byte) []byte { return ours })
	packs := m.keys(r.at(packsIn, ""))
	m.objects[r.at(packsIn, strings.Repeat("ab", 16))] = stored{data: m.objects[packs[0]].data, at: m.objects[packs[0]].at}
	in, err := r.trailer(t.Context(), strings.Repeat("ab", 16), int64(len(m.objects[packs[0]].data)))
	if err == nil {
		t.Errorf("a pack's trailer under another name: %v", in)
	}
}

// A key that is not the repository's is refused at once.
func TestKeys(t *testing.T) {
	m := newMemory()
	key := testKey(t)
	owner, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	late, _ := age.GenerateX25519Identity()
	stranger, _ := age.GenerateX25519Identity()
	for range 2 { // the same again is good
		if err := Create(t.Context(), m, testID, key, owner.Recipient()); err != nil {
			t.Fatal(err)
		}
	}
	if err := Create(t.Context(), m, testID, testKey(t)); err == nil {
		t.Error("another's repository is made there")
	}
	if _, err := Open(t.Context(), m, testID, testKey(t), Options{}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another key: %v", err)
	}
	if _, err := Open(t.Context(), m, "r2", key, Options{}); !errors.Is(err, ErrNoRepository) {
		t.Errorf("no repository: %v", err)
	}
	r, err := Open(t.Context(), m, testID, key, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := UnsealKey(t.Context(), m, testID, late); err == nil {
		t.Error("a late owner opens it before it is sealed to him")
	}
	for range 2 {
		if err := r.SealKey(t.Context(), late.Recipient(), owner.Recipient()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.keys(r.at(keysIn, ""))); n != 2 {
		t.Errorf("%d sealed keys", n)
	}
	for _, identity := range []*age.X25519Identity{owner, late} {
		got, err := UnsealKey(t.Context(), m, testID, stranger, identity)
		if err != nil || !got.Is(key) || got.Text() != key.Text() {
			t.Errorf("%v", err)
		}
	}
	var none *age.NoIdentityMatchError
	if _, err := UnsealKey(t.Context(), m, testID, stranger); !errors.As(err, &none) {
		t.Errorf("a stranger: %v", err)
	}
	again, err := ParseKey(key.Text())
	if err != nil || !again.Is(key) {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "x", key.Text() + "\nmore", strings.Replace(key.Text(), "1", "2", 1), strings.ToLower(key.Text()), key.Text()[:len(key.Text())-3]} {
		if _, err := ParseKey(bad); err == nil || strings.Contains(err.Error(), "AGE-SECRET") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if ids, err := List(t.Context(), m); err != nil || !slices.Equal(ids, []string{testID}) {
		t.Errorf("%v, %v", ids, err)
	}
}

// A tree that could not be restored, or that names what this session does not know, is
// not written.
func TestCommitRefuses(t *testing.T) {
	m := newMemory()
	r := create(t, m, small)
	s, err := r.Begin(t.Context(), "uid", []string{"n1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(t.Context()) }()
	c, err := s.Put(t.Context(), frame(s.HashKey(), []byte("abc")))
	if err != nil {
		t.Fatal(err)
	}
	moved, unknown := c, c
	moved.Offset++
	unknown.ID[0]++
	file := func(path string, size int64, chunks ...tree.Chunk) tree.Tree {
		return tree.Tree{Node: "n1", Files: []tree.File{{Meta: tree.Meta{Path: path, Size: size}, Chunks: chunks}}}
	}
	for what, bad := range map[string]tree.Tree{
		"outside":       file("etc/passwd", 3, c),
		"upwards":       file("data/../../x", 3, c),
		"a directory":   file("data/", 3, c),
		"empty element": file("data//x", 3, c),
		"backslash":     file(`data/a\b`, 3, c),
		"NUL":           file("data/a\x00", 3, c),
		"short":         file("data/x", 4, c),
		"long":          file("data/x", 2, c),
		"elsewhere":     file("data/x", 3, moved),
		"unknown":       file("data/x", 3, unknown),
		"twice":         {Node: "n1", Files: append(file("data/x", 3, c).Files, file("data/x", 3, c).Files...)},
		"another node":  {Node: "n2"},
		"dropped":       {Node: "n1", Dropped: []string{"../x"}},
	} {
		if name, err := s.Commit(t.Context(), bad); err == nil {
			t.Errorf("%s: %s", what, name)
		}
	}
	if _, err := s.Put(t.Context(), transfer.Frame{Piece: tree.Piece{ID: c.ID, Length: 7}, Data: []byte("x")}); err == nil {
		t.Error("another length of the same chunk")
	}
	if name, err := s.Commit(t.Context(), file("data/x", 3, c)); err != nil {
		t.Errorf("%s, %v", name, err)
	}
	if name, err := s.Commit(t.Context(), tree.Tree{Node: "n1"}); err == nil {
		t.Errorf("twice: %s", name)
	}
}
