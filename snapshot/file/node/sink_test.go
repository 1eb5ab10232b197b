//go:build linux

package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// content is what a test's files have, as a tree and its frames.
type content map[string][]byte

func (c content) metas() []tree.Meta {
	var all []tree.Meta
	for path, b := range c {
		all = append(all, tree.Meta{Path: path, Size: int64(len(b)), Mode: 0o640, UID: 5984, GID: 5984})
	}
	slices.SortFunc(all, func(a, b tree.Meta) int { return strings.Compare(a.Path, b.Path) })
	return all
}

func frames(b []byte) func() (transfer.Frame, error) {
	return func() (transfer.Frame, error) {
		if len(b) == 0 {
			return transfer.Frame{}, io.EOF
		}
		plain := b[:min(len(b), ChunkSize)]
		b = b[len(plain):]
		return transfer.Frame{Piece: tree.Piece{ID: testKey.IDOf(plain), Length: int64(len(plain))}, Data: CompressionOn.Frame(plain, nil)}, nil
	}
}

func someContent() content {
	big := make([]byte, 3*ChunkSize+17)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(big)
	c := content{
		"data/_dbs.couch": []byte("dbs"), "data/_nodes.couch": {}, "config/docker.ini": []byte("[admins]\n"),
		"data/shards/00000000-7fffffff/medic.1.couch":                 big,
		"data/.shards/00000000-7fffffff/medic.1_design/mrview/0.view": bytes.Repeat([]byte("row"), 1000),
	}
	for i := range 40 {
		c[fmt.Sprintf("data/shards/00000000-7fffffff/u%d.1.couch", i)] = fmt.Appendf(nil, "user %d", i)
	}
	return c
}

func emptyVolume(t *testing.T) volume {
	if os.Getuid() != 0 {
		t.Skip("files get CouchDB's owner: only root can do that")
	}
	return volume{t, t.TempDir()}
}

func (v volume) fill(name string) *Filling {
	v.t.Helper()
	f, err := Fill(v.layout(), name)
	must(v.t, err)
	v.t.Cleanup(func() { _ = f.Close() })
	return f
}

func (c content) put(t *testing.T, f *Filling, metas []tree.Meta, but ...int) {
	t.Helper()
	for i, m := range metas {
		if !slices.Contains(but, i) {
			must(t, f.Put(t.Context(), i, frames(c[m.Path])))
		}
	}
}

func (v volume) wantFilled(c content) {
	v.t.Helper()
	found := 0
	must(v.t, filepath.WalkDir(v.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			if e != nil && strings.HasPrefix(e.Name(), ".cht") {
				v.t.Errorf("%s is left", path)
			}
			return err
		}
		found++
		below, _ := filepath.Rel(v.dir, path)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if want, is := c[treePath(below)]; !is || !bytes.Equal(b, want) {
			v.t.Errorf("%s has %d bytes, want %d, of the tree: %v", below, len(b), len(want), is)
		}
		var s unix.Stat_t
		must(v.t, unix.Stat(path, &s))
		if s.Mode&0o7777 != 0o640 || s.Uid != 5984 || s.Gid != 5984 {
			v.t.Errorf("%s: mode %o, owner %d:%d", below, s.Mode, s.Uid, s.Gid)
		}
		must(v.t, unix.Stat(filepath.Dir(path), &s))
		if dir := filepath.Dir(below); dir != "data" && dir != "local.d" && (s.Uid != 5984 || s.Mode&0o777 != 0o755) {
			v.t.Errorf("%s: mode %o, owner %d", dir, s.Mode, s.Uid)
		}
		return nil
	}))
	if found != len(c) {
		v.t.Errorf("%d files, want %d", found, len(c))
	}
}

func TestFill(t *testing.T) {
	v, c := emptyVolume(t), someContent()
	f, metas := v.fill("a"), c.metas()
	done, err := f.Begin(t.Context(), metas, testKey)
	if err != nil || len(done) > 0 {
		t.Fatal(done, err)
	}
	c.put(t, f, metas)
	must(t, f.Finish(t.Context()))
	v.wantFilled(c)
}

