//go:build linux

package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

var testKey = tree.HashKey{7}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pod is a server in this process, behind an exec that needs no Kubernetes.
type pod struct {
	t      *testing.T
	socket string
	ended  chan error
	stop   context.CancelFunc
}

func start(t *testing.T, serve func(context.Context, ServeOptions) error, idle time.Duration) *pod {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &pod{t, filepath.Join(t.TempDir(), "admit.sock"), make(chan error, 1), cancel}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.ended <- serve(ctx, ServeOptions{Address: "127.0.0.1:0", Socket: p.socket, Idle: idle})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

func (p *pod) exec(ctx context.Context, _ []string, in io.Reader, out io.Writer) error {
	return Admit(ctx, p.socket, in, out)
}

func (p *pod) peer() Peer { return Peer{Name: "couchdb-1 (pod a/b)", Exec: p.exec, IP: "127.0.0.1"} }

func (p *pod) copier() *Copier {
	p.t.Helper()
	c, err := DialCopier(p.t.Context(), p.peer())
	must(p.t, err)
	p.t.Cleanup(c.Close)
	return c
}

func (p *pod) filler() *Filler {
	p.t.Helper()
	f, err := DialFiller(p.t.Context(), p.peer())
	must(p.t, err)
	p.t.Cleanup(f.Close)
	return f
}

// end is how the server ended.
func (p *pod) end() error {
	p.t.Helper()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(30 * time.Second):
		p.t.Fatal("the server does not end")
		return nil
	}
}

const (
	medic = "data/shards/00000000-7fffffff/medic.1.couch"
	view  = "data/.shards/00000000-7fffffff/medic.1_design/mrview/0.view"
)

// claim is a volume with a few files, one of them of many chunks.
func claim(t *testing.T) (dir string, layout node.Layout, big []byte) {
	t.Helper()
	dir = t.TempDir()
	big = make([]byte, 20*node.ChunkSize+5)
	rand.NewChaCha8([32]byte{1}).Read(big) //nolint:errcheck // never fails
	for name, text := range map[string][]byte{medic: big, view: []byte("rows"), "data/_dbs.couch": []byte("dbs"), "local.d/docker.ini": []byte("[admins]\n")} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	return dir, node.Layout{Volume: dir, Data: "data", Config: "local.d", HasConfig: true}, big
}

func startCopier(t *testing.T, idle time.Duration) (p *pod, dir string, big []byte) {
	t.Helper()
	dir, layout, big := claim(t)
	n, err := node.Open(layout)
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	return start(t, func(ctx context.Context, o ServeOptions) error { return ServeCopier(ctx, n, o) }, idle), dir, big
}

func startFiller(t *testing.T, dir string) *pod {
	t.Helper()
	f, err := node.Fill(node.Layout{Volume: dir, Data: "data", Config: "local.d", HasConfig: true}, "tree")
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return start(t, func(ctx context.Context, o ServeOptions) error { return ServeFiller(ctx, f, o) }, time.Minute)
}

// measured is a copier that has measured.
func measured(t *testing.T, c *Copier) (node.Measured, transfer.Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := c.Prepare(ctx)
	must(t, err)
	m, err := c.Measure(ctx)
	must(t, err)
	return m, c.Source(m.Cut, testKey)
}

// number of the file of that path.
func number(t *testing.T, s transfer.Source, path string) int {
	t.Helper()
	files, err := s.Files(t.Context())
	must(t, err)
	for i, f := range files {
		if f.Path == path {
			return i
		}
	}
	t.Fatalf("%s is not among %d files", path, len(files))
	return 0
}

func content(t *testing.T, f transfer.Frame) []byte {
	t.Helper()
	d, err := zstd.NewReader(nil)
	must(t, err)
	defer d.Close()
	b, err := d.DecodeAll(f.Data, nil)
	must(t, err)
	return b
}

// readAll reads a file through a source, and calls each after each chunk.
func readAll(t *testing.T, s transfer.Source, path string, each func(n int)) ([]byte, error) {
	t.Helper()
	var all bytes.Buffer
	n := 0
	err := s.Read(t.Context(), number(t, s, path), 0, func(f transfer.Frame) error {
		all.Write(content(t, f))
		n++
		if each != nil {
			each(n)
		}
		return nil
	})
	return all.Bytes(), err
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}
