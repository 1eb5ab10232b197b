package e2e

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
)

// TestCausality writes to one node only after another has acknowledged, all the
// time, and looks into 20 restored copies (E2E_CAUSAL_BACKUPS for another number)
// for a second write without its first.
func TestCausality(t *testing.T) {
	c := suite.Cluster(t)
	backups := 20
	if n, err := strconv.Atoi(os.Getenv("E2E_CAUSAL_BACKUPS")); err == nil {
		backups = n
	}
	ctx := bounded(t, 40*time.Minute)
	o := deployed(ctx, t, c, 3, nil)
	var mu sync.Mutex
	straddled, pairs := 0, 0
	t.Run("copies", func(t *testing.T) { // the backups one after the other, then their restores two at a time
		for i := range backups {
			quiesce := []api.Quiesce{api.QuiesceFreeze, api.QuiescePause}[i%2]
			b, wrote := causalBackup(t, c, o, fmt.Sprintf("c%d", i), api.BackupSpec{Quiesce: quiesce})
			t.Run(b.Name, func(t *testing.T) {
				t.Parallel()
				v := causalCopy(t, c, o, b, wrote)
				if len(v.Violations) > 0 {
					t.Errorf("%s: %d pairs out of order, the first: %s", quiesce, len(v.Violations), v.Violations[0])
				}
				mu.Lock()
				defer mu.Unlock()
				pairs += v.Both
				if v.Straddles() {
					straddled++
				}
			})
		}
	})
	t.Logf("%d backups, %d of them cut among the pairs, %d pairs whole, in all", backups, straddled, pairs)
	if straddled < backups/2 {
		t.Errorf("only %d of %d copies lie among the pairs: the others prove nothing", straddled, backups)
	}
}

// TestCausalityIsLostWithoutQuiesce is the proof that TestCausality can fail: the
// same with no quiesce, on a driver that cuts one volume after the other.
func TestCausalityIsLostWithoutQuiesce(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("needs the test driver's knob that spreads the cuts")
	}
	ctx := bounded(t, 10*time.Minute)
	o := deployed(ctx, t, c, 3, nil)
	class := c.SnapshotClass(t, map[string]string{"cutStagger": "700ms"})
	for i := range 3 {
		b, wrote := causalBackup(t, c, o, fmt.Sprintf("n%d", i), api.BackupSpec{Quiesce: api.QuiesceNone, VolumeSnapshotClassName: &class})
		v := causalCopy(t, c, o, b, wrote)
		if len(v.Violations) > 0 {
			t.Logf("%d pairs out of order in copy %d, the first: %s", len(v.Violations), i, v.Violations[0])
			return
		}
	}
	t.Error("three copies cut without any quiesce and apart, and not a pair out of order: the test cannot see what it looks for")
}

// causalBackup takes one backup under causal load.
func causalBackup(t *testing.T, c *harness.Cluster, o cht.Options, name string, spec api.BackupSpec) (*api.Backup, []load.Pair) {
	t.Helper()
	ctx := bounded(t, 4*time.Minute)
	writer := writing(ctx, t, c, o.Namespace, "causal", "--rate", "60", "--prefix", name)
	spec.AllowedNamespaces = []string{"*"}
	b := guardedBackup(t, c, o.Namespace, name, spec)
	stopped(ctx, t, writer)
	return b, writer.Pairs()
}

// causalCopy restores a backup, judges the copy, and removes both.
func causalCopy(t *testing.T, c *harness.Cluster, o cht.Options, b *api.Backup, wrote []load.Pair) load.CausalVerdict {
	t.Helper()
	ctx := bounded(t, 8*time.Minute)
	copied := c.TempNamespace(t, "copy")
	source := sourceOf(b)
	source.GoLive = true // there is nothing to isolate, and no probe to wait for
	c.Restore(t, copied, "r", source, restoreWithin)
	v := load.CheckPairs(dumped(ctx, t, c, o, copied), wrote)
	if err := c.DeleteNamespace(ctx, copied); err != nil {
		t.Error(err)
	}
	deleteBackup(ctx, t, c, b)
	return v
}
