package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/couchdb/loopback"
	fill "github.com/medic/cht-backup/restore/compose"
	schedule "github.com/medic/cht-backup/schedule/compose"
	"github.com/medic/cht-backup/schedule/retention"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/compose"
	"github.com/medic/cht-backup/snapshot/compose/pause"
	"github.com/medic/cht-backup/snapshot/compose/project"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

const roleEnv = "COMPOSE_TEST_ROLE"

func TestMain(m *testing.M) {
	loopback.Run()
	if os.Getenv(roleEnv) == "container" {
		beContainer()
	}
	if os.Getenv(roleEnv) == "watch" {
		if err := pause.Watch(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Tests run on other threads than the first, which onMain uses.
	ended := make(chan int)
	go func() { ended <- m.Run() }()
	for {
		select {
		case f := <-onMain:
			f()
		case code := <-ended:
			os.Exit(code)
		}
	}
}

// onMain takes functions to be run on the process's first thread.
var onMain = make(chan func())

func init() {
	runtime.LockOSThread()
}

func watchdog() pause.Watchdog {
	return pause.Watchdog{Command: func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), roleEnv+"=watch")
		return cmd
	}}
}

// vmOf gives the process of the node on a host.
func vmOf(t *testing.T, host string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		environment, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if string(comm) == "beam.smp\n" && (bytes.Contains(args, []byte("couchdb@"+host+"\x00")) || bytes.Contains(environment, []byte("COUCHDB_STANDIN_BIND="+host+"\x00"))) {
			return pid
		}
	}
	t.Fatalf("there is no beam.smp on %s", host)
	return 0
}

// world is a Compose project whose CouchDB runs as processes, and its catalog.
type world struct {
	dir     string
	project project.Project
	cluster *loopback.Cluster
	given   []compose.Given
	bucket  *bucket.Bucket
	repo    *repo.Repository
	key     *age.X25519Identity
}

const namespace = "demo.compose"