// A filling that was interrupted goes on: by another process, or for another controller.
func TestFillGoesOn(t *testing.T) {
	v, c := emptyVolume(t), someContent()
	metas := c.metas()
	f := v.fill("a")
	_, err := f.Begin(t.Context(), metas, testKey)
	must(t, err)
	c.put(t, f, metas, 3, 7)
	if err := f.Finish(t.Context()); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("2 of %d files are missing", len(metas))) {
		t.Errorf("finish: %v", err)
	}
	for _, again := range []*Filling{f, v.fill("a")} {
		done, err := again.Begin(t.Context(), metas, testKey)
		must(t, err)
		if len(done) != len(metas)-2 || slices.Contains(done, 3) || slices.Contains(done, 7) {
			t.Errorf("done: %v", done)
		}
	}
	must(t, f.Close())
	// What the journal says is true only while the file is as it was put there.
	must(t, os.Truncate(v.path("data/_dbs.couch"), 1))
	f = v.fill("a")
	done, err := f.Begin(t.Context(), metas, testKey)
	must(t, err)
	if len(done) != len(metas)-3 {
		t.Errorf("%d of %d are done", len(done), len(metas))
	}
	c.put(t, f, metas, done...)
	must(t, f.Finish(t.Context()))
	v.wantFilled(c)
}

// A crash at any byte of the journal: what it says is complete is, and the rest comes.
func TestFillAfterAnyCrash(t *testing.T) {
	v, c := emptyVolume(t), content{"data/a.couch": []byte("a"), "data/b.couch": []byte("bb"), "data/c.couch": []byte("ccc")}
	metas := c.metas()
	f := v.fill("a")
	_, err := f.Begin(t.Context(), metas, testKey)
	must(t, err)
	c.put(t, f, metas)
	must(t, f.Close())
	whole, err := os.ReadFile(v.path("data/.cht-fill/journal"))
	must(t, err)
	for n := range len(whole) {
		must(t, os.WriteFile(v.path("data/.cht-fill/journal"), whole[:n], 0o600))
		v.write("data/.cht-fill/2.ABC", "half of it")
		f := v.fill("a")
		done, err := f.Begin(t.Context(), metas, testKey)
		must(t, err)
		if lines := bytes.Count(whole[:n], []byte("\n")); len(done) != max(0, lines-1) {
			t.Errorf("cut at %d: %v are done, the journal has %d lines", n, done, lines)
		}
		c.put(t, f, metas, done...)
		must(t, f.Close())
		if now, _ := os.ReadFile(v.path("data/.cht-fill/journal")); bytes.Count(now, []byte("\n")) != 4 {
			t.Errorf("cut at %d: the journal is %q", n, now)
		}
		if entries, _ := os.ReadDir(v.path("data/.cht-fill")); len(entries) != 1 {
			t.Errorf("cut at %d: %v are left", n, entries)
		}
	}
}

func TestFillRefusesAnother(t *testing.T) {
	v, c := emptyVolume(t), someContent()
	metas := c.metas()
	f := v.fill("a")
	_, err := f.Begin(t.Context(), metas, testKey)
	must(t, err)
	must(t, f.Close())
	for name, begin := range map[string]func() error{
		"another tree": func() error { _, err := v.fill("b").Begin(t.Context(), metas, testKey); return err },
		"another key":  func() error { _, err := v.fill("a").Begin(t.Context(), metas, tree.HashKey{9}); return err },
		"other files":  func() error { _, err := v.fill("a").Begin(t.Context(), metas[1:], testKey); return err },
	} {
		if err := begin(); !errors.Is(err, errOtherFilling) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := emptyVolume(t)
	full.write("data/shards/0/x.1.couch", "somebody's")
	if _, err := full.fill("a").Begin(t.Context(), metas, testKey); err == nil || !strings.Contains(err.Error(), "data/shards/0/x.1.couch") {
		t.Errorf("a volume with data: %v", err)
	}
	entries, err := os.ReadDir(full.path("data"))
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("a refused volume has %v", entries)
	}
}

