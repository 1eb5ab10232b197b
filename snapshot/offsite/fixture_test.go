package offsite

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
)

const home = "cht-backup-system"

var epoch = time.Date(2026, 7, 1, 12, 0, 0, 123456000, time.UTC)

// world is a cluster with a catalog in a directory.
type world struct {
	t       *testing.T
	now     time.Time
	url     string
	objects client.Client
	records catalog.Store
	place   *Place
	keeper  *Keeper
	events  *events.FakeRecorder
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&api.Backup{}).WithObjects(objects...).Build()
	w := &world{t: t, now: epoch.Add(time.Hour), url: "file://" + t.TempDir() + "/catalog", objects: c, records: catalog.Store{Client: c, Namespace: home}, events: events.NewFakeRecorder(100)}
	clock := func() time.Time { return w.now }
	w.place = &Place{URL: w.url, Now: clock}
	w.keeper = &Keeper{Place: w.place, Records: w.records, Events: w.events, Now: clock,
		Cluster: func(context.Context) (string, error) { return "here", nil }, Writer: bucket.Writer{Program: "test"}}
	return w
}

func record(namespace, name string, uid types.UID, cut time.Time) catalog.Record {
	return catalog.Record{Namespace: namespace, Name: name, UID: uid, CutTime: cut, Consistency: api.Consistent,
		Nodes: []catalog.Node{{Service: "couchdb", ErlangName: "couchdb@127.0.0.1", Claim: "couchdb-claim0", Driver: "d", SnapshotHandle: "h"}}}
}

// completed is a Backup whose record is in the cluster.
func (w *world) completed(namespace, name string, uid types.UID) *api.Backup {
	w.t.Helper()
	r := record(namespace, name, uid, epoch)
	head, err := w.records.Put(w.t.Context(), r, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	cut := metav1.NewMicroTime(epoch)
	return &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: uid, Finalizers: []string{api.Finalizer}},
		Status: api.BackupStatus{Phase: api.PhaseCompleted, Record: head, CutTime: &cut}}
}

// elsewhere puts a record into the catalog that another cluster took.
func (w *world) elsewhere(namespace, name string, uid types.UID, cut time.Time) bucket.Head {
	w.t.Helper()
	b, err := bucket.Open(w.t.Context(), w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	r := record(namespace, name, uid, cut)
	if _, err := b.Put(w.t.Context(), r, bucket.Writer{Cluster: "there"}); err != nil {
		w.t.Fatal(err)
	}
	return bucket.HeadOf(r)
}

func (w *world) heads() (all []bucket.Head) {
	w.t.Helper()
	b, err := bucket.Open(w.t.Context(), w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := b.Heads(w.t.Context(), "", func(h bucket.Head) error { all = append(all, h); return nil }); err != nil {
		w.t.Fatal(err)
	}
	return all
}
