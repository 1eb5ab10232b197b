package repositories

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/file"
	"github.com/medic/cht-backup/snapshot/file/keyring"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/offsite"
	"github.com/medic/cht-backup/snapshot/reason"
)

var (
	_ file.Repositories = (*Store)(nil)
	_ file.Tended       = (*Store)(nil)
)

const home = "cht-backup-system"

func newStore(t *testing.T, dir string, kube client.Client) *Store {
	t.Helper()
	return &Store{Client: kube, Namespace: home, Catalog: &offsite.Place{URL: "file://" + dir, Now: time.Now}}
}

func newKube(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).Build()
}

func secrets(t *testing.T, kube client.Client) []corev1.Secret {
	t.Helper()
	var list corev1.SecretList
	if err := kube.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func idOf(t *testing.T, s *Store, namespace string) string {
	t.Helper()
	r, err := s.For(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	return r.ID()
}

func why(err error) string {
	if e := reason.Of(err); e != nil {
		return e.Reason
	}
	return ""
}

// An instance has one repository in a catalog, also for a controller that was restarted.
func TestEachInstanceHasOne(t *testing.T) {
	kube, dir := newKube(t), t.TempDir()
	s := newStore(t, dir, kube)
	id := idOf(t, s, "medic")
	if again, anew := idOf(t, s, "medic"), idOf(t, newStore(t, dir, kube), "medic"); again != id || anew != id || len(secrets(t, kube)) != 1 {
		t.Errorf("%s, then %s and %s; %d Secrets", id, again, anew, len(secrets(t, kube)))
	}
	if other := idOf(t, s, "uat"); other == id {
		t.Error("two instances share one")
	}
	if moved := idOf(t, newStore(t, t.TempDir(), kube), "medic"); moved == id {
		t.Error("another catalog has the same")
	}
	one := secrets(t, kube)[0]
	if one.Namespace != home || one.Type != keyring.SecretType || !strings.Contains(one.Name, one.Labels[keyring.Label]) || one.Labels[api.SourceNamespaceLabel] == "" {
		t.Errorf("%+v", one.ObjectMeta)
	}
	// Nothing of a key lies open in the bucket.
	key := string(one.Data[keyring.KeyData])
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
		if d.Type().IsRegular() {
			if text, _ := os.ReadFile(path); strings.Contains(string(text), key) {
				t.Errorf("%s has the key", path)
			}
		}
		return nil
	})
}

// A controller that died in between leaves a key of nothing: the next one goes on.
func TestAKeyWithoutItsRepository(t *testing.T) {
	kube, dir := newKube(t), t.TempDir()
	s := newStore(t, dir, kube)
	key, err := repo.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := kube.Create(t.Context(), keyring.SecretOf(home, "made", key, keyring.Write, "medic", s.Catalog.Shown())); err != nil {
		t.Fatal(err)
	}
	if id := idOf(t, s, "medic"); id != "made" {
		t.Error(id)
	}
	if err := os.RemoveAll(filepath.Join(dir, "v1")); err != nil { // somebody emptied the bucket
		t.Fatal(err)
	}
	if id := idOf(t, s, "medic"); id != "made" {
		t.Error(id)
	}
}

// What was brought in to restore from is not written to.
func TestAKeyToReadByIsNotWrittenBy(t *testing.T) {
	kube, dir := newKube(t), t.TempDir()
	theirs := newStore(t, dir, newKube(t))
	id := idOf(t, theirs, "medic")
	key, err := keyOf(&secrets(t, theirs.Client)[0])
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t, dir, kube)
	if _, err := s.Open(t.Context(), id); why(err) != api.ReasonRepositoryKey {
		t.Errorf("without a key: %v", err)
	}
	if err := kube.Create(t.Context(), keyring.SecretOf(home, id, key, keyring.Read, "medic", s.Catalog.Shown())); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Open(t.Context(), id); err != nil || r.ID() != id {
		t.Errorf("%v", err)
	}
	if own := idOf(t, s, "medic"); own == id {
		t.Error("another cluster's repository is written to")
	}
	if due, err := s.Due(t.Context(), time.Now()); err != nil || len(due) != 1 || due[id] != "" {
		t.Errorf("looked after: %v, %v", due, err)
	}
	if _, err := newStore(t, t.TempDir(), kube).Open(t.Context(), id); why(err) != api.ReasonNoCatalog {
		t.Errorf("in another catalog: %v", err)
	}
}

func TestNewRecipientsGetTheKey(t *testing.T) {
	kube, dir := newKube(t), t.TempDir()
	s := newStore(t, dir, kube)
	id := idOf(t, s, "medic")
	objects, err := s.Catalog.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	owner, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.UnsealKey(t.Context(), objects, id, owner); err == nil {
		t.Error("a key lies there for whom nobody knew")
	}
	s.Recipients = []age.Recipient{owner.Recipient()}
	idOf(t, s, "medic")
	want, _ := keyOf(&secrets(t, kube)[0])
	if got, err := repo.UnsealKey(t.Context(), objects, id, owner); err != nil || !got.Is(want) {
		t.Errorf("%v", err)
	}
}

func TestTended(t *testing.T) {
	s := newStore(t, t.TempDir(), newKube(t))
	id := idOf(t, s, "medic")
	now := time.Now()
	if due, err := s.Due(t.Context(), now); err != nil || due[id] != "medic" {
		t.Errorf("%v, %v", due, err)
	}
	if err := s.NoteTended(t.Context(), id, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if due, err := s.Due(t.Context(), now); err != nil || len(due) != 0 {
		t.Errorf("%v, %v", due, err)
	}
}
