package contract

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// copyVolumes copies node directories; who wants one cut pauses the nodes first.
func copyVolumes(t *testing.T, dirs []string) []string {
	t.Helper()
	out := volumes(t, len(dirs))
	for i, dir := range dirs {
		for _, sub := range []string{"data", "etc"} {
			if b, err := exec.Command("cp", "-a", filepath.Join(dir, sub), out[i]).CombinedOutput(); err != nil {
				t.Fatalf("copy %s: %v %s", dir, err, b)
			}
		}
	}
	return out
}

// pause stops every VM until all threads are seen stopped, runs cut, goes on.
func (c *cluster) pause(cut func()) {
	c.t.Helper()
	defer func() {
		for _, pid := range c.pids {
			if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
				c.t.Error(err)
			}
		}
	}()
	for _, pid := range c.pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, pid := range c.pids {
		c.eventually(fmt.Sprintf("all threads of %d are stopped", pid), func() bool { return stopped(c.t, pid) })
	}
	cut()
	for _, pid := range c.pids {
		if !stopped(c.t, pid) {
			c.t.Errorf("process %d went on during the cut", pid)
		}
	}
}

func stopped(t *testing.T, pid int) bool {
	t.Helper()
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(stats) == 0 {
		t.Fatalf("no threads of %d: %v", pid, err)
	}
	for _, s := range stats {
		raw, err := os.ReadFile(s)
		if err != nil {
			return false
		}
		after := raw[bytes.LastIndexByte(raw, ')')+1:]
		if f := bytes.Fields(after); len(f) == 0 || string(f[0]) != "T" {
			return false
		}
	}
	return true
}

// revisions reads id to rev of a database through one node.
func (c *cluster) revisions(i int, db string) map[string]string {
	c.t.Helper()
	var all struct {
		Rows []struct {
			ID    string
			Value struct{ Rev string }
		}
	}
	c.get(i, "/"+db+"/_all_docs", &all)
	out := map[string]string{}
	for _, r := range all.Rows {
		out[r.ID] = r.Value.Rev
	}
	return out
}

func (c *cluster) seed(db string, n int) {
	c.t.Helper()
	c.want(201, 0, "PUT", "/"+db, nil)
	var docs []map[string]any
	for i := range n {
		docs = append(docs, map[string]any{"_id": fmt.Sprintf("s%04d", i), "n": i})
	}
	c.want(201, 0, "POST", "/"+db+"/_bulk_docs", map[string]any{"docs": docs})
}

// writer writes through all nodes until stopped, and knows what was acknowledged.
type writer struct {
	acked  sync.Map
	n      atomic.Int64
	failed atomic.Pointer[string]
	stop   func()
}

func (c *cluster) write(db string, parallel int) *writer {
	w := &writer{}
	var ending atomic.Bool
	var wg sync.WaitGroup
	for k := range parallel {
		wg.Go(func() {
			for i := 0; !ending.Load(); i++ {
				id := fmt.Sprintf("w%d-%d", k, i)
				status, out, err := try(c.t.Context(), "PUT", c.urls[(k+i)%len(c.urls)]+"/"+db+"/"+id, "", `{"w":true}`)
				if err != nil || status != 201 {
					s := fmt.Sprintf("PUT %s: %d %s %v", id, status, out, err)
					w.failed.Store(&s)
					return
				}
				w.acked.Store(id, rev(string(out)))
				w.n.Add(1)
			}
		})
	}
	w.stop = func() {
		ending.Store(true)
		wg.Wait()
		if s := w.failed.Load(); s != nil {
			c.t.Errorf("a request failed: %s", *s)
		}
	}
	return w
}

func (w *writer) sofar() map[string]string {
	out := map[string]string{}
	w.acked.Range(func(k, v any) bool {
		out[k.(string)] = v.(string)
		return true
	})
	return out
}

func (c *cluster) has(db string, want map[string]string) {
	c.t.Helper()
	got := c.revisions(0, db)
	missing := 0
	for id, r := range want {
		if got[id] != r {
			missing++
		}
	}
	if missing > 0 || len(want) == 0 {
		c.t.Errorf("%d of %d acknowledged writes are missing", missing, len(want))
	}
}

func files(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := e.Info()
		if err == nil {
			out[path] = st.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
