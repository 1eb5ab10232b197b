package show

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
)

var start = time.Date(2026, 3, 1, 1, 0, 0, 0, time.UTC)

func after(d time.Duration) metav1.MicroTime   { return metav1.NewMicroTime(start.Add(d)) }
func afterP(d time.Duration) *metav1.MicroTime { t := after(d); return &t }

func ready(status metav1.ConditionStatus, reason, message string) []metav1.Condition {
	return []metav1.Condition{{Type: api.ConditionReady, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(start.Add(9 * time.Second))}}
}

func completed() *api.Backup {
	stall, size := int64(312), resource.MustParse("1Gi")
	return &api.Backup{
		ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "nightly", UID: "u-1", CreationTimestamp: metav1.NewTime(start)},
		Spec: api.BackupSpec{Quiesce: api.QuiesceAuto, MaxStall: metav1.Duration{Duration: 10 * time.Second}, Attempts: 3, OnUnavailable: "Fail",
			ReadyTimeout: metav1.Duration{Duration: 2 * time.Hour}, AllowedNamespaces: []string{"clone"}},
		Status: api.BackupStatus{
			Phase: api.PhaseCompleted, Conditions: ready(metav1.ConditionTrue, api.ReasonCompleted, "Consistent backup of 2 CouchDB nodes"), Attempt: 2,
			CompletionTime: afterP(9 * time.Second), QuiesceMode: api.QuiesceFreeze, QuiesceReason: "own file systems", Consistency: api.Consistent,
			CutTime: afterP(5290 * time.Millisecond), StallMilliseconds: &stall, Nodes: 2, Databases: 7, Record: "cht-backup-u-1",
			Timeline: &api.Timeline{QuiesceStart: after(5 * time.Second), Quiesced: after(5045 * time.Millisecond), Cut: after(5290 * time.Millisecond),
				Released: after(5312 * time.Millisecond), Ready: afterP(9 * time.Second)},
			Volumes: []api.VolumeStatus{
				{Node: "couchdb-10", Claim: "couchdb-10-claim0", CutTime: afterP(5290 * time.Millisecond), RestoreSize: &size, Ready: true, Snapshot: "nightly-10"},
				{Node: "couchdb-2", Claim: "couchdb-2-claim0", CutTime: afterP(5200 * time.Millisecond), RestoreSize: &size, Ready: true, Snapshot: "nightly-2"},
			},
		},
	}
}

func restored() *api.Restore {
	return &api.Restore{
		ObjectMeta: metav1.ObjectMeta{Namespace: "clone", Name: "r1", UID: "u-2", CreationTimestamp: metav1.NewTime(start)},
		Spec:       api.RestoreSpec{Source: api.BackupReference{Namespace: "medic", Name: "nightly"}},
		Status: api.RestoreStatus{Phase: api.PhaseFailed, Conditions: ready(metav1.ConditionFalse, api.ReasonVerificationFailed, "couchdb-2 lacks a shard"),
			StartTime: afterP(0), CompletionTime: afterP(65 * time.Second), CutTime: afterP(5290 * time.Millisecond), BackupUID: "u-1", Record: "cht-backup-u-1",
			Volumes:      []api.RestoredVolume{{Node: "couchdb-1", Claim: "couchdb-1-claim0", Bound: true, Prepared: true}},
			Verification: &api.Verification{Databases: 7, Shards: 84, Documents: 1000, Sampled: 50, Problems: []string{"couchdb-2: shard\x1b[2J 00000000-1fffffff missing"}},
			Notes:        []string{"database x came while the backup was taken"}},
	}
}

func equal(t *testing.T, got []string, want string) {
	t.Helper()
	if g := strings.Join(got, "\n"); g != strings.TrimPrefix(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", g, want)
	}
}

func TestSummaryOfBackup(t *testing.T) {
	equal(t, Summary(completed(), false), `
backup medic/nightly is Completed: Consistent backup of 2 CouchDB nodes

Consistency:  Consistent
Stall:        312 ms
Quiesce:      Freeze (own file systems)
Cut:          2026-03-01 01:00:05.290 UTC
CouchDB:      2 nodes, 7 databases
Attempts:     2 of 3

Timeline
  quiesce start  2026-03-01 01:00:05.000 UTC
  quiesced       2026-03-01 01:00:05.045 UTC  +45 ms
  cut            2026-03-01 01:00:05.290 UTC  +290 ms
  released       2026-03-01 01:00:05.312 UTC  +312 ms
  ready          2026-03-01 01:00:09.000 UTC  +4000 ms

Volumes
  NODE        CLAIM              CUT                          SIZE   READY  SNAPSHOT
  couchdb-2   couchdb-2-claim0   2026-03-01 01:00:05.200 UTC  1 GiB  yes    nightly-2
  couchdb-10  couchdb-10-claim0  2026-03-01 01:00:05.290 UTC  1 GiB  yes    nightly-10

Restore it beside its source: kubectl cht restore --from medic/nightly --to NAMESPACE`)
}

