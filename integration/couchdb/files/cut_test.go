package files

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/medic/cht-backup/integration/couchdb/loopback"
	"github.com/medic/cht-backup/snapshot/file/link"
	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

func TestMain(m *testing.M) {
	loopback.Run()
	os.Exit(m.Run())
}

const nodes = 3

var hashKey = tree.HashKey{1}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestCut: all that was acknowledged before the stop is in the copy, nothing that was
// sent after it, and its views have the rows of its documents.
func TestCut(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("files get their owner back: only root can do that")
	}
	hosts, err := loopback.Hosts(nodes)
	must(t, err)
	source, copied := dirs(t), dirs(t)
	c, err := loopback.Start(t.Context(), hosts, source)
	must(t, err)
	t.Cleanup(func() { _ = c.Stop() })
	l := begin(t, c)
	l.await(t, 100)
	copiers := make([]*link.Copier, nodes)
	for i := range copiers {
		copiers[i] = copier(t, source[i])
	}
	before, after, measured := cut(t, c, l, copiers)
	l.await(t, 100) // and compactions, and databases that come and go
	for i := range copiers {
		move(t, copiers[i].Source(measured[i].Cut, hashKey), copied[i])
	}
	l.end()
	for _, f := range l.failed {
		t.Errorf("a request failed: %s", f)
	}
	must(t, c.Stop())
	c, err = loopback.Start(t.Context(), hosts, copied)
	must(t, err)
	defer func() { _ = c.Stop() }()
	found := map[string]bool{}
	for i, db := range databases {
		docs, rows := documents(t, c, i%nodes, db)
		if len(docs) != len(rows) {
			t.Errorf("%s has %d documents, and its view %d rows", db, len(docs), len(rows))
		}
		for id := range docs {
			found[id] = true
			if !rows[id] {
				t.Errorf("the view has no row of %s", id)
			}
		}
	}
	missing, late := 0, 0
	for id := range before {
		if !found[id] {
			missing++
		}
	}
	for id := range l.acked {
		if found[id] && !after[id] {
			late++
		}
	}
	t.Logf("%s: %d documents acknowledged before the stop, %d of them missing; %d that were acknowledged after it are there",
		c.Kind, len(before), missing, late)
	// Those on their way at the stop may be in the copy: one of each writer.
	if missing > 0 || late > 4 {
		t.Errorf("%d are missing, %d are too many", missing, late)
	}
}

// dirs are volumes for nodes.
func dirs(t *testing.T) (all []string) {
	root := t.TempDir()
	for i := range nodes {
		dir := filepath.Join(root, fmt.Sprint(i))
		must(t, os.MkdirAll(dir, 0o755))
		all = append(all, dir)
	}
	return all
}

func layout(dir string) node.Layout {
	return node.Layout{Volume: dir, Data: "data", Config: "etc/local.d", HasConfig: true}
}

// serve runs a server that a Peer reaches.
func serve(t *testing.T, run func(context.Context, link.ServeOptions) error) link.Peer {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "admit.sock")
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		ended <- run(ctx, link.ServeOptions{Address: "127.0.0.1:0", Socket: socket, Idle: 5 * time.Minute})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("a server ended with %v", err)
		}
	})
	return link.Peer{Name: "node", IP: "127.0.0.1", Exec: func(ctx context.Context, _ []string, in io.Reader, out io.Writer) error {
		return link.Admit(ctx, socket, in, out)
	}}
}

func copier(t *testing.T, dir string) *link.Copier {
	t.Helper()
	n, err := node.Open(layout(dir))
	must(t, err)
	c, err := link.DialCopier(t.Context(), serve(t, func(ctx context.Context, o link.ServeOptions) error { return link.ServeCopier(ctx, n, o) }))
	must(t, err)
	for range 2 {
		s, err := c.Prepare(t.Context())
		must(t, err)
		t.Logf("%d files in %d directories in %v; left are %v", s.Files, s.Directories, s.Took, s.Left.Names)
	}
	return c
}

// cut stops all VMs, measures, and lets them go on. It gives what was acknowledged before
// the stop, and what was when they went on.
func cut(t *testing.T, c *loopback.Cluster, l *load, copiers []*link.Copier) (before, after map[string]bool, measured []node.Measured) {
	t.Helper()
	var pids []int
	for _, dir := range c.Dirs {
		pids = append(pids, vm(t, dir))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	began := time.Now()
	release := sync.OnceFunc(func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	})
	defer release()
	before = l.sofar()
	for _, pid := range pids {
		must(t, syscall.Kill(pid, syscall.SIGSTOP))
	}
	for _, pid := range pids {
		for !stopped(pid) {
			if ctx.Err() != nil {
				t.Fatal("a VM does not stop")
			}
			time.Sleep(time.Millisecond)
		}
	}
	held := time.Since(began)
	measured = make([]node.Measured, len(copiers))
	var all errgroup.Group
	for i, c := range copiers {
		all.Go(func() (err error) {
			measured[i], err = c.Measure(ctx)
			return err
		})
	}
	err := all.Wait()
	after = l.sofar()
	stall := time.Since(began)
	release()
	must(t, err)
	t.Logf("all stopped after %v, held for %v; measured in %v, %v, %v", held, stall, measured[0].Took, measured[1].Took, measured[2].Took)
	return before, after, measured
}

// vm is the process of the node whose volume that is.
func vm(t *testing.T, dir string) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/comm")
	must(t, err)
	for _, path := range all {
		if comm, _ := os.ReadFile(path); string(comm) != "beam.smp\n" {
			continue
		}
		env, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		for _, v := range strings.Split(string(env), "\x00") {
			if v == "NODE_DIR="+dir || v == "COUCHDB_STANDIN_ROOT="+dir {
				var pid int
				_, err := fmt.Sscan(filepath.Base(filepath.Dir(path)), &pid)
				must(t, err)
				return pid
			}
		}
	}
	t.Fatalf("no VM runs on %s", dir)
	return 0
}

// stopped tells that every thread of a process is.
func stopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if i := strings.LastIndexByte(string(b), ')'); err == nil && (i < 0 || b[i+2] != 'T') {
			return false
		}
	}
	return len(threads) > 0
}

// move fills a volume with a source's files, a chunk at a time.
func move(t *testing.T, s transfer.Source, dir string) {
	t.Helper()
	ctx := t.Context()
	filling, err := node.Fill(layout(dir), "tree")
	must(t, err)
	f, err := link.DialFiller(ctx, serve(t, func(ctx context.Context, o link.ServeOptions) error { return link.ServeFiller(ctx, filling, o) }))
	must(t, err)
	files, err := s.Files(ctx)
	must(t, err)
	_, err = f.Begin(ctx, files, hashKey)
	must(t, err)
	for i, m := range files {
		frames, errs := make(chan transfer.Frame), make(chan error, 1)
		go func() {
			errs <- s.Read(ctx, i, 0, func(fr transfer.Frame) error { frames <- fr; return nil })
			close(frames)
		}()
		err := f.Put(ctx, i, func() (transfer.Frame, error) {
			if fr, more := <-frames; more {
				return fr, nil
			}
			if err := <-errs; err != nil {
				return transfer.Frame{}, err
			}
			return transfer.Frame{}, io.EOF
		})
		if err != nil {
			t.Fatalf("%s: %v", m.Path, err)
		}
	}
	must(t, f.Finish(ctx))
	must(t, s.Close(ctx))
}
