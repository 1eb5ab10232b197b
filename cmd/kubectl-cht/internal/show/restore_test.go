package show

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func planned() *api.Restore {
	return &api.Restore{
		ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "back", UID: "u-3", CreationTimestamp: metav1.NewTime(start)},
		Spec:       api.RestoreSpec{Source: api.BackupReference{Namespace: "medic", Name: "monday"}, InPlace: &api.InPlace{SafetyBackup: api.SafetyBackupRequired}, PlanOnly: true},
		Status: api.RestoreStatus{Phase: api.PhasePlanned, CutTime: afterP(5290 * time.Millisecond), Plan: &api.Plan{
			Steps: []api.PlanStep{
				{Phase: api.PhaseSafetyBackup, Actions: []string{"create Backup back-safety-u-3 of the present state; if it fails, stop here"}},
				{Phase: api.PhaseSwapping, Actions: []string{"set volume pv-1 of claim couchdb-claim0 aside", "make claim couchdb-claim0 again"}},
				{Phase: api.PhaseObjects},
			},
			Warnings: []string{"everything written after\x1b[2J the cut is gone"},
		}},
	}
}

func TestPlan(t *testing.T) {
	equal(t, Plan(planned()), `
Plan of restore medic/back: in place, the CHT of namespace medic goes back
From:        medic/monday
Data as of:  2026-03-01 01:00:05.290 UTC

1. SafetyBackup
   - create Backup back-safety-u-3 of the present state; if it fails, stop here

2. Swapping
   - set volume pv-1 of claim couchdb-claim0 aside
   - make claim couchdb-claim0 again

3. Objects
   - nothing to do

Warnings
  ! everything written after[2J the cut is gone`)
	got := strings.Join(Describe(planned(), nil, start), "\n")
	for _, want := range []string{"\nPlan\n1. SafetyBackup\n", "\nWarnings\n  ! everything", `kubectl patch restores.backup.communityhealthtoolkit.org back -n medic --type merge -p '{"spec":{"planOnly":false}}'`, "kubectl cht restore abort back -n medic"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
}

func TestSummaryInPlace(t *testing.T) {
	r := planned()
	r.Spec.PlanOnly, r.Spec.Credentials = false, api.CredentialsRotate
	r.Status = api.RestoreStatus{Phase: api.PhaseCompleted, Conditions: ready(metav1.ConditionTrue, api.ReasonCompleted, "verified"), SafetyBackup: "back-safety-u-3", Plan: r.Status.Plan,
		Volumes: []api.RestoredVolume{{Node: "couchdb", Claim: "couchdb-claim0", Volume: "pv-2", SetAside: "pv-1", Bound: true, Prepared: true}},
		Verification: &api.Verification{Level: api.VerifyFull, Databases: 7, Shards: 84, Documents: 1000, Sampled: 50, Streamed: 1100, Digests: 6, Attachments: 3, AttachmentBytes: 2048, Views: 12,
			StartTime: afterP(0), CompletionTime: afterP(90 * time.Second), Notes: []string{"medic-logs has no digest"}}}
	equal(t, Summary(r, false), `
restore medic/back is Completed: verified

From:           medic/monday
How:            in place, the CHT of namespace medic goes back
Credentials:    new ones
Safety backup:  medic/back-safety-u-3

Volumes
  NODE     CLAIM           BOUND  PREPARED  VOLUME  FORMER VOLUME
  couchdb  couchdb-claim0  yes    yes       pv-2    pv-1
  The former volumes stay until you delete them: kubectl get pv -l backup.communityhealthtoolkit.org/set-aside-by=u-3

Verification
  Full: 7 databases, 84 shards, 1000 documents; 50 documents read back
  all ids and revisions of 1100 documents read; 6 databases have the digest of the backup
  3 attachments read (2 KiB); 12 views answered
  took 1m30s
  note: medic-logs has no digest`)
	r.Spec.InPlace.SafetyBackup, r.Status.SafetyBackup = api.SafetyBackupSkip, ""
	if got := strings.Join(Summary(r, false), "\n"); !strings.Contains(got, "Safety backup:  none, as asked") {
		t.Error(got)
	}
}

func TestSummaryOfClone(t *testing.T) {
	r := restored()
	r.Spec.TimeToLive = &metav1.Duration{Duration: 24 * time.Hour}
	has := func(want ...string) {
		t.Helper()
		got := strings.Join(Describe(r, nil, start), "\n")
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("lacks %q:\n%s", w, got)
			}
		}
	}
	has("Expires:     24h0m0s after it has ended, with its volumes")
	r.Status.ExpirationTime = &metav1.Time{Time: start.Add(25 * time.Hour)}
	r.Status.Isolation = &api.Isolation{Result: api.IsolationEnforced, Message: "nothing was reached", Targets: []api.IsolationTarget{
		{From: "api", Kind: api.TargetOwn, Address: "couchdb:5984", Outcome: api.OutcomeConnected, Rounds: 1},
		{From: "api", Kind: api.TargetAPIServer, Address: "10.0.0.1:6443", Outcome: api.OutcomeTimeout, Control: api.OutcomeConnected, Rounds: 3, OwnNode: true}}}
	has("Expires:     2026-03-02 02:00:00 UTC, with its volumes", "\nIsolation\n  Enforced: nothing was reached\n", `
Probes of the isolation
  FROM  TO         ADDRESS                   CLONE      CONTROLLER  ROUNDS
  api   Own        couchdb:5984              Connected  -           1
  api   APIServer  10.0.0.1:6443 (own node)  Timeout    Connected   3`)
	r.Spec.Remap = &api.Remap{Ingress: &api.IngressRemap{Host: "clone.example.org"}}
	has("Live:        no: Sentinel stays at 0, no traffic out of the namespace; ingress for clone.example.org")
	r.Spec.Scope = api.ScopeCouchDB
	has("How:         isolated clone of CouchDB alone, in namespace clone", "Live:        no: CouchDB alone")
	r.Spec.Scope, r.Spec.GoLive = api.ScopeInstance, true
	has("How:         live, into namespace clone", "Live:        yes")
}