func TestSummaryOfCopies(t *testing.T) {
	b := completed()
	b.Spec.EBS = &api.EBSPolicy{Copies: []api.EBSCopy{{Name: "dr"}, {Name: "safe"}}}
	b.Status.LockedUntil = &metav1.Time{Time: start.Add(72 * time.Hour)}
	b.Status.Copies = []api.CopyStatus{{Name: "dr", Region: "eu-west-1", Account: "111122223333", Complete: true, Volumes: []api.CopiedVolume{{Node: "couchdb-10", Handle: "snap-10", Ready: true}, {Node: "couchdb-2", Handle: "snap-2", Ready: true}}},
		{Name: "safe", Region: "eu-west-2", Message: "it waits\nfor its turn", Volumes: []api.CopiedVolume{{Node: "couchdb-2", Handle: "snap-3", Progress: "40%"}, {Node: "couchdb-10"}}}}
	got := strings.Join(Summary(b, false), "\n")
	for _, want := range []string{"\nLocked until:  2026-03-04 01:00:00 UTC\n", `
Copies
  COPY  REGION     ACCOUNT       STATE         SNAPSHOTS
  dr    eu-west-1  111122223333  complete      snap-2, snap-10
  safe  eu-west-2  -             0 of 2 (40%)  snap-3
  safe: it waits for its turn
`} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if got := whenDeleted(b); !strings.Contains(got, "2026-03-04 01:00:00 UTC") {
		t.Errorf("when deleted: %s", got)
	}
	if held, copies := heldCell(b, start), copiesCell(b); held != "locked until 2026-03-04" || copies != "1/2" {
		t.Errorf("%q, %q", held, copies)
	}
	if held := heldCell(b, start.Add(100*time.Hour)); held != none {
		t.Errorf("%q", held)
	}
}

func TestSummaryOfFailedBackupHasNoEmptySections(t *testing.T) {
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "n"},
		Status: api.BackupStatus{Phase: api.PhaseFailed, Conditions: ready(metav1.ConditionFalse, api.ReasonNoInstance, "no CHT here")}}
	equal(t, Summary(b, false), `backup medic/n is Failed (NoInstance): no CHT here`)
}

func TestSummaryOfRestore(t *testing.T) {
	equal(t, Summary(restored(), false), `
restore clone/r1 is Failed (VerificationFailed): couchdb-2 lacks a shard

From:        medic/nightly
How:         isolated clone in namespace clone
Data as of:  2026-03-01 01:00:05.290 UTC
Live:        no: Sentinel stays at 0, no ingress, no traffic out of the namespace
Took:        1m5s

Volumes
  NODE       CLAIM             BOUND  PREPARED
  couchdb-1  couchdb-1-claim0  yes    yes

Verification
  7 databases, 84 shards, 1000 documents; 50 documents read back
  problem: couchdb-2: shard[2J 00000000-1fffffff missing

Notes
  - database x came while the backup was taken`)
}

