package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/couchdb/loopback"
	"github.com/medic/cht-backup/integration/harness"
)

// TestComposeMove backs up a CHT whose two CouchDB nodes are processes of this machine,
// as those of Docker Compose are, while it is written to; moves it into the cluster by one
// command; judges it by the writer's log; and has Helm take it over.
func TestComposeMove(t *testing.T) {
	t.Parallel()
	composeMove(t, 2, true)
}

// TestComposeMoveOfOneNode does that with a project of one CouchDB, which is a cluster of
// its own and is called so.
func TestComposeMoveOfOneNode(t *testing.T) {
	t.Parallel()
	composeMove(t, 1, false)
}

// composeMove moves a project of so many nodes, which Helm takes over then or not.
func composeMove(t *testing.T, nodes int, takeover bool) {
	c := suite.Cluster(t)
	onLocalPath(c, t)
	ctx := bounded(t, 8*time.Minute)
	target := c.TempNamespace(t, "moved")
	own := *c
	own.Home = target + "-backup"
	install(ctx, t, &own, own.Home, []string{target}, harness.Overlaid(catalogOnDisk(), map[string]any{"namespaces": []any{target}, "namespaceOverride": own.Home}))
	p := newComposed(ctx, t, c, nodes)
	catalog := composeCatalog(ctx, t, &own)
	writes, before, after := p.backUp(ctx, t, catalog)
	handOver(t, catalog)

	values := filepath.Join(p.dir, "values-of-ours.yaml")
	ours := c.CHTValues()
	for _, not := range []string{"cht-backup", "images", "nginx"} {
		delete(ours, not)
	}
	text, err := yaml.Marshal(harness.Overlaid(ours, map[string]any{"couchdb": map[string]any{"storage": map[string]any{"className": onDisk}}}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(values, text, 0o600); err != nil {
		t.Fatal(err)
	}
	took := filepath.Join(p.dir, "values.yaml")
	args := fmt.Sprintf("restore --from file://%s/demo.compose --to %s --go-live --identity %s --values %s --write-values %s --storage-class %s --claim-size 1Gi --system-namespace %s --name move --yes",
		catalog, target, p.identity, values, took, onDisk, own.Home)
	code, stdout, stderr := built(ctx, t, c).run(ctx, t, args)
	t.Logf("kubectl cht %s\n%s%s", args, stdout, stderr)
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	p.judge(ctx, t, c, target, writes, before, after)
	if !takeover {
		return
	}

	taken := map[string]any{}
	if text, err = os.ReadFile(took); err == nil {
		err = yaml.Unmarshal(text, &taken)
	}
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), p.password) {
		t.Error("the values hold CouchDB's password")
	}
	taken["backup"] = map[string]any{"enabled": false}
	if _, err := c.Helm(target).Install(ctx, "cht", c.ChartFolder("cht"), taken); err != nil {
		t.Fatalf("Helm does not take over what was restored: %v", err)
	}
	p.judge(ctx, t, c, target, writes, before, after)
}

// composed is a Compose project whose CouchDB runs as processes.
type composed struct {
	dir, binary, identity, recipient, password string
	cluster                                    *loopback.Cluster
}

