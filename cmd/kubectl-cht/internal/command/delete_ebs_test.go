package command

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// ebsRecordOf is the record of a backup with a volume that EC2 cut.
func ebsRecordOf(t *testing.T, name string, uid types.UID, from string) *corev1.Secret {
	t.Helper()
	store := catalog.Store{Client: fake.NewClientBuilder().WithScheme(Scheme()).Build(), Namespace: system}
	head, err := store.Put(t.Context(), catalog.Record{Namespace: "medic", Name: name, UID: uid, CutTime: noon, ImportedFrom: from, Nodes: []catalog.Node{{
		Service: "couchdb", ErlangName: "couchdb@127.0.0.1", Claim: "couchdb-claim0", DataSubPath: "data", Method: api.MethodEBS, Driver: "ebs.csi.aws.com", SnapshotHandle: "snap-0123456789abcdef0",
		EBS: &api.EBSVolume{VolumeID: "vol-0123456789abcdef0", Region: "eu-west-1"}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var secret corev1.Secret
	if err := store.Client.Get(t.Context(), client.ObjectKey{Namespace: system, Name: head}, &secret); err != nil {
		t.Fatal(err)
	}
	secret.ResourceVersion = ""
	return &secret
}

// What EC2 has of a backup goes with its record, and before it.
func TestDeleteRecordOfEBS(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, ebsRecordOf(t, "old", "u-1", ""))
	var asked []*api.Backup
	answer := errors.New("EC2 says SnapshotLocked")
	w.env.DiscardEBS = func(_ context.Context, b *api.Backup) (int, error) {
		asked = append(asked, b)
		return 1, answer
	}
	w.mustRun(t, exit.Refused, []string{"SnapshotLocked", "its record is kept"}, "delete", "backup", "old", "--yes")
	if got := w.left(t); !slices.Equal(got, []string{"cht-backup-u-1"}) {
		t.Fatalf("left %v", got)
	}
	answer = nil
	w.mustRun(t, exit.Refused, []string{"1 snapshots are still there", "its record is kept"}, "delete", "backup", "old", "--yes")
	w.env.DiscardEBS = func(_ context.Context, b *api.Backup) (int, error) {
		asked = append(asked, b)
		if got := w.left(t); len(got) != 1 {
			t.Errorf("the record went first: %v", got)
		}
		return 0, nil
	}
	w.somebody("old\n")
	w.mustRun(t, exit.Good, nil, "delete", "backup", "old")
	if said := w.er.String(); !strings.Contains(said, "snap-0123456789abcdef0 in eu-west-1") || !strings.Contains(said, "backup-uid,Values=u-1") {
		t.Errorf("said: %s", said)
	}
	if got := w.left(t); len(got) != 0 || len(asked) != 3 {
		t.Fatalf("left %v, asked %d times", got, len(asked))
	}
	b := asked[2]
	if v := b.Status.Volumes; b.Namespace != "medic" || b.Name != "old" || b.UID != "u-1" || len(v) != 1 || v[0].Method != api.MethodEBS || v[0].Handle != "snap-0123456789abcdef0" || v[0].EBS.VolumeID != "vol-0123456789abcdef0" || v[0].EBS.Region != "eu-west-1" {
		t.Errorf("asked for %+v", b)
	}
}

// A record that was imported is not the snapshots' last: they are another cluster's.
func TestDeleteImportedRecord(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, ebsRecordOf(t, "old", "u-1", "s3://backups/cht"), contentOf("old", "u-1", "couchdb"))
	w.env.DiscardEBS = func(context.Context, *api.Backup) (int, error) {
		t.Error("EC2 was asked to delete")
		return 0, nil
	}
	w.somebody("old\n")
	w.mustRun(t, exit.Good, nil, "delete", "backup", "old")
	if said := w.er.String() + w.out.String(); !strings.Contains(said, "imported from \"s3://backups/cht\"") || !strings.Contains(said, "its snapshots stay") {
		t.Errorf("said: %s", said)
	}
	if got := w.left(t); !slices.Equal(got, []string{"u-1-couchdb=Retain"}) {
		t.Errorf("left %v", got)
	}
}
