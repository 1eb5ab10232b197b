package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/cut"
	"github.com/medic/cht-backup/snapshot/queue"
)

const (
	ns   = "cht-kilifi"
	home = "cht-backup-system"
)

var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// bench is a reconciler with everything around it played by the test.
type bench struct {
	*Reconciler
	t       *testing.T
	now     time.Time
	snaps   *fakeSnapshotter
	couch   *fakeCouch
	objects client.WithWatch
	ran     []string // commands in pods
	runErr  error
}

func newBench(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, snapv1.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&api.Backup{}, &api.Restore{}).WithObjects(objects...).Build()
	b := &bench{t: t, now: epoch, snaps: &fakeSnapshotter{}, couch: &fakeCouch{name: cht.SingleNodeName}, objects: c}
	b.Reconciler = &Reconciler{Client: c, Snapshotter: b.snaps, Records: catalog.Store{Client: c, Namespace: home},
		Events: events.NewFakeRecorder(1000), Transport: b.couch, Image: "cht-backup:test", Now: func() time.Time { return b.now },
		Parallel: queue.Limits{Cluster: 8, Driver: 8}}
	b.Run = func(_ context.Context, _, pod, _ string, command []string, _ io.Reader, _ io.Writer) error {
		b.ran = append(b.ran, pod+": "+strings.Join(command, " "))
		return b.runErr
	}
	return b
}

// instance is a one-node CHT, and its namespace.
func instance() []client.Object {
	labels := map[string]string{cht.ServiceLabel: "couchdb"}
	one, class := int32(1), "gp3"
	m := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Namespace: ns} }
	pod := &corev1.Pod{ObjectMeta: m("cht-couchdb-x")}
	pod.Labels = labels
	pod.Spec.Volumes = []corev1.Volume{{Name: "d", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "couchdb-claim0"}}}}
	pod.Spec.Containers = []corev1.Container{{Name: "couchdb", VolumeMounts: []corev1.VolumeMount{{Name: "d", MountPath: cht.DataMount, SubPath: "data"}}}}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.7", Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	d := &appsv1.Deployment{ObjectMeta: m("cht-couchdb"), Spec: appsv1.DeploymentSpec{Replicas: &one}}
	d.Spec.Template.Labels = labels
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}},
		pod, d,
		&corev1.Secret{ObjectMeta: m(cht.CredentialsSecret), Data: map[string][]byte{"COUCHDB_USER": []byte("medic"), "COUCHDB_PASSWORD": []byte("pw")}},
		&corev1.PersistentVolumeClaim{ObjectMeta: m("couchdb-claim0"), Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv", StorageClassName: &class},
			Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}},
		&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}, ClaimRef: &corev1.ObjectReference{Namespace: ns, Name: "couchdb-claim0"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d"}}}},
	}
}

func backup(change ...func(*api.Backup)) *api.Backup {
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Name: "nightly", Namespace: ns, UID: "uid-5", CreationTimestamp: metav1.NewTime(epoch)},
		Spec: api.BackupSpec{Quiesce: api.QuiesceNone, MaxStall: metav1.Duration{Duration: 10 * time.Second}, OnUnavailable: "Fail", Attempts: 3,
			ReadyTimeout: metav1.Duration{Duration: time.Hour}, AllowedNamespaces: []string{"clone"}}}
	for _, f := range change {
		f(b)
	}
	return b
}

// in sets the status an earlier reconcile left behind.
func in(phase api.Phase, attempt int32) func(*api.Backup) {
	return func(b *api.Backup) {
		b.Finalizers = []string{api.Finalizer}
		b.Status.Phase, b.Status.Attempt = phase, attempt
	}
}

// reconcile runs one turn and gives what is stored then.
func (b *bench) reconcile() (*api.Backup, time.Duration, error) {
	b.t.Helper()
	key := client.ObjectKey{Namespace: ns, Name: "nightly"}
	result, err := b.Reconcile(b.t.Context(), ctrl.Request{NamespacedName: key})
	var stored api.Backup
	if getErr := b.objects.Get(b.t.Context(), key, &stored); client.IgnoreNotFound(getErr) != nil {
		b.t.Fatal(getErr)
	}
	return &stored, result.RequeueAfter, err
}

// run reconciles until the backup ends; turns without an end are a failure.
func (b *bench) run() *api.Backup {
	b.t.Helper()
	for range 50 {
		stored, _, err := b.reconcile()
		if err != nil {
			b.t.Logf("reconcile: %v", err)
		}
		if Ended(stored.Status.Phase) {
			return stored
		}
	}
	b.t.Fatal("50 reconciles and no end")
	return nil
}