func replicating() *api.Restore {
	r := restored()
	r.Spec.Database = &api.DatabaseRestore{Name: "medic"}
	r.Status = api.RestoreStatus{Phase: api.PhaseReplicating, Database: &api.DatabaseStatus{Scratch: "clone-scratch", As: "medic-restored-1", Written: 250, Total: 1000}}
	return r
}

func verifying() *api.Restore {
	r := restored()
	r.Status = api.RestoreStatus{Phase: api.PhaseVerifying, Conditions: ready(metav1.ConditionUnknown, api.ReasonProgressing, "reading medic"),
		Verification: &api.Verification{Level: api.VerifyFull, Progress: &api.VerificationProgress{Done: 520_000, Total: 1_000_000, DocumentsPerSecond: 9500, SecondsLeft: 51}}}
	return r
}

func TestDatabaseProgress(t *testing.T) {
	r := replicating()
	got := strings.Join(Summary(r, false), "\n")
	for _, want := range []string{"How:                database medic into the running CHT of namespace clone\n", "Restored as:        medic-restored-1\n", "Scratch namespace:  clone-scratch\n", "Progress:           25%  250 of 1000 documents"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	r.Spec.Database.Replace = true
	d := r.Status.Database
	d.As, d.Staging, d.KeptAs = "medic", "medic-restored-1", "medic-replaced-1"
	got = strings.Join(Summary(r, false), "\n")
	for _, want := range []string{"in the place of the live one", "Restored as:        medic\n", "Live one kept as:   medic-replaced-1\n", "Staged as:          medic-restored-1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	r.Status.Phase, d.Written, d.Compared = api.PhaseCompleted, 1000, 1000
	got = strings.Join(Summary(r, false), "\n")
	for _, want := range []string{"Live one kept as:  medic-replaced-1\n", "Compared:          1000 documents, deleted ones included, are those of the backup"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "clone-scratch") || strings.Contains(got, "medic-restored-1") {
		t.Errorf("tells what is gone:\n%s", got)
	}
	r.Status.Phase = api.PhaseFailed
	if got := strings.Join(Summary(r, false), "\n"); strings.Contains(got, "medic-replaced-1") {
		t.Errorf("tells what is gone:\n%s", got)
	}
}

// One database is verified before it is replicated, in the same phase.
func TestProgressOfOneDatabase(t *testing.T) {
	r := replicating()
	r.Status.Verification = verifying().Status.Verification
	if p := Of(r).Progress; p == nil || p.Done != 520_000 {
		t.Errorf("while it is verified: %v", p)
	}
	r.Status.Verification.CompletionTime = afterP(0)
	if p := Of(r).Progress; p == nil || p.Done != 250 {
		t.Errorf("while it is replicated: %v", p)
	}
}

func TestProgress(t *testing.T) {
	if p := Of(verifying()).Progress; p == nil || p.String() != "52%  520000 of 1000000 documents, 9500 a second, 51s left" {
		t.Errorf("verifying: %v", p)
	}
	equal(t, Block(Of(verifying()), start.Add(time.Minute), 0, "", false), `
restore clone/r1  Verifying  1m0s
  reading medic
  [==========          ] 52%  520000 of 1000000 documents, 9500 a second, 51s left`)
	p := Progress{Done: 250, Total: 1000}
	for _, tc := range []struct {
		name   string
		got    *Progress
		expect string
	}{
		{"a rate from what was seen", p.Since(50, 2*time.Second), "25%  250 of 1000 documents, 100 a second, 8s left"},
		{"seen just now", p.Since(50, 900*time.Millisecond), "25%  250 of 1000 documents"},
		{"standing still", p.Since(250, time.Minute), "25%  250 of 1000 documents"},
		{"the status tells", Progress{Done: 2, Total: 4, PerSecond: 1, Left: 2 * time.Second}.Since(1, time.Minute), "50%  2 of 4 documents, 1 a second, 2s left"},
		{"nearly", Progress{Done: 999_999, Total: 1_000_000}.Since(0, 0), "99%  999999 of 1000000 documents"},
		{"more than expected", Progress{Done: 12, Total: 10}.Since(0, 0), "100%  12 of 10 documents"},
	} {
		if got := tc.got.String(); got != tc.expect {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.expect)
		}
	}
	done := verifying()
	done.Status.Phase = api.PhaseCompleted
	if p := Of(done).Progress; p != nil {
		t.Errorf("it has ended, and still shows %v", p)
	}
	for _, r := range []*api.Restore{restored(), planned()} {
		if p := Of(r).Progress; p != nil {
			t.Errorf("%s counts nothing, and shows %v", r.Name, p)
		}
	}
}

func TestProgressOfAPlainLog(t *testing.T) {
	now := start.Add(90 * time.Second)
	was, s := replicating(), replicating()
	s.Status.Database.Written = 500
	equal(t, Changes(Of(was), Of(s), now), "01:01:30 restore clone/r1 Replicating: 50%  500 of 1000 documents")
	if !Counts(Of(was), Of(s)) || Counts(Of(was), Of(verifying())) || Counts(Of(restored()), Of(s)) {
		t.Error("a count is taken for more, or more for a count")
	}
}

func TestVerifiedBackup(t *testing.T) {
	now := start.Add(50 * time.Hour)
	b := completed()
	b.Status.Verified = &api.VerifiedBy{Level: api.VerifyFull, Time: after(2 * time.Hour), Restore: "drill/r", RestoreMilliseconds: 65_400, Documents: 1000, Streamed: 1100}
	const proof = "Full, 2026-03-01 03:00:00 UTC, by restore drill/r: 1000 documents, 1100 read in full; recovery took 1m5s"
	if got := verifiedText(b); got != proof {
		t.Errorf("got %q", got)
	}
	if got := verifiedCell(b, now); got != "Full 2d" {
		t.Errorf("cell %q", got)
	}
	if got := strings.Join(Describe(b, []corev1.Event{}, now), "\n"); !strings.Contains(got, "Verified:     "+proof+"\n") {
		t.Errorf("describe:\n%s", got)
	}
	b.Status.Conditions = append(b.Status.Conditions, metav1.Condition{Type: api.ConditionVerified, Status: metav1.ConditionFalse, Reason: api.ReasonShardsMissing, Message: "restore drill/s: a shard is missing", LastTransitionTime: metav1.NewTime(start.Add(3 * time.Hour))})
	if got := verifiedText(b); got != "NO (ShardsMissing, 2026-03-01 04:00:00 UTC): restore drill/s: a shard is missing; before that: "+proof {
		t.Errorf("got %q", got)
	}
	if got := verifiedCell(b, now); got != "FAILED 47h" {
		t.Errorf("cell %q", got)
	}
	b.Status.Verified = nil
	if got := verifiedText(b); !strings.HasSuffix(got, "a shard is missing") {
		t.Errorf("got %q", got)
	}
	if got := verifiedCell(completed(), now); got != "-" {
		t.Errorf("cell %q", got)
	}
}

func TestTableOfRestores(t *testing.T) {
	clone := restored()
	clone.Status.Phase, clone.Status.ExpirationTime = api.PhaseCompleted, &metav1.Time{Time: start.Add(5 * time.Hour)}
	if got := expires(clone, start); got != "in 5h" {
		t.Errorf("expires %q", got)
	}
	if got := expires(clone, start.Add(6*time.Hour)); got != "now" {
		t.Errorf("expires %q", got)
	}
	if got := restoreRow(verifying(), start)[3]; got != "Verifying 52%" {
		t.Errorf("phase %q", got)
	}
}
