package command

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"filippo.io/age"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/couchdb"
)

// password is the one that must show up nowhere.
const password = "hunter2-hunter2"

// offsiteCatalog is a catalog in a directory, and the key to it.
type offsiteCatalog struct {
	url, dir, key string
	recipient     string
	bucket        *bucket.Bucket
}

func newCatalog(t *testing.T) *offsiteCatalog {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cht")
	c := &offsiteCatalog{url: "file://" + dir, dir: dir, key: filepath.Join(t.TempDir(), "key")}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	c.recipient = id.Recipient().String()
	if err := os.WriteFile(c.key, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.bucket, err = bucket.Open(t.Context(), c.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.bucket.Close() })
	return c
}

// put writes a record, sealed unless told to leave its Secrets out.
func (c *offsiteCatalog) put(t *testing.T, r catalog.Record, cluster string, sealed bool) bucket.Manifest {
	t.Helper()
	by := bucket.Writer{Cluster: cluster, Program: "0.1.0"}
	if sealed {
		by.Recipients = []string{c.recipient}
	}
	m, err := c.bucket.Put(t.Context(), r, by)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func object(kind, apiVersion, namespace, name string, more map[string]any) json.RawMessage {
	o := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name, "namespace": namespace}}
	for k, v := range more {
		o[k] = v
	}
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return raw
}

func credentials(namespace string) json.RawMessage {
	return object("Secret", "v1", namespace, "cht-couchdb-credentials", map[string]any{"data": map[string]any{
		"COUCHDB_USER": base64.StdEncoding.EncodeToString([]byte("medic")), "COUCHDB_PASSWORD": base64.StdEncoding.EncodeToString([]byte(password))}})
}

// fullRecord is one as a backup writes it.
func fullRecord(namespace, name string, uid types.UID, cut time.Time) catalog.Record {
	const node = "couchdb@127.0.0.1"
	m := couchdb.ShardMap{ID: "medic", Suffix: []int{46, 49}, Changelog: [][]string{{"add", "00000000-ffffffff", node}},
		ByNode: map[string][]string{node: {"00000000-ffffffff"}}, ByRange: map[string][]string{"00000000-ffffffff": {node}}, Props: json.RawMessage(`{}`)}
	survey := catalog.Survey{ShardMaps: map[string]couchdb.ShardMap{"medic": m}, Counts: map[string]couchdb.Counts{"medic": {Documents: 7, Deleted: 1}, "medic-user-a-meta": {Documents: 2}}}
	return catalog.Record{Format: catalog.FormatVersion, Namespace: namespace, Name: name, UID: uid, CutTime: cut, Consistency: api.Consistent, CouchDB: "3.5.2",
		Nodes: []catalog.Node{{Service: "couchdb", ErlangName: node, Claim: "couchdb-claim0", DataSubPath: "data", ConfigOnVolume: true, Driver: "csi.one", StorageClass: "fast",
			CapacityBytes: 10 << 30, SnapshotHandle: "snap-1"}},
		Before: survey, After: survey,
		Images:  []catalog.Image{{Component: "couchdb", Container: "couchdb", Image: "public.ecr.aws/medic/cht-couchdb:5.0.0"}},
		Release: &catalog.Release{Name: "cht", Revision: 3, Chart: "cht-chart-4x", Version: "1.2.3"},
		Objects: []json.RawMessage{credentials(namespace), object("Secret", "v1", namespace, "tls", map[string]any{"data": map[string]any{"tls.key": base64.StdEncoding.EncodeToString([]byte(password + "-tls"))}}),
			object("Service", "v1", namespace, "couchdb", map[string]any{"spec": map[string]any{"ports": []any{map[string]any{"port": 5984}}}})}}
}

// newCluster are the objects of a cluster that lacks nothing for a fullRecord.
func newCluster() []client.Object {
	return []client.Object{
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "cht-backup", Labels: map[string]string{"app.kubernetes.io/name": "cht-backup"}}, Status: appsv1.DeploymentStatus{ReadyReplicas: 1}},
		&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "csi.one"}},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: "csi.one"},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}},
	}
}

func day(n int) time.Time { return time.Date(2026, 2, n, 1, 30, 0, 5000, time.UTC) }

// allow lets the user do all but the rights that are denied, as "VERB RESOURCE".
func allow(denied []string) interceptor.Funcs {
	return interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if review, ok := o.(*authorizationv1.SelfSubjectAccessReview); ok {
			a := review.Spec.ResourceAttributes
			review.Status.Allowed = !slices.Contains(denied, a.Verb+" "+a.Resource)
			return nil
		}
		return c.Create(ctx, o, opts...)
	}}
}

// records gives what of the backup is in the cluster.
func (w *world) records(t *testing.T) map[types.UID]catalog.Record {
	t.Helper()
	store := catalog.Store{Client: w, Namespace: system}
	heads, err := store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	found := map[types.UID]catalog.Record{}
	for _, h := range heads {
		r, err := store.Get(t.Context(), h.Secret)
		if err != nil {
			t.Fatal(err)
		}
		found[r.UID] = r
	}
	return found
}

func (w *world) head(t *testing.T, uid types.UID) catalog.Head {
	t.Helper()
	heads, err := catalog.Store{Client: w, Namespace: system}.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range heads {
		if h.UID == uid {
			return h
		}
	}
	t.Fatalf("no record of %s in %v", uid, heads)
	return catalog.Head{}
}

func spoil(t *testing.T, file string, edit func([]byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, edit(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (c *offsiteCatalog) file(m bucket.Manifest, name string) string {
	if name == "head" {
		return filepath.Join(c.dir, m.Head().Key())
	}
	return filepath.Join(c.dir, fmt.Sprintf("v1/data/%s/%s", m.UID, name))
}