func ready(b *api.Backup) metav1.Condition {
	if c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionReady); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// fakeSnapshotter cuts as it is told.
type fakeSnapshotter struct {
	prepareErr, cutErr, refreshErr, markErr, keepErr error
	// failFirst is how many cuts fail with cutErr; 0 means all.
	failFirst                                               int
	neverReady                                              bool
	prepared, cuts, done, discards, marked, kept, refreshes int
	planned                                                 []api.VolumeStatus
	warm                                                    func(context.Context) error
	discardErr                                              error
	ebs                                                     *api.EBSVolume // of a cut that EBS made
	// stuck is how many discards find one snapshot still there.
	stuck int
}

func (f *fakeSnapshotter) Prepare(_ context.Context, b *api.Backup, nodes []cht.Node) (cut.Prepared, error) {
	f.prepared++
	if f.prepareErr != nil {
		return cut.Prepared{}, f.prepareErr
	}
	makeIt := func(context.Context) ([]api.VolumeStatus, error) {
		f.cuts++
		if f.cutErr != nil && (f.failFirst == 0 || f.cuts <= f.failFirst) {
			return nil, f.cutErr
		}
		var volumes []api.VolumeStatus
		for _, n := range nodes {
			volumes = append(volumes, api.VolumeStatus{Node: n.Service, Claim: n.Claim.Name, Snapshot: fmt.Sprintf("s-%d", b.Status.Attempt), Content: "c", Handle: "h",
				Driver: "d", CutTime: &metav1.MicroTime{Time: epoch.Add(time.Second)}})
		}
		if f.ebs != nil {
			volumes[0].Method, volumes[0].EBS, volumes[0].Driver = api.MethodEBS, f.ebs, cht.EBSDriver
		}
		return volumes, nil
	}
	return cut.Prepared{Make: makeIt, Done: func() { f.done++ }, Volumes: f.planned, Warm: f.warm}, nil
}

func (f *fakeSnapshotter) Refresh(_ context.Context, _ *api.Backup, volumes ...*api.VolumeStatus) error {
	f.refreshes++
	for _, v := range volumes {
		v.Ready = !f.neverReady
	}
	return f.refreshErr
}

func (f *fakeSnapshotter) Mark(context.Context, *api.Backup, ...*api.VolumeStatus) error {
	f.marked++
	return f.markErr
}

func (f *fakeSnapshotter) Keep(context.Context, *api.Backup, ...*api.VolumeStatus) error {
	f.kept++
	return f.keepErr
}

func (f *fakeSnapshotter) Discard(context.Context, *api.Backup) (int, error) {
	f.discards++
	if f.discardErr != nil {
		return 1, f.discardErr
	}
	if f.stuck > 0 {
		f.stuck--
		return 1, nil
	}
	return 0, nil
}

// fakeCouch is a one-node CouchDB.
type fakeCouch struct {
	name        string
	members     []string // default: itself
	maintenance bool
	status      int // of every answer, when set
	noDatabases bool
}

func (f *fakeCouch) RoundTrip(r *http.Request) (*http.Response, error) {
	members := f.members
	if members == nil {
		members = []string{f.name}
	}
	status, answer := 200, any(map[string]any{})
	switch path := r.URL.Path; {
	case f.status != 0:
		status = f.status
	case path == "/":
		answer = map[string]any{"version": "3.5.2"}
	case path == "/_node/_local":
		answer = map[string]any{"name": f.name}
	case path == "/_up" && f.maintenance:
		status, answer = 404, map[string]any{"status": "maintenance_mode"}
	case path == "/_membership":
		answer = map[string]any{"all_nodes": members, "cluster_nodes": members}
	case strings.HasSuffix(path, "/_all_docs") && f.noDatabases:
		answer = map[string]any{"rows": []any{}}
	case strings.HasSuffix(path, "/_all_docs"):
		answer = map[string]any{"rows": []any{map[string]any{"id": "medic", "doc": map[string]any{"_id": "medic", "shard_suffix": []int{46},
			"by_node": map[string]any{f.name: []string{"0-f"}}, "by_range": map[string]any{"0-f": []string{f.name}}}}}}
	case path == "/_dbs_info":
		answer = []any{map[string]any{"key": "medic", "info": map[string]any{"doc_count": 7, "doc_del_count": 1, "sizes": map[string]any{"file": 98_765, "external": 5, "active": 6}}}}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(string(text))), Header: http.Header{}, Request: r}, nil
}
