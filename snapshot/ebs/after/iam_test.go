package after_test

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	ec2fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/ebs/after"
)

const policyFile = "../../../charts/cht-backup/files/iam/copies.json"

// actions are what the chart's policy allows.
func actions(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile(policyFile)
	if err != nil {
		t.Fatal(err)
	}
	var policy struct{ Statement []struct{ Action any } }
	if err := json.Unmarshal(text, &policy); err != nil {
		t.Fatal(err)
	}
	for _, s := range policy.Statement {
		switch a := s.Action.(type) {
		case string:
			all = append(all, a)
		case []any:
			for _, one := range a {
				all = append(all, one.(string))
			}
		}
	}
	return all
}

// The policy allows each call that the code can make, and no other.
func TestPolicyIsCompleteAndMinimal(t *testing.T) {
	want := []string{"ec2:CreateTags", "sts:AssumeRole", "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"}
	calls := reflect.TypeFor[after.EC2]()
	for i := range calls.NumMethod() {
		want = append(want, "ec2:"+calls.Method(i).Name)
	}
	got := actions(t)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s allows\n%s\nthe code calls\n%s", policyFile, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// With nothing but the policy everything can be done, with a key of the account's own.
func TestPolicyIsEnough(t *testing.T) {
	w := newWorld(t)
	for _, account := range []string{ec2fake.DefaultAccount, other} {
		w.cloud.Allow(account, actions(t))
	}
	key := w.backup("b", api.EBSPolicy{ShareWith: []string{other}, Lock: &api.EBSLock{Mode: api.LockGovernance, Days: 1}, ArchiveAfter: &metav1.Duration{Duration: 24 * time.Hour},
		FastRestore: &api.EBSFastRestore{Newest: 1}, Copies: []api.EBSCopy{{Name: "dr", Region: there, KMSKeyID: "alias/ours"}, {Name: "safe", Region: far, RoleARN: role, KMSKeyID: "alias/theirs"}}})
	w.work(key)
	b := w.get(key)
	for _, condition := range []string{api.ConditionShared, api.ConditionCopied, api.ConditionLocked, api.ConditionFastRestore} {
		w.want(b, condition, api.ReasonDone)
	}
	w.cloud.Advance(48 * time.Hour)
	newer := w.backup("newer", api.EBSPolicy{FastRestore: &api.EBSFastRestore{Newest: 1}})
	w.work(key, newer)
	w.cloud.Advance(24 * time.Hour)
	w.restart()
	w.work(key)
	w.want(w.get(key), api.ConditionArchived, api.ReasonDone)
	if left, _ := w.remove(key, true); left != 0 || len(w.copies("", there, "dr"))+len(w.copies(other, far, "safe")) != 0 {
		t.Errorf("%d left: %s", left, conditions(w.get(key)))
	}
	for k := range w.cloud.Counts() {
		if strings.Contains(k.Code, "Unauthorized") || strings.Contains(k.Code, "AccessDenied") {
			t.Errorf("refused: %+v", k)
		}
	}
}