func newComposed(ctx context.Context, t *testing.T, c *harness.Cluster, nodes int) *composed {
	t.Helper()
	p := &composed{dir: t.TempDir()}
	p.binary, p.identity = filepath.Join(p.dir, "cht-backup"), filepath.Join(p.dir, "identity")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", p.binary, "github.com/medic/cht-backup/cmd/cht-backup").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	key, err := age.GenerateX25519Identity()
	if err == nil {
		p.recipient = key.Recipient().String()
		err = os.WriteFile(p.identity, []byte(key.String()+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := loopback.Hosts(3)
	if err != nil {
		t.Fatal(err)
	}
	if nodes == 1 {
		hosts = hosts[2:] // so that it can run beside the test of two
	} else {
		hosts = hosts[:nodes]
	}
	var dirs []string
	couch := ""
	for i := range nodes {
		dirs = append(dirs, filepath.Join(p.dir, fmt.Sprint(i+1)))
		couch += fmt.Sprintf("  %s: {image: %q, volumes: [\"./srv%d:/opt/couchdb/data\"]}\n", composeService(nodes, i), c.Images.CouchDB, i+1)
	}
	if p.cluster, err = loopback.Start(ctx, hosts, dirs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cluster.Stop() })
	p.password = p.cluster.Password
	files := map[string]string{
		"project/.env": fmt.Sprintf("COUCHDB_USER=%s\nCOUCHDB_PASSWORD='%s'\n", p.cluster.User, p.password),
		"project/cht.yml": fmt.Sprintf(`services:
%s  nouveau: {image: %q}
  haproxy: {image: %q}
  healthcheck: {image: %q}
  cht-api: {image: %q}
  cht-sentinel: {image: %q}
`, couch, c.Images.Nouveau, c.Images.HAProxy, c.Images.Healthcheck, c.Images.API, c.Images.Sentinel),
	}
	if err := os.Mkdir(filepath.Join(p.dir, "project"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// composeService is what a node of a project of so many is called in its files.
func composeService(nodes, i int) string {
	if nodes == 1 {
		return "couchdb"
	}
	return fmt.Sprintf("couchdb-%d.local", i+1)
}

// composeCatalog is where on this machine the controller's catalog lies: below its volume.
func composeCatalog(ctx context.Context, t *testing.T, c *harness.Cluster) string {
	t.Helper()
	for {
		var claims corev1.PersistentVolumeClaimList
		if err := c.Client.List(ctx, &claims, client.InNamespace(c.Home)); err != nil {
			t.Fatal(err)
		}
		for _, claim := range claims.Items {
			var pv corev1.PersistentVolume
			if claim.Spec.VolumeName == "" || c.Client.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &pv) != nil {
				continue
			}
			if pv.Spec.HostPath != nil {
				return filepath.Join(pv.Spec.HostPath.Path, "catalog")
			}
			if pv.Spec.Local != nil {
				return filepath.Join(pv.Spec.Local.Path, "catalog")
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the controller in %s has no volume for its catalog", c.Home)
		case <-time.After(200 * time.Millisecond): // it is made once its pod is placed
		}
	}
}

// backUp writes, and takes a backup meanwhile by the command an operator gives.
func (p *composed) backUp(ctx context.Context, t *testing.T, catalog string) (writes []load.Write, before, after time.Time) {
	t.Helper()
	api := p.cluster.Client(0, http.DefaultTransport)
	if err := load.Seed(ctx, api, load.SeedOptions{Docs: 200, Users: 1, UserDocs: 5, Attachments: 0.05, Deleted: 0.03, Checkpoints: 1, Parallel: 4}); err != nil {
		t.Fatal(err)
	}
	writing, stop := context.WithCancel(ctx)
	defer stop()
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		ended <- load.Writer(writing, api, load.WriterOptions{Workers: 4, Rate: 40, Databases: []string{"medic", "medic-logs"}, Updates: 0.3, Type: "report", Prefix: "w", Size: 300}, &out)
	}()
	time.Sleep(2 * time.Second) // of load before the backup
	args := []string{"compose", "backup", "--project", filepath.Join(p.dir, "project"), "--instance", "demo", "--catalog", "file://" + catalog, "--recipients", p.recipient, "--state", filepath.Join(p.dir, "state"), "--keep-last", "2"}
	for i, host := range p.cluster.Hosts {
		dir := p.cluster.Dirs[i]
		args = append(args, "--node", fmt.Sprintf("%s=%d,url=%s,data=%s,config=%s", composeService(len(p.cluster.Hosts), i), vmOn(t, host), p.cluster.URLs[i], filepath.Join(dir, "data"), filepath.Join(dir, "etc", "local.d")))
	}
	before = time.Now()
	said, err := exec.CommandContext(ctx, p.binary, args...).CombinedOutput()
	after = time.Now()
	t.Logf("cht-backup compose backup\n%s", said)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // of load after it
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		var l load.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Write != nil {
			writes = append(writes, *l.Write)
		}
	}
	return writes, before, after
}

// vmOn gives the Erlang VM of a loopback node.
func vmOn(t *testing.T, host string) int {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		dir := filepath.Dir(path)
		comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
		environment, _ := os.ReadFile(path)
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "%d", &pid); err == nil && string(comm) == "beam.smp\n" && bytes.Contains(environment, []byte("COUCHDB_STANDIN_BIND="+host+"\x00")) {
			return pid
		}
	}
	t.Fatalf("no CouchDB runs on %s", host)
	return 0
}

// handOver gives what root wrote into the catalog to the controller's user: in a bucket
// there are no owners.
func handOver(t *testing.T, folder string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, controllerUser, controllerUser)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// judge compares what was moved with the writer's log.
func (p *composed) judge(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string, writes []load.Write, before, after time.Time) {
	t.Helper()
	d, err := c.Dump(ctx, namespace, "", "")
	if err != nil {
		t.Fatal(err)
	}
	v := load.CheckWrites(d, writes, before, after)
	if t.Log(v); !v.Good() {
		t.Error("what was moved is not what was written")
	}
}
