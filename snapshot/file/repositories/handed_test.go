package repositories

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/file/keyring"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

func TestWhatBecomesOfAKey(t *testing.T) {
	handed := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return handed.Add(time.Duration(minutes) * time.Minute) }
	reads := []string{"one"}
	for _, tt := range []struct {
		name string
		used bool
		uses []use
		now  time.Time
		want verdict
	}{
		{"its restore is yet to come", false, nil, at(60), keep},
		{"nobody ever read with it", false, nil, at(8 * 24 * 60), takeBack},
		{"a restore is about to read", false, []use{{created: at(1), repositories: reads}}, at(2), keep},
		{"a restore reads", true, []use{{created: at(1), repositories: reads}}, at(30 * 24 * 60), keep},
		{"it is not known yet what one reads", true, []use{{created: at(1), unknown: true}}, at(2), keep},
		{"the restore has ended", true, []use{{created: at(1), ended: true, repositories: reads}}, at(30), takeBack},
		{"… before anybody saw it at work", false, []use{{created: at(1), ended: true, repositories: reads}}, at(30), takeBack},
		{"the restore was deleted", true, nil, at(30), takeBack},
		{"another restore reads with it", true, []use{{created: at(1), ended: true, repositories: reads}, {created: at(3), repositories: reads}}, at(30), keep},
		{"one that ended before the key came again", false, []use{{created: at(-9), ended: true, repositories: reads}}, at(30), keep},
		{"a restore that reads elsewhere", false, []use{{created: at(1), repositories: []string{"two"}}}, at(30), keep},
		{"… and its own has ended", true, []use{{created: at(1), repositories: []string{"two"}}}, at(30), takeBack},
	} {
		if got := judge("one", handed, tt.used, tt.uses, tt.now); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// A key that came for a restore goes when that has ended, but not under another restore;
// what this cluster writes with stays.
func TestHandedKeysAreTakenBack(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now().Truncate(time.Second)
	restore := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "r", CreationTimestamp: metav1.NewTime(now)}}
	other := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: "clone", Name: "r2", CreationTimestamp: metav1.NewTime(now)}}
	key, err := repo.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	read, write := keyring.SecretOf(home, "theirs", key, keyring.Read, "medic", "s3://b"), keyring.SecretOf(home, "ours", key, keyring.Write, "medic", "s3://b")
	read.UID, read.CreationTimestamp = "key", metav1.NewTime(now)
	kube := fake.NewClientBuilder().WithScheme(scheme).WithObjects(read, write, restore, other).WithStatusSubresource(&api.Restore{}).Build()
	records := catalog.Store{Client: kube, Namespace: home}
	r := catalog.Record{Namespace: "medic", Name: "nightly", UID: "u-1", Nodes: []catalog.Node{{Service: "couchdb", Method: api.MethodFile, File: &api.FileVolume{Repository: "theirs", Tree: "t", Complete: true}}}}
	head, err := records.Put(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &Handed{Store: newStore(t, t.TempDir(), kube), Records: records, Now: func() time.Time { return now }}
	look := func(step string, want ...string) {
		t.Helper()
		if err := h.Once(t.Context()); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		var keys corev1.SecretList
		if err := kube.List(t.Context(), &keys, client.HasLabels{keyring.Label}); err != nil {
			t.Fatal(err)
		}
		if len(keys.Items) != len(want) {
			t.Errorf("%s: %d keys, want %v", step, len(keys.Items), want)
		}
	}
	phase := func(r *api.Restore, p api.Phase) {
		t.Helper()
		r.Status.Phase, r.Status.Record = p, head
		if err := kube.Status().Update(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	look("restores that have not found their records", "ours", "theirs")
	if _, err := h.Store.Open(t.Context(), "theirs"); why(err) != api.ReasonNoCatalog { // what a restore does first; here there is none to read
		t.Fatal(err)
	}
	phase(restore, api.PhaseVolumes)
	phase(other, api.PhaseVolumes)
	look("both read", "ours", "theirs")
	phase(restore, api.PhaseCompleted)
	look("one reads", "ours", "theirs")
	if err := kube.Delete(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	look("one has ended, the other is gone", "ours", "theirs")
	late := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: "clone", Name: "r3", CreationTimestamp: metav1.NewTime(now)}}
	if err := kube.Create(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	look("a third came meanwhile, which had seen the key", "ours", "theirs")
	if err := kube.Delete(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	look("it is gone", "ours", "theirs")
	look("nobody came", "ours")
	if _, err := h.Store.Open(t.Context(), "theirs"); why(err) != api.ReasonRepositoryKey {
		t.Errorf("opened without its key: %v", err)
	}
}

// A restore that was over, and gone, before anybody looked: the key goes all the same.
func TestAKeyOfARestoreThatIsGone(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	key, err := repo.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, read := range []bool{true, false} {
		secret := keyring.SecretOf(home, "theirs", key, keyring.Read, "medic", "s3://b")
		secret.CreationTimestamp, secret.UID = metav1.Now(), "key"
		kube := fake.NewClientBuilder().WithScheme(scheme).WithObjects(secret).Build()
		h := &Handed{Store: newStore(t, t.TempDir(), kube), Records: catalog.Store{Client: kube, Namespace: home}, Now: time.Now}
		if read {
			if _, err := h.Store.Open(t.Context(), "theirs"); why(err) != api.ReasonNoCatalog {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := h.Once(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if left := len(secrets(t, kube)); (left == 0) != read {
			t.Errorf("read with: %t, keys left: %d", read, left)
		}
	}
}
