package restore

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
)

const (
	source = "cht"
	target = "clone"
	home   = "cht-backup-system"
)

var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// bench is a reconciler against a fake API server.
type bench struct {
	*Reconciler
	t   *testing.T
	now time.Time
}

func newBench(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, snapv1.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	// Without a node no restore begins.
	if !slices.ContainsFunc(objects, func(o client.Object) bool { _, node := o.(*corev1.Node); return node }) {
		objects = append(slices.Clone(objects), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Labels: map[string]string{corev1.LabelHostname: "worker-1"}}})
	}
	// Nor without the driver.
	objects = append(slices.Clone(objects), &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "d"}})
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&api.Backup{}, &api.Restore{}).WithObjects(objects...).
		WithIndex(&api.Restore{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).Build()
	b := &bench{t: t, now: epoch}
	b.Reconciler = &Reconciler{Client: c, Records: catalog.Store{Client: c, Namespace: home}, Events: events.NewFakeRecorder(1000), Image: "cht-backup:test",
		Now: func() time.Time { return b.now }}
	b.setUpFills()
	return b
}

func restoreOf(change ...func(*api.Restore)) *api.Restore {
	r := &api.Restore{ObjectMeta: metav1.ObjectMeta{Name: "r", Namespace: target, UID: "restore-5", CreationTimestamp: metav1.NewTime(epoch), Finalizers: []string{api.Finalizer}},
		Spec: api.RestoreSpec{Source: api.BackupReference{Namespace: source, Name: "nightly"}, StepTimeout: metav1.Duration{Duration: time.Minute}}}
	for _, f := range change {
		f(r)
	}
	return r
}

func phase(p api.Phase) func(*api.Restore) {
	return func(r *api.Restore) {
		now := metav1.NewMicroTime(epoch)
		r.Status.Phase, r.Status.PhaseTime = p, &now
	}
}

func live(r *api.Restore) { r.Spec.GoLive = true }

// objects of a two-node CHT with all it needs here.
func recorded(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	deployment := func(service, replicas string) string {
		return `{apiVersion: apps/v1, kind: Deployment, metadata: {name: cht-` + service + `, namespace: cht}, spec: {` + replicas + ` template: {metadata: {labels: {cht.service: ` + service + `}}, spec: {}}}}`
	}
	var all []*unstructured.Unstructured
	for _, text := range []string{
		`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: api-ingress, namespace: cht}, spec: {rules: [{host: cht.example.org}]}}`,
		deployment("couchdb-1", "replicas: 1,"), deployment("couchdb-2", "replicas: 1,"), deployment("api", "replicas: 3,"), deployment("sentinel", "replicas: 0,"), deployment("haproxy", ""),
		`{apiVersion: v1, kind: Service, metadata: {name: couchdb-1, namespace: cht}, spec: {ports: [{port: 5984}]}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: cht-couchdb-credentials, namespace: cht}}`,
		`{apiVersion: v1, kind: ServiceAccount, metadata: {name: cht-upgrade-service-user, namespace: cht}}`,
		`{apiVersion: batch/v1, kind: CronJob, metadata: {name: not-ours, namespace: cht}}`,
	} {
		all = append(all, object(t, text))
	}
	return all
}

func recordOf(t *testing.T, uid types.UID) catalog.Record {
	t.Helper()
	r := catalog.Record{Namespace: source, Name: "nightly", UID: uid, CutTime: epoch, Consistency: api.Consistent}
	for _, n := range []string{"couchdb-1", "couchdb-2"} {
		r.Nodes = append(r.Nodes, catalog.Node{Service: n, ErlangName: "couchdb@" + n + ".cht.svc.cluster.local", Claim: n + "-claim0", StorageClass: "gp3", CapacityBytes: 1 << 30,
			DataSubPath: "data", ConfigSubPath: "local.d", ConfigOnVolume: true, Driver: "d", SnapshotHandle: "h-" + n})
	}
	for _, o := range recorded(t) {
		raw, err := json.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		r.Objects = append(r.Objects, raw)
	}
	return r
}

func (b *bench) put(uid types.UID, allowed ...string) {
	b.t.Helper()
	if _, err := b.Records.Put(b.t.Context(), recordOf(b.t, uid), allowed); err != nil {
		b.t.Fatal(err)
	}
}

func gp3() *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "gp3"}, Provisioner: "d"}
}

// reconcile runs one turn and gives what is stored then; nil when it is gone.
func (b *bench) reconcile() (*api.Restore, error) {
	b.t.Helper()
	key := client.ObjectKey{Namespace: target, Name: "r"}
	_, err := b.Reconcile(b.t.Context(), ctrl.Request{NamespacedName: key})
	var stored api.Restore
	if getErr := b.Client.Get(b.t.Context(), key, &stored); getErr != nil {
		if client.IgnoreNotFound(getErr) != nil {
			b.t.Fatal(getErr)
		}
		return nil, err
	}
	return &stored, err
}

func ready(r *api.Restore) metav1.Condition {
	if c := meta.FindStatusCondition(r.Status.Conditions, api.ConditionReady); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// workOf is what the steps of a restore work on, as load makes it.
func workOf(t *testing.T, restore *api.Restore) *work {
	t.Helper()
	w := &work{restore: restore, record: recordOf(t, "u1"), source: recorded(t)}
	w.rewrite = newRewriter(source, restore.Namespace, w.source)
	w.target = restored(restore, w.source, w.rewrite)
	return w
}