// Chunks that are not what was backed up never come to be in a file's place.
func TestPutRefuses(t *testing.T) {
	v := emptyVolume(t)
	text := []byte("what it is")
	good, _ := frames(text)()
	change := func(do func(*transfer.Frame)) []transfer.Frame { f := good; do(&f); return []transfer.Frame{f} }
	f := v.fill("a")
	_, err := f.Begin(t.Context(), content{"data/a.couch": text}.metas(), testKey)
	must(t, err)
	bomb := CompressionOn.Frame(make([]byte, 64<<20), nil)
	for name, all := range map[string][]transfer.Frame{
		"another content":   change(func(f *transfer.Frame) { f.Data = CompressionOn.Frame([]byte("what it isn't"), nil) }),
		"same length":       change(func(f *transfer.Frame) { f.Data = CompressionOn.Frame([]byte("WHAT IT IS"), nil) }),
		"no zstd":           change(func(f *transfer.Frame) { f.Data = text }),
		"cut off":           change(func(f *transfer.Frame) { f.Data = f.Data[:len(f.Data)-2] }),
		"another ID":        change(func(f *transfer.Frame) { f.ID[3]++ }),
		"nothing":           {},
		"too much":          {good, good},
		"a length below 0":  change(func(f *transfer.Frame) { f.Length = -1 }),
		"a length of 0":     change(func(f *transfer.Frame) { f.Length = 0 }),
		"a length too long": change(func(f *transfer.Frame) { f.Length = 11 }),
		"a bomb":            change(func(f *transfer.Frame) { f.Data = bomb }),
	} {
		err := f.Put(t.Context(), 0, func() (transfer.Frame, error) {
			if len(all) == 0 {
				return transfer.Frame{}, io.EOF
			}
			one := all[0]
			all = all[1:]
			return one, nil
		})
		if err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	failed := errors.New("the repository is gone")
	if err := f.Put(t.Context(), 0, func() (transfer.Frame, error) { return transfer.Frame{}, failed }); !errors.Is(err, failed) {
		t.Errorf("err: %v", err)
	}
	for _, i := range []int{-1, 1} {
		if err := f.Put(t.Context(), i, frames(text)); err == nil {
			t.Errorf("file %d is taken", i)
		}
	}
	if err := f.Finish(t.Context()); err == nil {
		t.Error("finished without its file")
	}
	if _, err := os.Stat(v.path("data/a.couch")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is in its place: %v", err)
	}
}

// Nothing outside of CouchDB's directories can be written, whatever a tree says and
// whatever lies on the volume.
func TestHostileTrees(t *testing.T) {
	bad := []tree.Meta{
		{Path: "data/../x.couch"}, {Path: "/etc/x.couch"}, {Path: "data//x.couch"}, {Path: "data/./x.couch"}, {Path: "x.couch"},
		{Path: "data/shards/../../x.couch"}, {Path: "config/../x.ini"}, {Path: "config/a/b.ini"}, {Path: "data/x.sh"}, {Path: "data/.couch"},
		{Path: "data/.cht-fill/x.couch"}, {Path: "data/.delete/x.couch"}, {Path: "data/a\x00.couch"}, {Path: "data/" + strings.Repeat("a", 260) + ".couch"},
		{Path: "data/x.couch", Size: -1}, {Path: "data/x.couch", Mode: 0o4755}, {Path: "data/x.couch", UID: -1}, {Path: "data/x.couch", GID: 1 << 40},
		{Path: "data/x.couch.compact.data"}, {Path: ""}, {Path: "data/"}, {Path: "data/.."},
	}
	for _, m := range bad {
		v := emptyVolume(t)
		if _, err := v.fill("a").Begin(t.Context(), []tree.Meta{m}, testKey); err == nil {
			t.Errorf("%+v is taken", m)
		}
	}
	v := emptyVolume(t)
	twice := tree.Meta{Path: "data/x.couch"}
	if _, err := v.fill("a").Begin(t.Context(), []tree.Meta{twice, twice}, testKey); err == nil {
		t.Error("a file that comes twice is taken")
	}
	noConfig, err := Fill(Layout{Volume: v.dir, Data: "data"}, "a")
	must(t, err)
	defer func() { _ = noConfig.Close() }()
	if _, err := noConfig.Begin(t.Context(), []tree.Meta{{Path: "config/x.ini"}}, testKey); err == nil {
		t.Error("a configuration is taken where there is no place for it")
	}
}

func TestLinksOnTheVolumeLeadNowhere(t *testing.T) {
	for name, link := range map[string]string{"the data": "data", "a folder": "data/shards", "the staging": "data/.cht-fill", "the journal": "data/.cht-fill/journal"} {
		t.Run(name, func(t *testing.T) {
			v, outside := emptyVolume(t), t.TempDir()
			must(t, os.MkdirAll(filepath.Dir(v.path(link)), 0o755))
			to := outside
			if strings.HasSuffix(link, "journal") {
				to += "/x"
			}
			must(t, os.Symlink(to, v.path(link)))
			c := content{"data/shards/0/x.couch": []byte("x")}
			f, err := Fill(v.layout(), "a")
			if err == nil {
				defer func() { _ = f.Close() }()
				if _, err = f.Begin(t.Context(), c.metas(), testKey); err == nil {
					c.put(t, f, c.metas())
					err = f.Finish(t.Context())
				}
			}
			if err == nil {
				t.Error("it is written")
			}
			if entries, _ := os.ReadDir(outside); len(entries) > 0 {
				t.Errorf("outside of the volume is %v", entries)
			}
		})
	}
}

// A disk that is full says so: before anything is written where that can be known.
func TestFullVolume(t *testing.T) {
	v := emptyVolume(t)
	if err := unix.Mount("tmpfs", v.dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a small file system can not be mounted here: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(v.dir, unix.MNT_DETACH)) })
	big := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{2}).Read(big) //nolint:errcheck // never fails
	two := content{"data/a.couch": big, "data/b.couch": big}
	f := v.fill("a")
	_, err := f.Begin(t.Context(), two.metas(), testKey)
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "6.0 MiB are to be written") {
		t.Errorf("too much: %v", err)
	}
	one := content{"data/a.couch": big}
	f = v.fill("b")
	must(t, os.RemoveAll(v.path("data/.cht-fill")))
	_, err = f.Begin(t.Context(), one.metas(), testKey)
	must(t, err)
	v.write("data/somebody's", string(big[:2<<20])) // meanwhile
	if err := f.Put(t.Context(), 0, frames(big)); !errors.Is(err, ErrNoSpace) {
		t.Errorf("full: %v", err)
	}
	must(t, os.Remove(v.path("data/somebody's")))
	must(t, f.Put(t.Context(), 0, frames(big)))
	must(t, f.Finish(t.Context()))
}

