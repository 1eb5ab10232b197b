package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/restore"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// TestDrill proves a good backup and catches broken ones, beside a running instance.
func TestDrill(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 20*time.Minute)
	o := deployed(ctx, t, c, 3, nil)
	rewritten(ctx, t, couch.New("http://"+o.Servers()[0]+":5984", o.User, o.Password, c.Transport()), "rewritten")
	good := guardedBackup(t, c, o.Namespace, "good", api.BackupSpec{})
	before, documents, had := state(ctx, t, c, o), contents(ctx, t, c, o), holdings(ctx, t, c, o.Namespace)

	t.Run("a good backup", func(t *testing.T) {
		writer := writing(ctx, t, c, o.Namespace, "writer", "--rate", "10", "--prefix", "load-")
		r, err := c.CreateRestore(ctx, o.Namespace, "good", drillOf(good, api.VerifySample))
		if err != nil {
			t.Fatal(err)
		}
		reached(ctx, t, c, r, func(r *api.Restore) bool { return r.Status.Phase == api.PhaseScratch })
		second, err := c.CreateRestore(ctx, o.Namespace, "second", drillOf(good, api.VerifySample))
		if err == nil {
			second, err = c.WaitRestore(ctx, second, restoreWithin, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		judge(t, "drill", second.Status.Phase, second.Status.Conditions, api.ReasonConcurrentOperation, []string{"restore good is under way"})
		deleteBackup(ctx, t, c, guardedBackup(t, c, o.Namespace, "beside", api.BackupSpec{}))
		if r, err = c.WaitRestore(ctx, r, restoreWithin, nil); err != nil {
			t.Fatal(err)
		}
		drillGone(ctx, t, c, r)
		stopped(ctx, t, writer)
		v, d := r.Status.Verification, r.Status.Drill
		if r.Status.Phase != api.PhaseCompleted || v == nil || v.Documents < 300 || v.Sampled == 0 || len(v.Problems) > 0 || d.RestoreMilliseconds <= 0 {
			t.Fatalf("%s: %s; %+v, %+v", r.Status.Phase, harness.Message(r.Status.Conditions), v, d)
		}
		t.Log(harness.Message(r.Status.Conditions))
		now := backupNow(ctx, t, c, good)
		proof := now.Status.Verified
		if is := meta.FindStatusCondition(now.Status.Conditions, api.ConditionVerified); is == nil || is.Status != metav1.ConditionTrue || !strings.Contains(is.Message, o.Namespace+"/good") {
			t.Errorf("the Backup says %+v", is)
		}
		if proof == nil || proof.Restore != o.Namespace+"/good" || proof.Level != api.VerifySample || proof.RestoreMilliseconds != d.RestoreMilliseconds ||
			proof.Databases != v.Databases || proof.Shards != v.Shards || proof.Documents != v.Documents || proof.Sampled != v.Sampled {
			t.Errorf("the Backup's proof is %+v of %+v", proof, v)
		}
	})

	for _, test := range []struct {
		name string
		harm func(*testing.T, *api.Backup)
		why  string
		says []string
	}{
		{"a missing shard file", func(t *testing.T, b *api.Backup) {
			damaged(ctx, t, c, b, 1, func(data string) {
				file, _ := largestShard(t, data, "medic")
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			})
		}, api.ReasonShardsMissing, []string{"node couchdb-2 lacks shard", "medic.", "1 shards are missing"}},
		{"swapped volumes", func(t *testing.T, b *api.Backup) { exchanged(ctx, t, c, b, 1, 2) }, api.ReasonShardsMissing, []string{"node couchdb-2 lacks shard", "which is on the volume of couchdb-3"}},
		{"a file cut short in the middle of a shard", func(t *testing.T, b *api.Backup) {
			damaged(ctx, t, c, b, 0, func(data string) {
				file, size := largestShard(t, data, "medic")
				cutShort(t, file, size)
			})
		}, api.ReasonVerificationFailed, []string{"database medic has", "at least"}},
		{"a file whose lost half holds new revisions only", func(t *testing.T, b *api.Backup) {
			at := nodeOf(ctx, t, c, b, "rewritten")
			damaged(ctx, t, c, b, at, func(data string) {
				file, size := largestShard(t, data, "rewritten")
				cutShort(t, file, size)
			})
		}, api.ReasonVerificationFailed, []string{"database rewritten is at change", "latest revisions"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !c.Local {
				t.Skip("damages snapshots in the storage of the testbed, which is on this machine")
			}
			name := strings.ReplaceAll(test.name, " ", "-")
			b := guardedBackup(t, c, o.Namespace, name, api.BackupSpec{})
			test.harm(t, b)
			r := drilled(ctx, t, c, o.Namespace, name, drillOf(b, api.VerifyQuick))
			judge(t, "drill", r.Status.Phase, r.Status.Conditions, test.why, test.says)
			if v := r.Status.Verification; v == nil || len(v.Problems) == 0 || r.Status.Drill.RestoreMilliseconds != 0 {
				t.Errorf("the evidence is %+v, %+v", v, r.Status.Drill)
			}
			now := backupNow(ctx, t, c, b)
			if is := meta.FindStatusCondition(now.Status.Conditions, api.ConditionVerified); is == nil || is.Status != metav1.ConditionFalse || is.Reason != test.why || !strings.Contains(is.Message, o.Namespace+"/"+name) || now.Status.Verified != nil {
				t.Errorf("the Backup says %+v, %+v", is, now.Status.Verified)
			}
			if said := saidOf(ctx, t, c, b); !slices.Contains(said, test.why) {
				t.Errorf("warnings about the Backup are %v", said)
			}
			deleteBackup(ctx, t, c, b)
		})
	}

	t.Run("a failed one that is kept", func(t *testing.T) {
		b := guardedBackup(t, c, o.Namespace, "kept", api.BackupSpec{})
		alter(ctx, t, c, b, func(r *catalog.Record) {
			r.Nodes[1].SnapshotHandle, r.Nodes[2].SnapshotHandle = r.Nodes[2].SnapshotHandle, r.Nodes[1].SnapshotHandle
		})
		spec := drillOf(b, api.VerifyQuick)
		spec.Drill.KeepFailed = &metav1.Duration{Duration: time.Hour}
		r, err := c.CreateRestore(ctx, o.Namespace, "kept", spec)
		if err == nil {
			r, err = c.WaitRestore(ctx, r, restoreWithin, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		d := r.Status.Drill
		judge(t, "drill", r.Status.Phase, r.Status.Conditions, api.ReasonShardsMissing, []string{"namespace " + d.Scratch + " is kept until"})
		if d.KeptUntil == nil || len(holdings(ctx, t, c, d.Scratch)) == 0 {
			t.Fatalf("%+v, with %v", d, holdings(ctx, t, c, d.Scratch))
		}
		// The time to live of what is in it ends it, and the namespace with it.
		merge(ctx, t, c, &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: d.Scratch, Name: "scratch"}}, `{"spec":{"timeToLive":"1s"}}`)
		scratchEnds(ctx, t, c, d.Scratch)
		deleteBackup(ctx, t, c, b)
	})

	for begun := time.Now(); !slices.Equal(holdings(ctx, t, c, o.Namespace), had); time.Sleep(time.Second) { // deleted backups may be on their way out
		if time.Since(begun) > time.Minute {
			t.Errorf("the source had %v and has %v", had, holdings(ctx, t, c, o.Namespace))
			break
		}
	}
	m := measured(ctx, t, c, o.Namespace)
	if m["cht_backup_drills_total{,result=\"verified\"}"] != "1" || m["cht_backup_drills_total{,result=\"refused\"}"] != "1" || m["cht_backup_drill_failed{}"] == "" ||
		m["cht_backup_recovery_seconds{}"] == "" || m["cht_backup_verified_timestamp_seconds{}"] == "" || m["cht_backup_backups_total{,result=\"completed\"}"] == "" {
		t.Errorf("the controller's metrics are %v", m)
	}
	if after := state(ctx, t, c, o); after != before {
		t.Errorf("the source's membership or shard maps changed:\nbefore %s\nafter  %s", before, after)
	}
	sameDump(t, "the source", documents, without(contents(ctx, t, c, o), "load-"))
}

// TestDrillSurvivesItsController kills the controller at every step of a drill, and
// aborts and deletes it at every step: it ends, and nothing is left.
func TestDrillSurvivesItsController(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("kills processes by id, on the testbed's machine only")
	}
	ctx := bounded(t, 15*time.Minute)
	o := deployed(ctx, t, c, 1, func(o *cht.Options) { o.Components = cht.Components{} })
	c = killable(ctx, t, c, o.Namespace)
	b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{})
	spec := drillOf(b, api.VerifyQuick)
	for _, phase := range restore.Steps(spec) {
		for _, how := range []string{"killed", "aborted", "deleted"} {
			if how == "aborted" && phase == api.PhasePending {
				continue // over before anybody could ask
			}
			t.Run(how+" at "+string(phase), func(t *testing.T) {
				r, err := c.CreateRestore(ctx, o.Namespace, how+"-"+strings.ToLower(string(phase)), spec)
				if err != nil {
					t.Fatal(err)
				}
				amid := map[string]string{"aborted at Scratch": "(CouchDB:", "deleted at Scratch": "(Volumes:"}[how+" at "+string(phase)] // there is something to remove
				reached(ctx, t, c, r, func(now *api.Restore) bool {
					r = now
					return now.Status.Phase == phase && strings.Contains(harness.Message(now.Status.Conditions), amid)
				})
				want := api.PhaseCompleted
				switch how {
				case "killed":
					replaceController(ctx, t, c)
				case "aborted":
					merge(ctx, t, c, r.DeepCopy(), `{"spec":{"abort":true}}`)
					if phase == api.PhaseScratch {
						want = api.PhaseFailed
					}
				case "deleted":
					deleteRestore(ctx, t, c, r)
					scratchEnds(ctx, t, c, fmt.Sprintf("%s-scratch-%.8s", o.Namespace, r.UID))
					return
				}
				if r, err = c.WaitRestore(ctx, r, restoreWithin, nil); err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %s", r.Status.Phase, harness.Message(r.Status.Conditions))
				if r.Status.Phase != want {
					t.Errorf("%s at %s, the drill is %s", how, phase, r.Status.Phase)
				}
				drillGone(ctx, t, c, r)
			})
		}
	}
	t.Run("its controller killed while the scratch restore starts CouchDB", func(t *testing.T) {
		r, err := c.CreateRestore(ctx, o.Namespace, "child", spec)
		if err != nil {
			t.Fatal(err)
		}
		reached(ctx, t, c, r, func(r *api.Restore) bool { return strings.Contains(harness.Message(r.Status.Conditions), "(CouchDB:") })
		replaceController(ctx, t, c)
		if r, err = c.WaitRestore(ctx, r, restoreWithin, nil); err != nil {
			t.Fatal(err)
		}
		if r.Status.Phase != api.PhaseCompleted {
			t.Errorf("%s: %s", r.Status.Phase, harness.Message(r.Status.Conditions))
		}
		drillGone(ctx, t, c, r)
	})
	if now := backupNow(ctx, t, c, b); !meta.IsStatusConditionTrue(now.Status.Conditions, api.ConditionVerified) {
		t.Errorf("the Backup says %+v", now.Status.Conditions)
	}
	t.Run("its instance's namespace is deleted", func(t *testing.T) {
		t.Cleanup(func() { discardKept(t, c, b) })
		r, err := c.CreateRestore(ctx, o.Namespace, "orphan", spec)
		if err != nil {
			t.Fatal(err)
		}
		reached(ctx, t, c, r, func(r *api.Restore) bool { return strings.Contains(harness.Message(r.Status.Conditions), "(Volumes:") })
		if err := c.DeleteNamespace(ctx, o.Namespace); err != nil {
			t.Fatal(err)
		}
		scratchEnds(ctx, t, c, fmt.Sprintf("%s-scratch-%.8s", o.Namespace, r.UID))
	})
}
