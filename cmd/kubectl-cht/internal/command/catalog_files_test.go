package command

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/file/keyring"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

// newCatalogWithFiles has a backup of method File, whose repository's key is sealed to
// the catalog's recipient, or to nobody.
func newCatalogWithFiles(t *testing.T, sealed bool) (*offsiteCatalog, repo.Key) {
	t.Helper()
	c := newCatalog(t)
	key, to := c.newKey(t, sealed)
	r := fullRecord("medic", "nightly-1", "uid-1", day(1))
	n := &r.Nodes[0]
	n.Method, n.Driver, n.SnapshotHandle = api.MethodFile, "", ""
	n.File = &api.FileVolume{Repository: "repo-1", Tree: "20260201T013000.000000Z_uid-1_couchdb", Files: 3, Complete: true}
	c.put(t, r, "old", true)
	if err := repo.Create(t.Context(), c.bucket.Objects(), "repo-1", key, to...); err != nil {
		t.Fatal(err)
	}
	return c, key
}

// onDisk is a cluster without snapshots, whose controller is set to a catalog.
func onDisk(url string) []client.Object {
	labels := map[string]string{"app.kubernetes.io/name": "cht-backup"}
	return []client.Object{
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "cht-backup", Labels: labels}, Status: appsv1.DeploymentStatus{ReadyReplicas: 1}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "cht-backup"}, Data: map[string]string{"config.yaml": "catalog-url: " + url + "\n"}},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "local-path", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}}, Provisioner: "local"},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}},
	}
}

func (w *world) keySecret(t *testing.T) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	err := w.Get(t.Context(), client.ObjectKey{Namespace: system, Name: keyring.SecretName("repo-1")}, &s)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return &s
}

// The key of the files' repository is opened here, and given to the controller.
func TestRestoreOfFilesGivesTheKey(t *testing.T) {
	c, key := newCatalogWithFiles(t, true)
	w := newWorld(t, allow(nil), onDisk(c.url)...)
	args := []string{"restore", "--from", c.url + "/medic/nightly-1", "--to", "medic", "--no-wait"}
	w.mustRun(t, exit.Refused, []string{"--identity FILE"}, args...)
	if w.keySecret(t) != nil {
		t.Error("whose key is it?")
	}
	w.mustRun(t, exit.Good, nil, append(args, "--identity", c.key, "--name", "r")...)
	s := w.keySecret(t)
	if s == nil {
		t.Fatalf("no secret was made:\n%s", w.er)
	}
	have, err := repo.ParseKey(string(s.Data[keyring.KeyData]))
	if err != nil || !have.Is(key) || s.Labels[keyring.Label] != "repo-1" || s.Labels[keyring.UseLabel] != string(keyring.Read) || s.Type != keyring.SecretType {
		t.Errorf("%v, %+v", err, s.ObjectMeta)
	}
	if strings.Contains(w.out.String()+w.er.String(), strings.Split(key.Text(), "\n")[1]) {
		t.Error("the key was printed")
	}
	var made api.Restore
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "medic", Name: "r"}, &made); err != nil || made.Spec.DataFrom != api.DataAuto {
		t.Errorf("%+v, %v", made.Spec, err)
	}
}

func TestRestoreOfFilesIsRefused(t *testing.T) {
	other, err := repo.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		sealed  bool
		url     func(*offsiteCatalog) string
		objects []client.Object
		says    string
	}{
		{"no catalog", true, func(*offsiteCatalog) string { return `""` }, nil, "is set to no catalog; set value controller.catalog.url of its chart"},
		{"sealed to nobody", false, func(c *offsiteCatalog) string { return c.url }, nil, "the identity does not open the key of repository repo-1"},
		{"another key", true, func(c *offsiteCatalog) string { return c.url }, []client.Object{keyring.SecretOf(system, "repo-1", other, keyring.Read, "medic", "")}, "holds another key of repository repo-1"},
	} {
		c, _ := newCatalogWithFiles(t, tt.sealed)
		w := newWorld(t, allow(nil), append(onDisk(tt.url(c)), tt.objects...)...)
		w.mustRun(t, exit.Refused, []string{tt.says}, "restore", "--from", c.url+"/medic/nightly-1", "--to", "medic", "--identity", c.key, "--no-wait")
		if len(w.records(t)) > 0 {
			t.Errorf("%s: the record was imported", tt.name)
		}
	}
}

// A backup that has snapshots too is restored without the key of its copy.
func TestRestoreOfACopyNeedsNoKey(t *testing.T) {
	c, _ := newCatalogWithFiles(t, false)
	r := fullRecord("medic", "nightly-2", "uid-2", day(2))
	r.Nodes[0].File = &api.FileVolume{Repository: "repo-1", Tree: "20260202T013000.000000Z_uid-2_couchdb", Complete: true}
	c.put(t, r, "old", true)
	w := newWorld(t, allow(nil), newCluster()...)
	args := []string{"restore", "--from", c.url + "/medic/nightly-2", "--identity", c.key, "--no-wait"}
	w.mustRun(t, exit.Good, nil, append(args, "--to", "medic")...)
	if w.keySecret(t) != nil {
		t.Error("whose key is it?")
	}
	w.mustRun(t, exit.Refused, []string{"does not open the key of repository repo-1"}, append(args, "--to", "medic2", "--data-from", "File")...)
}