// What was copied fills a volume, and is the same.
func TestThere(t *testing.T) {
	from, to := newVolume(t, medic, medicView, dbs, nodes, docker), emptyVolume(t)
	big := make([]byte, 5*ChunkSize/2)
	rand.NewChaCha8([32]byte{3}).Read(big) //nolint:errcheck // never fails
	from.write(medic, string(big))
	_, s := measure(t, from.prepared())
	metas, err := s.Files(t.Context())
	must(t, err)
	f := to.fill("a")
	_, err = f.Begin(t.Context(), metas, testKey)
	must(t, err)
	for i := range metas {
		var all []transfer.Frame
		must(t, s.Read(t.Context(), i, 0, func(fr transfer.Frame) error { all = append(all, fr); return nil }))
		must(t, f.Put(t.Context(), i, func() (transfer.Frame, error) {
			if len(all) == 0 {
				return transfer.Frame{}, io.EOF
			}
			one := all[0]
			all = all[1:]
			return one, nil
		}))
	}
	must(t, f.Finish(t.Context()))
	for _, name := range []string{medic, medicView, dbs, nodes, docker} {
		a, err := os.ReadFile(from.path(name))
		must(t, err)
		b, err := os.ReadFile(to.path(name))
		must(t, err)
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs", name)
		}
	}
}
