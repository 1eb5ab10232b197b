package e2e

import (
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
)

// onDisk is a storage class without any snapshots, whose volumes are directories of the
// node's own disk, as on k3s.
const onDisk = "local-path"

func onLocalPath(c *harness.Cluster, t *testing.T) func(*cht.Options) {
	t.Helper()
	if !c.Local {
		t.Skip("needs a storage class local-path, which the testbed has")
	}
	return func(o *cht.Options) { o.StorageClass = onDisk }
}

// TestFilesOutOfTheBox backs up volumes that nothing can snapshot, with nothing asked
// for: their files are copied into the catalog, and the next time what is new of them.
func TestFilesOutOfTheBox(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 8*time.Minute)
	o := deployed(ctx, t, c, 3, onLocalPath(c, t))
	writer := writing(ctx, t, c, o.Namespace, "writer", "--rate", "30", "--user-dbs", "0")
	first := c.Backup(t, o.Namespace, "first", api.BackupSpec{}, backupWithin)
	if s := first.Status; s.QuiesceMode != api.QuiescePause || s.Consistency != api.Consistent || len(s.Volumes) != 3 {
		t.Errorf("%s by %s, %d volumes", s.Consistency, s.QuiesceMode, len(s.Volumes))
	}
	for _, v := range first.Status.Volumes {
		if f := v.File; v.Method != api.MethodFile || f == nil || !f.Complete || f.Tree == "" || f.Files == 0 || f.Size.Value() == 0 || f.Sent.Value() == 0 {
			t.Errorf("%s: method %s, %+v", v.Node, v.Method, f)
		}
	}
	nothingLeft(ctx, t, c, o.Namespace, first)
	stopped(ctx, t, writer)
	second := c.Backup(t, o.Namespace, "second", api.BackupSpec{}, backupWithin)
	for i, v := range second.Status.Volumes {
		before := first.Status.Volumes[i].File
		if v.File.Repository != before.Repository || v.File.Tree == before.Tree || v.File.Sent.Value() >= before.Sent.Value()/2 {
			t.Errorf("%s: first %+v, then %+v", v.Node, before, v.File)
		}
	}
	t.Logf("writes were held for %d and %d ms; %s, then %s were sent by the first node", *first.Status.StallMilliseconds, *second.Status.StallMilliseconds,
		first.Status.Volumes[0].File.Sent, second.Status.Volumes[0].File.Sent)
	deleteBackup(ctx, t, c, first)
	deleteBackup(ctx, t, c, second)
	nothingLeft(ctx, t, c, o.Namespace, nil)
}
