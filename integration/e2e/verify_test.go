package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// TestVerification restores one backup at every level, then with a record that
// the data does not fit.
func TestVerification(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 12*time.Minute)
	o := deployed(ctx, t, c, 1, func(o *cht.Options) { o.Components = cht.Components{} })
	base := "http://" + o.Servers()[0] + ":5984"
	if err := c.Seed(ctx, o.Namespace, "--url", base, "--docs", "300", "--users", "6", "--attachments", "0.1", "--deleted", "0.1"); err != nil {
		t.Fatal(err)
	}
	conflicting(ctx, t, couch.New(base, o.User, o.Password, c.Transport()))
	b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{Fingerprint: api.FingerprintFull, AllowedNamespaces: []string{"*"}})
	record, err := records(c).Get(ctx, b.Status.Record)
	if err != nil {
		t.Fatal(err)
	}
	if v := meta.FindStatusCondition(b.Status.Conditions, api.ConditionVerified); v != nil || b.Status.Verified != nil {
		t.Errorf("a backup that nobody restored is verified: %+v", v)
	}

	target := c.TempNamespace(t, "verified")
	verified := func(t *testing.T, level api.VerificationLevel) (*api.Restore, *api.Backup) {
		t.Helper()
		r := c.Restore(t, target, "verify-"+strings.ToLower(string(level)), couchOnly(b, level), restoreWithin)
		now := backupNow(ctx, t, c, b)
		condition := meta.FindStatusCondition(now.Status.Conditions, api.ConditionVerified)
		if condition == nil || condition.Status != metav1.ConditionTrue {
			t.Errorf("the Backup is not verified: %+v", condition)
		}
		if v := r.Status.Verification; v == nil || v.Level != level || len(v.Problems) > 0 || v.Progress != nil || v.StartTime == nil || v.CompletionTime == nil {
			t.Fatalf("verification %s: %+v", level, v)
		}
		makeRoom(ctx, t, c, r)
		return r, now
	}
	t.Run("Quick", func(t *testing.T) {
		r, now := verified(t, api.VerifyQuick)
		v, proof := r.Status.Verification, now.Status.Verified
		if v.Documents == 0 || v.Databases == 0 || v.Shards < v.Databases || v.Sampled+v.Streamed+v.Attachments > 0 {
			t.Errorf("%+v", v)
		}
		took := r.Status.CompletionTime.Sub(r.Status.StartTime.Time).Milliseconds()
		if proof == nil || proof.Level != api.VerifyQuick || proof.Restore != target+"/"+r.Name || proof.Documents != v.Documents || proof.RestoreMilliseconds <= 0 || proof.RestoreMilliseconds > took {
			t.Errorf("the Backup says %+v of a restore that took %d ms", proof, took)
		}
	})
	t.Run("Full", func(t *testing.T) {
		r, now := verified(t, api.VerifyFull)
		v := r.Status.Verification
		digests := int32(0)
		for _, d := range record.Fingerprint.Databases {
			if d.Digest != "" {
				digests++
			}
		}
		noted := 0
		for _, s := range record.Fingerprint.Samples {
			noted += len(s)
		}
		if v.Digests != digests || digests < 12 { // five of the CHT's, six of users, _users
			t.Errorf("%d digests are the same, the backup has %d", v.Digests, digests)
		}
		if v.Sampled != int64(noted) || v.Streamed <= v.Documents || v.Attachments < 10 || v.AttachmentBytes < 10*5000 || v.Views < 1 {
			t.Errorf("%+v, with a sample of %d", v, noted)
		}
		if now.Status.Verified.Level != api.VerifyFull || now.Status.Verified.Streamed != v.Streamed {
			t.Errorf("the Backup says %+v", now.Status.Verified)
		}
		t.Logf("%+v", *v)
	})
	t.Run("Sample", func(t *testing.T) {
		r, now := verified(t, api.VerifySample)
		if v := r.Status.Verification; v.Sampled == 0 || v.Streamed > 0 {
			t.Errorf("%+v", v)
		}
		if now.Status.Verified.Level != api.VerifyFull {
			t.Errorf("a Sample took the place of Full: %+v", now.Status.Verified)
		}
	})
	full := backupNow(ctx, t, c, b).Status.Verified
	for _, tt := range []struct {
		name   string
		level  api.VerificationLevel
		change func(*catalog.Record)
		says   []string
	}{
		{"a count", api.VerifyQuick, func(r *catalog.Record) {
			one := r.Before.Counts["medic"]
			one.Documents++
			r.Before.Counts["medic"] = one
		}, []string{"database medic has", "were recorded"}},
		{"more than there was", api.VerifyQuick, func(r *catalog.Record) {
			one := r.After.Counts[load.UserDB(2)]
			one.Documents--
			r.After.Counts[load.UserDB(2)] = one
		}, []string{load.UserDB(2), "at most"}},
		{"a sample's revision", api.VerifySample, func(r *catalog.Record) {
			sample := r.Fingerprint.Samples[load.UserDB(3)]
			sample[slices.Sorted(maps.Keys(sample))[0]] = []string{"1-0123456789abcdef0123456789abcdef"}
		}, []string{"database " + load.UserDB(3), "1-0123456789abcdef0123456789abcdef"}},
		{"a digest", api.VerifyFull, func(r *catalog.Record) {
			d := r.Fingerprint.Databases["medic"]
			d.Digest = strings.Repeat("0", len(d.Digest)-1) + "1"
		}, []string{"database medic has", "digest differs"}},
		{"the number of a digest's documents", api.VerifyFull, func(r *catalog.Record) { r.Fingerprint.Databases["medic"].Documents++ }, []string{"database medic has", "the backup has"}},
	} {
		t.Run("wrong: "+tt.name, func(t *testing.T) {
			alter(ctx, t, c, b, tt.change)
			defer alter(ctx, t, c, b, func(r *catalog.Record) { *r = record })
			r := refused(ctx, t, c, target, couchOnly(b, tt.level), api.ReasonVerificationFailed, tt.says...)
			saysAll(t, strings.Join(r.Status.Verification.Problems, "\n"), tt.says...)
			now := backupNow(ctx, t, c, b)
			condition := meta.FindStatusCondition(now.Status.Conditions, api.ConditionVerified)
			if condition == nil || condition.Status != metav1.ConditionFalse || condition.Reason != api.ReasonVerificationFailed {
				t.Errorf("the Backup says %+v", condition)
			} else {
				saysAll(t, condition.Message, append(tt.says, target+"/"+r.Name)...)
			}
			if *now.Status.Verified != *full {
				t.Errorf("the proof that there was is %+v", now.Status.Verified)
			}
			makeRoom(ctx, t, c, r)
		})
	}
	t.Run("a lesser proof after a failure", func(t *testing.T) {
		r := c.Restore(t, target, "again", couchOnly(b, api.VerifyQuick), restoreWithin)
		now := backupNow(ctx, t, c, b)
		makeRoom(ctx, t, c, r)
		if condition := meta.FindStatusCondition(now.Status.Conditions, api.ConditionVerified); condition.Status != metav1.ConditionFalse {
			t.Errorf("what Full found is gone after Quick: %+v", condition)
		}
	})
}

