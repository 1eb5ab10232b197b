package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
)

// onDisk is a storage class without any snapshots, whose volumes are directories of the
// node's own disk, as on k3s.
const onDisk = "local-path"

// catalogOnDisk are values of the controller's chart by which its catalog lies on such a
// volume, where a test finds it.
func catalogOnDisk() map[string]any {
	return map[string]any{"controller": map[string]any{"catalog": map[string]any{"url": "", "volume": map[string]any{"storageClass": onDisk}}}}
}

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

// TestFilesBesideSnapshots copies the files in the cut of CSI snapshots, where the hold
// is a freeze.
func TestFilesBesideSnapshots(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 8*time.Minute)
	o := deployed(ctx, t, c, 3, nil)
	b := guardedBackup(t, c, o.Namespace, "both", api.BackupSpec{File: &api.FilePolicy{Copy: true}})
	if !meta.IsStatusConditionTrue(b.Status.Conditions, api.ConditionFileCopied) || b.Status.QuiesceMode != api.QuiesceFreeze {
		t.Errorf("by %s, %+v", b.Status.QuiesceMode, meta.FindStatusCondition(b.Status.Conditions, api.ConditionFileCopied))
	}
	for _, v := range b.Status.Volumes {
		if v.Method != api.MethodCSI || v.Handle == "" || !v.Ready || v.File == nil || !v.File.Complete || v.File.Tree == "" {
			t.Errorf("%+v %+v", v, v.File)
		}
	}
	nothingLeft(ctx, t, c, o.Namespace, b)
	deleteBackup(ctx, t, c, b)
}

// TestFilesCausality is TestCausality for copies of files, while every database is
// compacted and others come and go (E2E_FILE_BACKUPS for another number than 3).
func TestFilesCausality(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	backups := 3
	if n, err := strconv.Atoi(os.Getenv("E2E_FILE_BACKUPS")); err == nil {
		backups = n
	}
	ctx := bounded(t, time.Duration(9+2*backups)*time.Minute)
	o := deployed(ctx, t, c, 3, onLocalPath(c, t))
	stir(ctx, t, c, o)
	straddled, pairs, stalls := 0, 0, []int64(nil)
	for i := range backups {
		b, wrote := causalBackup(t, c, o, fmt.Sprintf("f%d", i), api.BackupSpec{})
		if m := b.Status.Volumes[0].Method; m != api.MethodFile || b.Status.QuiesceMode != api.QuiescePause {
			t.Fatalf("by %s and %s", m, b.Status.QuiesceMode)
		}
		stalls = append(stalls, *b.Status.StallMilliseconds)
		v := causalCopy(t, c, o, b, wrote)
		if len(v.Violations) > 0 {
			t.Errorf("copy %d: %d pairs out of order, the first: %s", i, len(v.Violations), v.Violations[0])
		}
		if pairs += v.Both; v.Straddles() {
			straddled++
		}
	}
	t.Logf("%d backups, %d of them cut among the pairs, %d pairs whole, in all; writes were held for %v ms", backups, straddled, pairs, stalls)
	if straddled < (backups+1)/2 {
		t.Errorf("only %d of %d copies lie among the pairs: the others prove nothing", straddled, backups)
	}
}

// stir compacts the databases of a CHT over and over, and makes and deletes others, until
// the test ends.
func stir(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan int)
	transport := c.Transport()
	call := func(method, path string) int {
		r, err := http.NewRequestWithContext(ctx, method, "http://"+o.Servers()[0]+":5984"+path, nil)
		if err != nil {
			return 0
		}
		r.SetBasicAuth(o.User, o.Password)
		r.Header.Set("Content-Type", "application/json")
		answer, err := transport.RoundTrip(r)
		if err != nil {
			return 0
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	go func() {
		done := 0
		for i := 0; ctx.Err() == nil; i++ {
			for _, db := range []string{"medic", "medic-sentinel", "_users"} {
				if call(http.MethodPost, "/"+db+"/_compact") == http.StatusAccepted {
					done++
				}
			}
			passing := fmt.Sprintf("/passing-%d", i)
			call(http.MethodPut, passing)
			if i > 2 {
				call(http.MethodDelete, fmt.Sprintf("/passing-%d", i-3))
			}
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
		over <- done
	}()
	t.Cleanup(func() {
		cancel()
		if done := <-over; done == 0 {
			t.Error("nothing was compacted meanwhile")
		}
	})
}
