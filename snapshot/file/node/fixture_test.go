//go:build linux

package node

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

var testKey = tree.HashKey{7}

// volume is a directory laid out as a CHT's claim.
type volume struct {
	t   *testing.T
	dir string
}

func newVolume(t *testing.T, files ...string) volume {
	t.Helper()
	v := volume{t, t.TempDir()}
	for _, dir := range []string{"data/shards/00000000-7fffffff", "data/.shards/00000000-7fffffff", "local.d"} {
		must(t, os.MkdirAll(filepath.Join(v.dir, dir), 0o755))
	}
	for _, f := range files {
		v.write(f, "content of "+f)
	}
	return v
}

func (v volume) layout() Layout {
	return Layout{Volume: v.dir, Data: "data", Config: "local.d", HasConfig: true}
}

func (v volume) path(name string) string { return filepath.Join(v.dir, name) }

func (v volume) write(name, text string) {
	v.t.Helper()
	must(v.t, os.MkdirAll(filepath.Dir(v.path(name)), 0o755))
	must(v.t, os.WriteFile(v.path(name), []byte(text), 0o644))
}

func (v volume) append(name, text string) {
	v.t.Helper()
	f, err := os.OpenFile(v.path(name), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	must(v.t, err)
	_, err = f.WriteString(text)
	must(v.t, err)
	must(v.t, f.Close())
}

func (v volume) rename(from, to string) {
	v.t.Helper()
	must(v.t, os.MkdirAll(filepath.Dir(v.path(to)), 0o755))
	must(v.t, os.Rename(v.path(from), v.path(to)))
}

func (v volume) open() *Node {
	v.t.Helper()
	n, err := Open(v.layout())
	must(v.t, err)
	v.t.Cleanup(func() { must(v.t, n.Close()) })
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// prepared is a node after Prepare.
func (v volume) prepared() *Node {
	v.t.Helper()
	n := v.open()
	_, err := n.Prepare(v.t.Context())
	must(v.t, err)
	return n
}

func measure(t *testing.T, n *Node) (Measured, transfer.Source) {
	t.Helper()
	m, err := n.Measure(t.Context())
	must(t, err)
	s, err := n.Source(m.Cut, testKey)
	must(t, err)
	return m, s
}

// copied reads all of a source; what reads short has the text of the error.
func copied(t *testing.T, s transfer.Source) map[string]string {
	t.Helper()
	metas, err := s.Files(t.Context())
	must(t, err)
	all := map[string]string{}
	for i, m := range metas {
		text, err := readFile(t, s, i)
		if err != nil {
			text = "! " + err.Error()
		}
		all[m.Path] = text
	}
	return all
}

func readFile(t *testing.T, s transfer.Source, i int) (string, error) {
	t.Helper()
	plain, err := zstd.NewReader(nil)
	must(t, err)
	defer plain.Close()
	var all bytes.Buffer
	err = s.Read(t.Context(), i, 0, func(f transfer.Frame) error {
		b, err := plain.DecodeAll(f.Data, nil)
		if err != nil {
			return err
		}
		if int64(len(b)) != f.Length || testKey.IDOf(b) != f.ID {
			t.Errorf("a chunk of %d bytes says that it has %d, and its ID is %v", len(b), f.Length, f.ID)
		}
		all.Write(b)
		return nil
	})
	return all.String(), err
}

func want(t *testing.T, got map[string]string, path, text string) {
	t.Helper()
	if g, there := got[path]; !there {
		t.Errorf("%s is not copied", path)
	} else if g != text {
		t.Errorf("%s has %.60q, want %.60q", path, g, text)
	}
}

func wantNot(t *testing.T, got map[string]string, path string) {
	t.Helper()
	if g, there := got[path]; there {
		t.Errorf("%s is copied: %.60q", path, g)
	}
}

func sys(info os.FileInfo) *unix.Stat_t {
	s := info.Sys().(*syscall.Stat_t) //nolint:errcheck,forcetypeassert // what it is on Linux
	return &unix.Stat_t{Mtim: unix.Timespec(s.Mtim), Ctim: unix.Timespec(s.Ctim)}
}