// couchOnly is a clone that proves a backup, and no more.
func couchOnly(b *api.Backup, level api.VerificationLevel) api.RestoreSpec {
	spec := sourceOf(b)
	spec.Scope, spec.Verify, spec.TimeToLive = api.ScopeCouchDB, level, &metav1.Duration{Duration: time.Hour}
	return spec
}

// makeRoom removes a clone, so that the next can come into the same namespace. One
// that ended well takes what it made along since its time is limited.
func makeRoom(ctx context.Context, t *testing.T, c *harness.Cluster, r *api.Restore) {
	t.Helper()
	deleteRestore(ctx, t, c, r)
	for _, list := range []client.ObjectList{&corev1.PersistentVolumeClaimList{}, &corev1.PodList{}} {
		if err := await.List(ctx, c.Client, list, func() (string, error) {
			if n := meta.LenList(list); n > 0 {
				return fmt.Sprintf("the end of %d objects (%T) of restore %s", n, list, r.Name), nil
			}
			return "", nil
		}, client.InNamespace(r.Namespace)); err != nil {
			t.Fatal(err)
		}
	}
}

func backupNow(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup) *api.Backup {
	t.Helper()
	var now api.Backup
	if err := c.Client.Get(ctx, client.ObjectKeyFromObject(b), &now); err != nil {
		t.Fatal(err)
	}
	return &now
}

// conflicting writes documents with two and three living revisions, and one whose
// second revision is deleted.
func conflicting(ctx context.Context, t *testing.T, admin *couch.Client) {
	t.Helper()
	var docs []map[string]any
	for i := range 5 {
		for n := range 2 + i%2 {
			docs = append(docs, map[string]any{"_id": fmt.Sprintf("conflict-%d", i), "_rev": fmt.Sprintf("1-%032x", n+1), "type": "person", "n": n})
		}
	}
	docs = append(docs, map[string]any{"_id": "conflict-0", "_rev": fmt.Sprintf("1-%032x", 9), "_deleted": true})
	if err := admin.Do(ctx, http.MethodPost, "/medic/_bulk_docs", map[string]any{"new_edits": false, "docs": docs}, nil); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Conflicts []string `json:"_conflicts"`
	}
	if err := admin.Get(ctx, "/medic/conflict-1?conflicts=true", &doc); err != nil || len(doc.Conflicts) != 2 {
		t.Fatalf("document conflict-1 is in conflict with %v (%v), want 2", doc.Conflicts, err)
	}
}