func TestDescribe(t *testing.T) {
	events := []corev1.Event{
		{Type: "Normal", Reason: "Completed", Message: "done", EventTime: after(9 * time.Second)},
		{Type: "Warning", Reason: "SnapshotFailed", Message: "attempt 1\nfailed", LastTimestamp: metav1.NewTime(start.Add(3 * time.Second))},
	}
	got := strings.Join(Describe(completed(), events, start.Add(time.Minute)), "\n")
	for _, want := range []string{
		"Phase:                 Completed\n",
		"Asked for:             quiesce Auto, at most 10s; 3 attempts; ready within 2h0m0s; if the quiesce cannot be had: Fail\n",
		"May be restored into:  medic, clone\n",
		"\nTimeline\n",
		"\nConditions\n  Ready  True  Completed  2026-03-01 01:00:09 UTC  Consistent backup of 2 CouchDB nodes\n",
		"\nEvents\n  57s  Warning  SnapshotFailed  attempt 1 failed\n  51s  Normal   Completed       done",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
}

func TestDescribeRecord(t *testing.T) {
	h := catalog.Head{Secret: "cht-backup-u-9", Namespace: "lost", Name: "nightly", UID: "u-9", CutTime: "2026-02-28T01:00:00Z", AllowedNamespaces: []string{"new"}, Hold: "for the auditor"}
	equal(t, DescribeRecord(h, "cht-backup-system"), `
Kind:                  backup (record only: the Backup object is gone, its snapshots and its record are kept)
Namespace:             lost
Name:                  nightly
UID:                   u-9
Cut:                   2026-02-28T01:00:00Z
May be restored into:  lost, new
Held:                  for the auditor
Record:                secret cht-backup-system/cht-backup-u-9

Restore it: kubectl cht restore --from lost/nightly --uid u-9 --to NAMESPACE
Delete it:  kubectl cht delete backup nightly -n lost --uid u-9`)
}

func TestFilesCell(t *testing.T) {
	of := func(c *metav1.Condition, volumes ...api.VolumeStatus) *api.Backup {
		b := &api.Backup{Status: api.BackupStatus{Volumes: volumes}}
		if c != nil {
			b.Status.Conditions = []metav1.Condition{*c}
		}
		return b
	}
	copied := func(complete bool) api.VolumeStatus {
		return api.VolumeStatus{Method: api.MethodFile, File: &api.FileVolume{Repository: "r", Size: resource.NewQuantity(2<<30, resource.BinarySI), Sent: resource.NewQuantity(30<<20, resource.BinarySI), Complete: complete}}
	}
	for want, b := range map[string]*api.Backup{
		"-":                  of(nil, api.VolumeStatus{Snapshot: "s"}),
		"60 MiB sent":        of(nil, copied(true), copied(true)),
		"1/2":                of(nil, copied(true), copied(false)),
		"failed: CopierLost": of(&metav1.Condition{Type: api.ConditionFileCopied, Status: metav1.ConditionFalse, Reason: api.ReasonCopierLost}, copied(true), copied(false)),
		"failed: NoCatalog":  of(&metav1.Condition{Type: api.ConditionFileCopied, Status: metav1.ConditionFalse, Reason: api.ReasonNoCatalog}),
	} {
		if got := filesCell(b); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := total(of(nil, copied(true), copied(true)).Status.Volumes); got != "4 GiB" {
		t.Errorf("%s of files", got)
	}
}

func TestTable(t *testing.T) {
	deleting := completed()
	deleting.Name, deleting.DeletionTimestamp, deleting.Status.Volumes[0].RestoreSize = "old", &metav1.Time{Time: start}, nil
	deleting.CreationTimestamp = metav1.NewTime(start.Add(-time.Hour))
	l := Listing{Backups: []api.Backup{*completed(), *deleting, {ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "new", CreationTimestamp: metav1.NewTime(start.Add(time.Hour))}}},
		Restores: []api.Restore{*restored()},
		Records:  []catalog.Head{{Namespace: "lost", Name: "nightly", UID: "u-9", CutTime: "2026-02-28T01:00:00Z"}, {Namespace: "lost", Name: "bad", CutTime: "?"}}}
	var got []string
	for _, row := range Table(l, start.Add(2*time.Hour)).Rows {
		var cells []string
		for _, c := range row.Cells[:9] {
			cells = append(cells, c.(string))
		}
		got = append(got, strings.Join(cells, "|"))
	}
	equal(t, got, `
clone|restore|r1|Failed: VerificationFailed|-|-|119m|-|-
lost|backup|bad|record only|-|-|-|-|-
lost|backup|nightly|record only|-|-|26h|-|-
medic|backup|old|Deleting|Consistent|312 ms|119m|-|-
medic|backup|nightly|Completed|Consistent|312 ms|119m|2 GiB|-
medic|backup|new|Accepted|-|-|-|-|-`)
	for _, row := range Table(l, start).Rows {
		if want := len(Table(l, start).ColumnDefinitions); len(row.Cells) != want {
			t.Errorf("row %v has %d cells, want %d", row.Cells[2], len(row.Cells), want)
		}
	}
}

func TestWithoutBackup(t *testing.T) {
	got := WithoutBackup([]catalog.Head{{UID: "u-1"}, {UID: "u-9"}}, []api.Backup{*completed()})
	if len(got) != 1 || got[0].UID != "u-9" {
		t.Errorf("got %v", got)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1 << 10: "1 KiB", 1536 << 20: "1.5 GiB", 1 << 62: "4 EiB"} {
		if got := bytes(n); got != want {
			t.Errorf("bytes(%d) = %q, want %q", n, got, want)
		}
	}
}
