package contract

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/medic/cht-backup/integration/couchdb/loopback"
)

// patience bounds every wait. It is no statement about speed.
const patience = 120 * time.Second

func TestMain(m *testing.M) {
	loopback.Run() // where this test binary runs as the stand-in
	os.Exit(m.Run())
}

var (
	user     = envOr("COUCHDB_USER", "medic")
	password = envOr("COUCHDB_PASSWORD", "pass;word")
	pool     = newPool()
)

func envOr(key, def string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return def
}

// hostPool hands out addresses; one given back is used again.
type hostPool struct {
	mu   sync.Mutex
	free []string
}

func newPool() *hostPool {
	if v := os.Getenv("COUCHDB_LAUNCH_HOSTS"); v != "" {
		return &hostPool{free: strings.Split(v, ",")}
	}
	hosts, _ := loopback.Hosts(120) // fails only for a script's hosts
	return &hostPool{free: hosts}
}

func (p *hostPool) take(t *testing.T, n int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < n {
		t.Skipf("needs %d more hosts, %d are left of COUCHDB_LAUNCH_HOSTS", n, len(p.free))
	}
	got := slices.Clone(p.free[:n])
	p.free = p.free[n:]
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free = append(p.free, got...)
	})
	return got
}

// cluster is a CouchDB under test.
type cluster struct {
	t     *testing.T
	hosts []string // nil for a cluster that was given
	dirs  []string
	urls  []string
	env   []string
	pids  []int // beam.smp of each node
	procs []*exec.Cmd
}

// volumes makes empty node directories.
func volumes(t *testing.T, n int) []string {
	var dirs []string
	root := t.TempDir()
	for i := range n {
		dir := filepath.Join(root, strconv.Itoa(i+1))
		for _, sub := range []string{"data", "etc/local.d"} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// launch starts nodes on the given hosts and volumes and waits until each
// answers; what they answer is the cases' business.
func launch(t *testing.T, hosts, dirs []string, env ...string) *cluster {
	c := &cluster{t: t, hosts: hosts, dirs: dirs, env: env, pids: make([]int, len(hosts)), procs: make([]*exec.Cmd, len(hosts))}
	for _, h := range hosts {
		c.urls = append(c.urls, "http://"+h+":5984")
	}
	t.Cleanup(c.stop)
	var wg sync.WaitGroup
	for i := range hosts {
		wg.Go(func() { c.startNode(i) })
	}
	wg.Wait()
	for i := range hosts {
		c.waitNode(i)
	}
	return c
}

func (c *cluster) waitNode(i int) {
	c.t.Helper()
	c.eventually("node "+c.hosts[i]+" answers", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		status, _, err := try(ctx, "GET", c.urls[i]+"/", "", nil)
		return err == nil && status == 200
	})
	if c.pids[i] == 0 {
		c.pids[i] = child(c.t, c.procs[i].Process.Pid)
	}
}

func (c *cluster) startNode(i int) {
	env := loopback.Environment(c.hosts, i, user, password)
	env = append(env, c.env...)
	if script := os.Getenv("COUCHDB_LAUNCH"); script != "" {
		cmd := exec.Command(script, "start", c.hosts[i], c.dirs[i])
		cmd.Env = env
		out, err := cmd.Output()
		if err != nil {
			c.t.Errorf("%s start %s: %v", script, c.hosts[i], err)
			return
		}
		c.pids[i], err = strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			c.t.Errorf("%s start %s printed %q, not a pid", script, c.hosts[i], out)
		}
		return
	}
	exe, err := os.Executable()
	if err != nil {
		c.t.Error(err)
		return
	}
	log, err := os.Create(filepath.Join(c.dirs[i], "log"))
	if err != nil {
		c.t.Error(err)
		return
	}
	defer log.Close() //nolint:errcheck // the process has its own
	cmd := exec.Command(exe)
	cmd.Env = append(env, loopback.StandIn(c.hosts[i], c.dirs[i])...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Error(err)
		return
	}
	c.procs[i], c.pids[i] = cmd, 0
}

func child(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tasks {
		if b, err := os.ReadFile(f); err == nil && len(strings.Fields(string(b))) > 0 {
			n, err := strconv.Atoi(strings.Fields(string(b))[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("process %d has no child", pid)
	return 0
}

// stopNode kills a node, as a lost machine would be.
func (c *cluster) stopNode(i int) {
	if script := os.Getenv("COUCHDB_LAUNCH"); script != "" {
		if err := exec.Command(script, "stop", c.hosts[i], c.dirs[i]).Run(); err != nil {
			c.t.Errorf("%s stop %s: %v", script, c.hosts[i], err)
		}
		return
	}
	if c.procs[i] == nil {
		return
	}
	if c.pids[i] == 0 {
		_ = c.procs[i].Process.Kill() // its child dies with it
	} else {
		_ = syscall.Kill(c.pids[i], syscall.SIGKILL) // process 1 ends with its VM
	}
	_ = c.procs[i].Wait() // killed: the status says nothing new
	c.procs[i] = nil
}

func (c *cluster) stop() {
	for i := range c.hosts {
		if c.pids[i] != 0 && c.procs[i] != nil || os.Getenv("COUCHDB_LAUNCH") != "" {
			c.stopNode(i)
		}
	}
	c.hosts = nil
}

func (c *cluster) restartNode(i int) {
	c.t.Helper()
	c.stopNode(i)
	c.startNode(i)
	c.waitNode(i)
}

func names(hosts []string) []string {
	var out []string
	for _, h := range hosts {
		out = append(out, "couchdb@"+h)
	}
	slices.Sort(out)
	return out
}

// newCluster starts n fresh nodes and waits until their start script is done.
func newCluster(t *testing.T, n int, env ...string) *cluster {
	t.Helper()
	c := launch(t, pool.take(t, n), volumes(t, n), env...)
	c.waitReady()
	return c
}

func (c *cluster) waitReady() {
	c.t.Helper()
	if len(c.hosts) > 1 {
		c.waitMembers()
	}
	c.eventually("system databases exist everywhere", func() bool {
		for i := range c.urls {
			if status, _ := c.call(i, "GET", "/_global_changes", nil); status != 200 {
				return false
			}
		}
		return true
	})
}

type membership struct {
	All     []string `json:"all_nodes"`
	Cluster []string `json:"cluster_nodes"`
}

func (c *cluster) membership(i int) (m membership) {
	c.t.Helper()
	c.get(i, "/_membership", &m)
	slices.Sort(m.All)
	slices.Sort(m.Cluster)
	return m
}

func (c *cluster) waitMembers() {
	c.t.Helper()
	want := names(c.hosts)
	c.eventually("all nodes are members and connected", func() bool {
		for i := range c.urls {
			if m := c.membership(i); !slices.Equal(m.All, want) || !slices.Equal(m.Cluster, want) {
				return false
			}
		}
		return true
	})
}

// eventually waits for a state that nothing announces.
func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	c.t.Fatalf("waited in vain: %s", what)
}

// with makes failures count for a subtest.
func (c *cluster) with(t *testing.T) *cluster {
	d := *c
	d.t = t
	return &d
}
