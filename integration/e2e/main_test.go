package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/couchdb/loopback"
	"github.com/medic/cht-backup/integration/harness"
)

var suite harness.Suite

func TestMain(m *testing.M) {
	loopback.Run() // TestComposeMove's CouchDB is this very program
	suite.Main(m, true)
}

const (
	backupWithin  = 3 * time.Minute
	restoreWithin = 5 * time.Minute
)

// bounded is the test's context with an end, so that a hang names its place.
func bounded(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// deployed puts a CHT of that many nodes into a fresh namespace; change alters
// its options. Without change it is CouchDB alone.
func deployed(ctx context.Context, t *testing.T, c *harness.Cluster, nodes int, change func(*cht.Options)) cht.Options {
	t.Helper()
	o := cht.Defaults(c.TempNamespace(t, "cht"), c.CHTImages())
	o.Nodes, o.Components = nodes, cht.Components{HAProxy: true, Healthcheck: true}
	if change != nil {
		change(&o)
	}
	if err := c.Deploy(ctx, o); err != nil {
		t.Fatal(err)
	}
	if o.Components.HAProxy {
		seeded(ctx, t, c, o)
	}
	return o
}

// seeded fills a CHT with little, through its HAProxy.
func seeded(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options) {
	t.Helper()
	if err := c.Seed(ctx, o.Namespace, "--docs", "300", "--users", "6"); err != nil {
		t.Fatal(err)
	}
}

func writing(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, tool string, args ...string) *harness.Load {
	t.Helper()
	l, err := c.StartLoad(ctx, namespace, tool, args...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// stopped ends a load and fails unless every request was answered well.
func stopped(ctx context.Context, t *testing.T, l *harness.Load) {
	t.Helper()
	sum, err := l.Stop(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Failed > 0 || sum.Acknowledged == 0 {
		t.Errorf("the writer saw failures: %+v", sum)
	}
}

// allow lets namespaces restore a backup.
func allow(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup, namespaces ...string) {
	t.Helper()
	patch := []byte(`{"spec":{"allowedNamespaces":["` + strings.Join(namespaces, `","`) + `"]}}`)
	if err := c.Client.Patch(ctx, b.DeepCopy(), client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Fatalf("allow %v to restore %s: %v", namespaces, b.Name, err)
	}
}

func sourceOf(b *api.Backup) api.RestoreSpec {
	return api.RestoreSpec{Source: api.BackupReference{Namespace: b.Namespace, Name: b.Name}}
}

// dumped reads every document of a namespace's CouchDB through its first node.
func dumped(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, namespace string) *load.Dump {
	t.Helper()
	o.Namespace = namespace
	d, err := c.Dump(ctx, namespace, "http://"+o.Servers()[0]+":5984", load.Checkpoint(0))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// without drops the documents whose id begins with prefix, and the deleted counts
// and databases that CouchDB itself writes to.
func without(d *load.Dump, prefix string) *load.Dump {
	d = d.Only(func(db string) bool { return db != "_global_changes" && db != "_replicator" })
	docs := map[load.Key]string{}
	for k, rev := range d.Docs {
		if !strings.HasPrefix(k.ID, prefix) {
			docs[k] = rev
		}
	}
	return &load.Dump{Docs: docs, Locals: d.Locals, Deleted: d.Deleted}
}

// nothingLeft fails if a backup that is over left anything but the named.
func nothingLeft(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string, kept *api.Backup) {
	t.Helper()
	var names []string
	if kept != nil {
		for _, v := range kept.Status.Volumes {
			names = append(names, v.Snapshot)
		}
	}
	left, err := c.Leftovers(ctx, namespace, names...)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left behind in %s: %v", namespace, left)
	}
}

// deleteBackup removes a backup with its snapshots, so that a suite of many does
// not fill the disk.
func deleteBackup(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup) {
	t.Helper()
	if err := c.Client.Delete(ctx, b); client.IgnoreNotFound(err) != nil {
		t.Errorf("delete backup %s: %v", b.Name, err)
	}
}

// state reads what must not change in a running source while it is cloned.
func state(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options) string {
	t.Helper()
	var all []string
	for _, server := range o.Servers() {
		out, err := c.ExecTool(ctx, o.Namespace, "get", "--url", "http://"+server+":5984",
			"/_membership", "/_node/_local/_nodes/_all_docs", "/_node/_local/_dbs/_all_docs?include_docs=true")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, out)
	}
	return strings.Join(all, "\n")
}

func nodes(b *api.Backup) []string {
	var names []string
	for _, v := range b.Status.Volumes {
		names = append(names, v.Node)
	}
	slices.Sort(names)
	return names
}

// guardedBackup takes a good backup under a thaw from outside.
func guardedBackup(t *testing.T, c *harness.Cluster, namespace, name string, spec api.BackupSpec) *api.Backup {
	t.Helper()
	if !c.Local {
		return c.Backup(t, namespace, name, spec, backupWithin)
	}
	thaw, err := c.ArmThaw(t, 60*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	b := c.Backup(t, namespace, name, spec, backupWithin)
	if thaw.Disarm() {
		t.Error("the thaw from outside fired")
	}
	return b
}
