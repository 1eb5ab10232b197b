package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/harness"
)

// Snapshots as bad storage leaves them: nothing says so but their content.

// snapshotImage is the file in which the testbed's driver keeps a node's snapshot.
func snapshotImage(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup, node int) string {
	t.Helper()
	record, err := records(c).Get(ctx, b.Status.Record)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(filepath.Dir(c.Kubeconfig), "pool", record.Nodes[node].Driver, "snapshots", record.Nodes[node].SnapshotHandle+".img")
	if _, err := os.Stat(image); err != nil {
		t.Fatalf("the snapshot of %s: %v", record.Nodes[node].Service, err)
	}
	return image
}

// damaged mounts the snapshot of a node's volume and lets change alter what is in it.
func damaged(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup, node int, change func(data string)) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.CommandContext(ctx, "mount", "-o", "loop", snapshotImage(ctx, t, c, b, node), dir).CombinedOutput(); err != nil {
		t.Fatalf("mount a snapshot: %v: %s", err, out)
	}
	defer func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("unmount a snapshot: %v: %s", err, out)
		}
	}()
	change(filepath.Join(dir, "data"))
}

// exchanged swaps the snapshots of two nodes.
func exchanged(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup, one, other int) {
	t.Helper()
	if err := unix.Renameat2(unix.AT_FDCWD, snapshotImage(ctx, t, c, b, one), unix.AT_FDCWD, snapshotImage(ctx, t, c, b, other), unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
}

// largestShard is the file of a database's largest shard on a volume.
func largestShard(t *testing.T, data, database string) (file string, size int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "shards", "*", database+".[0-9]*.couch"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && info.Size() > size {
			file, size = f, info.Size()
		}
	}
	if file == "" {
		t.Fatalf("no shard of %s in %s", database, data)
	}
	return file, size
}

// cutShort cuts a file in its middle.
func cutShort(t *testing.T, file string, size int64) {
	t.Helper()
	if err := os.Truncate(file, size/2); err != nil {
		t.Fatal(err)
	}
}

// rewritten makes a database of one shard whose documents were written small, and
// then again, larger: the second half of its file holds nothing but new revisions.
func rewritten(ctx context.Context, t *testing.T, admin *couch.Client, database string) {
	t.Helper()
	if err := admin.Do(ctx, http.MethodPut, "/"+database+"?q=1", nil, nil); err != nil {
		t.Fatal(err)
	}
	revs := map[string]string{}
	for range 2 {
		var docs []map[string]any
		for i := range 50 {
			doc := map[string]any{"_id": fmt.Sprintf("doc-%02d", i)}
			if rev := revs[fmt.Sprint(doc["_id"])]; rev != "" {
				noise := make([]byte, 4096) // that nothing compresses
				_, _ = rand.Read(noise)
				doc["_rev"], doc["text"] = rev, hex.EncodeToString(noise)
			}
			docs = append(docs, doc)
		}
		var said []struct{ ID, Rev string }
		if err := admin.Do(ctx, http.MethodPost, "/"+database+"/_bulk_docs", map[string]any{"docs": docs}, &said); err != nil {
			t.Fatal(err)
		}
		for _, one := range said {
			revs[one.ID] = one.Rev
		}
	}
}
