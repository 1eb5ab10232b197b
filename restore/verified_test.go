package restore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// What the Backup says after several verifications.
func TestRecordVerified(t *testing.T) {
	bad := reason.Refuse(api.ReasonVerificationFailed, "database medic: lacks documents")
	missing := reason.Refuse(api.ReasonShardsMissing, "node couchdb-1 lacks shard x")
	type look struct {
		level api.VerificationLevel
		found error
	}
	for _, tt := range []struct {
		name   string
		looks  []look
		status metav1.ConditionStatus // "" for none
		says   string
		level  api.VerificationLevel // of the proof
	}{
		{"a proof", []look{{api.VerifyQuick, nil}}, metav1.ConditionTrue, "(Quick)", api.VerifyQuick},
		{"a better one", []look{{api.VerifyQuick, nil}, {api.VerifyFull, nil}}, metav1.ConditionTrue, "(Full)", api.VerifyFull},
		{"a lesser one after it", []look{{api.VerifyFull, nil}, {api.VerifySample, nil}}, metav1.ConditionTrue, "", api.VerifyFull},
		{"a failure after a proof", []look{{api.VerifyFull, nil}, {api.VerifyQuick, bad}}, metav1.ConditionFalse, "clone/r (Quick): database medic", api.VerifyFull},
		{"as good a proof after a failure", []look{{api.VerifySample, bad}, {api.VerifySample, nil}}, metav1.ConditionTrue, "(Sample)", api.VerifySample},
		{"a lesser proof after what Full found", []look{{api.VerifyFull, bad}, {api.VerifyQuick, nil}}, metav1.ConditionFalse, "(Full): database medic", ""},
		{"a lesser failure after what Full found", []look{{api.VerifyFull, bad}, {api.VerifyQuick, bad}, {api.VerifyQuick, nil}}, metav1.ConditionFalse, "(Full)", ""},
		{"shards that were missing, then not", []look{{"", missing}, {api.VerifyQuick, nil}}, metav1.ConditionTrue, "", api.VerifyQuick},
		{"no verdict", []look{{api.VerifyFull, errors.New("no answer")}}, "", "", ""},
		{"stopped", []look{{api.VerifyFull, reason.Refuse(api.ReasonStartTimeout, "stands still")}}, "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			restore := restoreOf(func(r *api.Restore) {
				start := metav1.NewMicroTime(epoch)
				r.Status.StartTime = &start
			})
			b := newBench(t, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "nightly", UID: "u1"}})
			b.now = epoch.Add(90 * time.Second)
			w := workOf(t, restore)
			for _, l := range tt.looks {
				if err := b.recordVerified(t.Context(), w, api.Verification{Level: l.level, Documents: 7}, l.found); err != nil {
					t.Fatal(err)
				}
			}
			var now api.Backup
			if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: source, Name: "nightly"}, &now); err != nil {
				t.Fatal(err)
			}
			c := meta.FindStatusCondition(now.Status.Conditions, api.ConditionVerified)
			if (c == nil) != (tt.status == "") || c != nil && (c.Status != tt.status || !strings.Contains(c.Message, tt.says)) {
				t.Errorf("%+v", c)
			}
			proof := now.Status.Verified
			if (proof == nil) != (tt.level == "") || proof != nil && (proof.Level != tt.level || proof.RestoreMilliseconds != 90000 || proof.Restore != "clone/r" || proof.Documents != 7) {
				t.Errorf("%+v", proof)
			}
		})
	}
	t.Run("another Backup of that name", func(t *testing.T) {
		for _, uid := range []types.UID{"u2", ""} {
			var objects []client.Object
			if uid != "" {
				objects = append(objects, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "nightly", UID: uid}})
			}
			b := newBench(t, objects...)
			if err := b.recordVerified(t.Context(), workOf(t, restoreOf()), api.Verification{Level: api.VerifyFull}, nil); err != nil {
				t.Error(err)
			}
			var now api.Backup
			if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: source, Name: "nightly"}, &now); client.IgnoreNotFound(err) != nil || now.Status.Verified != nil {
				t.Errorf("%+v, %v", now.Status, err)
			}
		}
	})
}