func newWorld(t *testing.T, nodes int) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	hosts, err := loopback.Hosts(nodes)
	if err != nil {
		t.Fatal(err)
	}
	text := "services:\n  cht-api: {image: registry.example.org/cht/cht-api:5.1.0}\n"
	var dirs []string
	for i := range nodes {
		dirs = append(dirs, filepath.Join(w.dir, fmt.Sprintf("node-%d", i+1)))
		text += fmt.Sprintf("  %s: {image: 'registry.example.org/cht/cht-couchdb:5.1.0', volumes: ['./srv%d:/opt/couchdb/data']}\n", service(i, nodes), i+1)
	}
	if w.cluster, err = loopback.Start(t.Context(), hosts, dirs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cluster.Stop() })
	files := []project.File{{Path: "cht.yml", Mode: 0o644, Data: []byte(text)}, {Path: ".env", Mode: 0o600, Data: []byte("COUCHDB_USER=" + w.cluster.User + "\nCOUCHDB_PASSWORD='" + w.cluster.Password + "'\n")}}
	if w.project, err = project.Of(w.dir, files, project.Options{Name: "demo"}); err != nil {
		t.Fatal(err)
	}
	for i, host := range hosts {
		w.given = append(w.given, compose.Given{Service: service(i, nodes), PID: vmOf(t, host), URL: w.cluster.URLs[i], Data: filepath.Join(dirs[i], "data"), Config: filepath.Join(dirs[i], "etc", "local.d")})
	}
	if w.key, err = age.GenerateX25519Identity(); err != nil {
		t.Fatal(err)
	}
	if w.bucket, err = bucket.Open(t.Context(), "file://"+filepath.Join(w.dir, "catalog")); err != nil {
		t.Fatal(err)
	}
	if err := w.bucket.Found(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(w.dir, "state")
	unlock, err := compose.Lock(state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
	if _, err := compose.Lock(state); err == nil {
		t.Error("two backups of one project at a time")
	}
	if w.repo, err = compose.Repository(t.Context(), w.bucket, state, []string{w.key.Recipient().String()}, repo.Options{}); err != nil {
		t.Fatal(err)
	}
	return w
}

func service(i, of int) string {
	if of == 1 {
		return "couchdb"
	}
	return fmt.Sprintf("couchdb-%d.local", i+1)
}

func (w *world) client(i int) *couch.Client { return w.cluster.Client(i, http.DefaultTransport) }

func (w *world) backup(t *testing.T, name string) compose.Done {
	t.Helper()
	instance, err := compose.Find(t.Context(), w.project, compose.Looking{Given: w.given})
	if err != nil {
		t.Fatal(err)
	}
	done, err := compose.Backup{Bucket: w.bucket, Repository: w.repo, Namespace: namespace, Name: name, Host: "host-1", Program: "test",
		Recipients: []string{w.key.Recipient().String()}, Guard: watchdog(), MaxStall: pause.Bound, Say: t.Logf}.Take(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// record reads a backup from the catalog, as somebody elsewhere would.
func (w *world) record(t *testing.T, name string) (r catalog.Record) {
	t.Helper()
	_, err := w.bucket.Heads(t.Context(), namespace, func(h bucket.Head) error {
		if h.Name != name {
			return nil
		}
		m, open, err := w.bucket.Record(t.Context(), h)
		if err != nil {
			return err
		}
		secrets, err := w.bucket.Secrets(t.Context(), m, w.key)
		if err != nil {
			return err
		}
		r, err = secrets.Into(open)
		return err
	})
	if err != nil || r.Name != name {
		t.Fatalf("backup %s is not in the catalog: %v", name, err)
	}
	return r
}

// lines are what load tools have printed.
func lines(t *testing.T, out *bytes.Buffer) (writes []load.Write, pairs []load.Pair) {
	t.Helper()
	for line := range strings.Lines(out.String()) {
		var l load.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		switch {
		case l.Write != nil:
			writes = append(writes, *l.Write)
		case l.Pair != nil:
			pairs = append(pairs, *l.Pair)
			writes = append(writes, l.Pair.A)
			if l.Pair.B != nil {
				writes = append(writes, *l.Pair.B)
			}
		}
	}
	return writes, pairs
}

// Backups under load hold what was acknowledged before, nothing that was sent after, and
// no effect without its cause.
func TestBackupUnderLoad(t *testing.T) {
	const nodes, backups = 2, 4
	w := newWorld(t, nodes)
	if err := load.Seed(t.Context(), w.client(0), load.SeedOptions{Docs: 300, Users: 2, UserDocs: 5, Attachments: 0.05, Deleted: 0.03, Checkpoints: 1, Parallel: 4}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var written, paired bytes.Buffer
	ended := make(chan error, 2)
	go func() {
		ended <- load.Writer(ctx, w.client(0), load.WriterOptions{Workers: 4, Rate: 40, Databases: []string{"medic", "medic-logs"}, Updates: 0.3, Type: "report", Prefix: "w", Size: 300}, &written)
	}()
	go func() {
		ended <- load.Causal(ctx, map[string]*couch.Client{w.cluster.Hosts[0]: w.client(0), w.cluster.Hosts[1]: w.client(1)}, load.CausalOptions{Workers: 2, Rate: 20, DB: "medic", Prefix: "c"}, &paired)
	}()
	var done []compose.Done
	for i := range backups {
		time.Sleep(time.Second) // of load
		done = append(done, w.backup(t, fmt.Sprintf("b%d", i)))
	}
	stop()
	for range 2 {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	writes, _ := lines(t, &written)
	others, pairs := lines(t, &paired)
	for _, one := range writes {
		if one.Status >= 500 || one.Status == 0 {
			t.Errorf("a write failed: %+v", one)
		}
	}
	if err := w.cluster.Stop(); err != nil {
		t.Fatal(err)
	}
	for i := range done {
		t.Run(done[i].Record.Name, func(t *testing.T) {
			r := w.record(t, done[i].Record.Name)
			restored := w.restore(t, r, filepath.Join(w.dir, "restored-"+r.Name))
			var dump bytes.Buffer
			if err := load.WriteDump(t.Context(), restored.Client(0, http.DefaultTransport), nil, &dump); err != nil {
				t.Fatal(err)
			}
			d, err := load.ReadDump(&dump)
			if err != nil {
				t.Fatal(err)
			}
			stall := done[i].Stall
			v := load.CheckWrites(d, append(writes, others...), stall.Begin, stall.End)
			if t.Log(v); !v.Good() {
				t.Error("the copy is not what it should be")
			}
			if c := load.CheckPairs(d, pairs); len(c.Violations) > 0 {
				t.Errorf("%d effects without their causes: %s", len(c.Violations), c.Violations[0])
			}
			w.verified(t, restored, r)
			if err := restored.Stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// restore fills fresh directories and starts CouchDB on them.
func (w *world) restore(t *testing.T, r catalog.Record, dir string) *loopback.Cluster {
	t.Helper()
	key, err := repo.UnsealKey(t.Context(), w.bucket.Objects(), r.Nodes[0].File.Repository, w.key)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := repo.Open(t.Context(), w.bucket.Objects(), r.Nodes[0].File.Repository, key, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for i, n := range r.Nodes {
		to := filepath.Join(dir, strconv.Itoa(i+1))
		target := fill.Target{Node: n.Service, Data: filepath.Join(to, "data"), Config: filepath.Join(to, "etc", "local.d")}
		if _, err := fill.Ready([]fill.Target{target}, false, time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := fill.Fill(t.Context(), reader, n, target, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := fill.Ready([]fill.Target{target}, false, time.Now()); err == nil {
			t.Error("a directory that is filled is taken for an empty one")
		}
		dirs = append(dirs, to)
	}
	restored, err := loopback.Start(t.Context(), w.cluster.Hosts, dirs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = restored.Stop() })
	return restored
}

// verified compares with the record as `compose verify` does.
func (w *world) verified(t *testing.T, c *loopback.Cluster, r catalog.Record) {
	t.Helper()
	given := w.given
	for i := range given {
		given[i].PID = vmOf(t, c.Hosts[i])
	}
	instance, err := compose.Find(t.Context(), w.project, compose.Looking{Given: given})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := fill.Verify(t.Context(), instance.Asked(), r, api.VerifySample, func(string) {}); err != nil {
		t.Errorf("%v: %v", err, v.Problems)
	}
}

// What the retention does not keep goes with its files, what another host wrote stays,
// and nothing secret lies open in the catalog.
func TestRetention(t *testing.T) {
	w := newWorld(t, 1)
	for _, name := range []string{"one", "two", "three"} {
		w.backup(t, name)
	}
	retire := schedule.Retire{Bucket: w.bucket, Repository: w.repo, Namespace: namespace, Host: "host-2", Policy: retention.Policy{Last: 1}, Zone: time.UTC, Now: time.Now, Say: t.Logf}
	left := func() (names []string) {
		if _, err := w.bucket.Heads(t.Context(), namespace, func(h bucket.Head) error { names = append(names, h.Name); return nil }); err != nil {
			t.Fatal(err)
		}
		return names
	}
	if _, err := retire.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := left(); len(got) != 3 {
		t.Errorf("another host removed backups: left are %v", got)
	}
	retire.Host = "host-1"
	if _, err := retire.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	trees, err := w.repo.Trees(t.Context())
	if got := left(); err != nil || len(got) != 1 || got[0] != "three" || len(trees) != 1 {
		t.Errorf("left are %v, %d trees, %v", got, len(trees), err)
	}
	report, err := w.repo.Check(t.Context(), true, func(repo.Progress) {})
	if err != nil || len(report.Damaged) > 0 {
		t.Errorf("the repository: %+v %v", report, err)
	}
	if err := bucket.Scan(t.Context(), w.bucket.URL(), []string{w.cluster.Password}); err != nil {
		t.Error(err)
	}
	r := w.record(t, "three")
	files, err := project.Recorded(r, catalog.ComposeFilesSecret)
	if err != nil || len(files) != 2 {
		t.Fatalf("the project's files: %d, %v", len(files), err)
	}
	dir := t.TempDir()
	if written, differing, err := fill.Write(dir, files); err != nil || len(written) != 2 || len(differing) != 0 {
		t.Errorf("written %v, differing %v, %v", written, differing, err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte("MINE=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if written, differing, err := fill.Write(dir, files); err != nil || len(written) != 0 || len(differing) != 1 {
		t.Errorf("again: written %v, differing %v, %v", written, differing, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, ".env")); err != nil || string(text) != "MINE=1\n" {
		t.Errorf("the operator's .env: %q %v", text, err)
	}
}
