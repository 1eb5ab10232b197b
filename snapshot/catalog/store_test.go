package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/couchdb"
)

const (
	home = "cht-backup-system"
	node = "couchdb@127.0.0.1"
)

func store(objects ...client.Object) Store {
	return Store{Client: fake.NewClientBuilder().WithObjects(objects...).Build(), Namespace: home}
}

func record(uid types.UID) Record {
	m := couchdb.ShardMap{ID: "medic", Suffix: []int{46, 49}, Changelog: [][]string{{"add", "00000000-ffffffff", node}},
		ByNode: map[string][]string{node: {"00000000-ffffffff"}}, ByRange: map[string][]string{"00000000-ffffffff": {node}}, Props: json.RawMessage(`{}`)}
	survey := Survey{ShardMaps: map[string]couchdb.ShardMap{"medic": m}, Counts: map[string]couchdb.Counts{"medic": {Documents: 7, Deleted: 1}}}
	return Record{Namespace: "cht-kilifi", Name: "nightly", UID: uid, CutTime: time.Date(2026, 7, 1, 12, 0, 0, 5000, time.UTC), Consistency: api.Consistent, CouchDB: "3.5.2",
		Nodes:  []Node{{Service: "couchdb", ErlangName: node, Claim: "couchdb-claim0", DataSubPath: "data", ConfigOnVolume: true, Driver: "d", SnapshotHandle: "snap-1"}},
		Before: survey, After: survey, Objects: []json.RawMessage{json.RawMessage(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"cht-couchdb-credentials","namespace":"cht-kilifi"}}`)}}
}

// large makes a record that does not compress below several chunks.
func large(uid types.UID) Record {
	r := record(uid)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 6000 {
		name := fmt.Sprintf("medic-user-%d-meta", i)
		m := couchdb.ShardMap{ID: name, ByNode: map[string][]string{}, ByRange: map[string][]string{}}
		for range 12 {
			shard := fmt.Sprintf("%08x-%08x", random.Uint32(), random.Uint32())
			m.ByRange[shard] = []string{node}
			m.ByNode[node] = append(m.ByNode[node], shard)
		}
		r.Before.ShardMaps[name] = m
	}
	return r
}

// storedLarge gives a store that holds large("uid-1"), packed only once for all.
func storedLarge(t *testing.T) (Store, string) {
	t.Helper()
	packOnce.Do(func() {
		s := store()
		if _, err := s.Put(t.Context(), large("uid-1"), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Client.List(t.Context(), &packed); err != nil {
			t.Fatal(err)
		}
	})
	s := store()
	for _, secret := range packed.Items {
		secret = *secret.DeepCopy()
		secret.ResourceVersion = ""
		if err := s.Client.Create(t.Context(), &secret); err != nil {
			t.Fatal(err)
		}
	}
	return s, secretName("uid-1", 0)
}

var (
	packOnce sync.Once
	packed   corev1.SecretList
)

func TestPutAndGet(t *testing.T) {
	for name, r := range map[string]Record{"small": record("uid-1"), "many chunks": large("uid-1")} {
		t.Run(name, func(t *testing.T) {
			s := store()
			head, err := s.Put(t.Context(), r, []string{"clone"})
			if err != nil {
				t.Fatal(err)
			}
			var secrets corev1.SecretList
			if err := s.Client.List(t.Context(), &secrets, client.InNamespace(home)); err != nil {
				t.Fatal(err)
			}
			if name == "many chunks" && len(secrets.Items) < 3 {
				t.Fatalf("the record fits %d secrets, which proves nothing", len(secrets.Items))
			}
			for _, secret := range secrets.Items {
				if size := len(secret.Data[dataKey]); size > 1<<20-100<<10 || secret.Labels[api.BackupUIDLabel] != "uid-1" || secret.Type != secretType {
					t.Errorf("%s: %d bytes, labels %v", secret.Name, size, secret.Labels)
				}
			}
			r.Format = FormatVersion
			got, err := s.Get(t.Context(), head)
			if err != nil || !reflect.DeepEqual(got, r) {
				t.Errorf("what came back is not what was put (%v)", err)
			}
			// Writing it again, smaller, replaces it.
			small := record("uid-1")
			small.CouchDB = "3.5.3"
			if _, err := s.Put(t.Context(), small, nil); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Get(t.Context(), head); err != nil || got.CouchDB != "3.5.3" || len(got.Before.ShardMaps) != 1 {
				t.Errorf("after the second Put: %s, %v", got.CouchDB, err)
			}
		})
	}
}

// change edits one stored secret.
func change(t *testing.T, s Store, name string, edit func(*corev1.Secret)) {
	t.Helper()
	var secret corev1.Secret
	if err := s.Client.Get(t.Context(), client.ObjectKey{Namespace: home, Name: name}, &secret); err != nil {
		t.Fatal(err)
	}
	edit(&secret)
	if err := s.Client.Update(t.Context(), &secret); err != nil {
		t.Fatal(err)
	}
}

func TestGetRefuses(t *testing.T) {
	flip := func(secret *corev1.Secret) { secret.Data[dataKey][len(secret.Data[dataKey])/2] ^= 1 }
	chunks := func(n string) func(*corev1.Secret) {
		return func(secret *corev1.Secret) { secret.Annotations[chunksAnnotation] = n }
	}
	tests := []struct {
		name string
		part int
		edit func(*corev1.Secret)
		text string
	}{
		{"a bit flipped in the head", 0, flip, "damaged"},
		{"a bit flipped in a part", 1, flip, "damaged"},
		{"a part cut short", 1, func(s *corev1.Secret) { s.Data[dataKey] = s.Data[dataKey][:10] }, "damaged"},
		{"the head empty", 0, func(s *corev1.Secret) { s.Data = nil }, "damaged"},
		{"no digest", 0, func(s *corev1.Secret) { delete(s.Annotations, digestAnnotation) }, "damaged"},
		{"one part forgotten", 0, chunks("2"), "damaged"},
		{"a part too many", 0, chunks("9"), "incomplete: part"},
		{"no count", 0, func(s *corev1.Secret) { delete(s.Annotations, chunksAnnotation) }, chunksAnnotation},
		{"a count of 0", 0, chunks("0"), chunksAnnotation},
		{"a negative count", 0, chunks("-1"), chunksAnnotation},
		{"a count that would fill memory", 0, chunks("1000000000"), chunksAnnotation},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, head := storedLarge(t)
			change(t, s, secretName("uid-1", tt.part), tt.edit)
			if _, err := s.Get(t.Context(), head); err == nil || !strings.Contains(err.Error(), tt.text) || errors.Is(err, ErrNotFound) {
				t.Errorf("got %v, want an error with %q", err, tt.text)
			}
		})
	}
	t.Run("a part is missing", func(t *testing.T) {
		s, head := storedLarge(t)
		if err := s.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: secretName("uid-1", 1)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), head); err == nil || !strings.Contains(err.Error(), "part 1") || errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the head is missing", func(t *testing.T) {
		s, head := storedLarge(t)
		if err := s.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: head}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), head); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if heads, err := s.List(t.Context(), ""); err != nil || len(heads) != 0 {
			t.Errorf("a record without its head is listed: %v, %v", heads, err)
		}
	})
}

// The head is written last: a Put that ends in the middle leaves no record.
func TestPutWritesTheHeadLast(t *testing.T) {
	s, order := recording()
	if _, err := s.Put(t.Context(), large("uid-1"), nil); err != nil {
		t.Fatal(err)
	}
	if n := len(*order); n < 3 || (*order)[n-1] != secretName("uid-1", 0) {
		t.Errorf("written in the order %v", *order)
	}
}

func TestGetRefusesANewerFormat(t *testing.T) {
	s := store()
	for _, format := range []int{FormatVersion + 1, 0} {
		r := record("uid-1")
		r.Format = format
		head := putRaw(t, s, r)
		if _, err := s.Get(t.Context(), head); err == nil || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), fmt.Sprintf("format %d", format)) {
			t.Errorf("format %d: %v", format, err)
		}
	}
}

// What a head says without its data: whose the snapshots are, and who has them.
func TestHeadTellsOfMethodsAndImport(t *testing.T) {
	s, ebs := store(), record("uid-2")
	ebs.Nodes[0].Method, ebs.ImportedFrom = api.MethodEBS, "s3://backups/cht"
	for _, r := range []Record{record("uid-1"), ebs} {
		if _, err := s.Put(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
	}
	heads, err := s.List(t.Context(), "")
	if err != nil || len(heads) != 2 {
		t.Fatal(heads, err)
	}
	for _, h := range heads {
		if ours := h.UID == "uid-1"; h.EBS == ours || (h.ImportedFrom == "") != ours {
			t.Errorf("head %+v", h)
		}
	}
}

func TestListAllowDelete(t *testing.T) {
	s, _ := storedLarge(t)
	for _, o := range []client.Object{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "cht-backup-tls"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "forged", Labels: map[string]string{api.BackupUIDLabel: "uid-1", partLabel: headPart}}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "forged-too", Labels: map[string]string{api.BackupUIDLabel: "uid-1"}}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: secretName("uid-9", 0), Labels: map[string]string{partLabel: headPart}}}} {
		if err := s.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	second := record("uid-2")
	second.Namespace, second.Name, second.Objects = "cht-other", strings.Repeat("n", 200), nil // longer than a label may be
	if _, err := s.Put(t.Context(), second, []string{"clone", "drill"}); err != nil {
		t.Fatal(err)
	}
	list := func(namespace string) (uids []string) {
		t.Helper()
		heads, err := s.List(t.Context(), namespace)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range heads {
			uids = append(uids, string(h.UID))
			if h.UID == "uid-2" && (h.Name != second.Name || h.Namespace != "cht-other" || h.CutTime != "2026-07-01T12:00:00Z") {
				t.Errorf("head %+v", h)
			}
		}
		slices.Sort(uids)
		return uids
	}
	if all, one, none := list(""), list("cht-kilifi"), list("x"); !slices.Equal(all, []string{"uid-1", "uid-2"}) || !slices.Equal(one, []string{"uid-1"}) || len(none) != 0 {
		t.Errorf("listed %v, %v, %v", all, one, none)
	}
	allowed := func() []string {
		heads, err := s.List(t.Context(), "cht-other")
		if err != nil || len(heads) != 1 {
			t.Fatal(heads, err)
		}
		return heads[0].AllowedNamespaces
	}
	if a := allowed(); !slices.Equal(a, []string{"clone", "drill"}) {
		t.Errorf("allowed %v", a)
	}
	for _, want := range [][]string{{"*"}, nil} {
		if err := s.Allow(t.Context(), secretName("uid-2", 0), want); err != nil {
			t.Fatal(err)
		}
		if a := allowed(); !slices.Equal(a, want) {
			t.Errorf("allowed %q, want %q", a, want)
		}
	}
	if _, err := s.Get(t.Context(), secretName("uid-2", 0)); err != nil {
		t.Errorf("Allow harmed the record: %v", err)
	}
	if err := s.Allow(t.Context(), "nothing", nil); err == nil {
		t.Error("allowed a record that is not there")
	}
	for range 2 { // the second time there is nothing to delete
		if err := s.Delete(t.Context(), "uid-1"); err != nil {
			t.Fatal(err)
		}
	}
	var left corev1.SecretList
	if err := s.Client.List(t.Context(), &left); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, secret := range left.Items {
		names = append(names, secret.Name)
	}
	slices.Sort(names)
	if want := []string{"cht-backup-tls", secretName("uid-2", 0), secretName("uid-9", 0), "forged", "forged-too"}; !slices.Equal(names, want) {
		t.Errorf("left %v, want %v", names, want)
	}
}

// A record that lost its head, or some of its parts, goes like a whole one.
func TestDeleteTheRest(t *testing.T) {
	for _, gone := range []int{0, 1} {
		s, _ := storedLarge(t)
		if err := s.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: secretName("uid-1", gone)}}); err != nil {
			t.Fatal(err)
		}
		if parts, err := s.Parts(t.Context(), "cht-kilifi"); err != nil || len(parts) < 2 {
			t.Fatalf("%d parts, %v: nothing is left to delete", len(parts), err)
		}
		if err := s.Delete(t.Context(), "uid-1"); err != nil {
			t.Fatal(err)
		}
		if parts, err := s.Parts(t.Context(), ""); err != nil || len(parts) > 0 {
			t.Errorf("without part %d: left %d parts, %v", gone, len(parts), err)
		}
	}
}

func TestHoldAndOutlive(t *testing.T) {
	s := store()
	head, err := s.Put(t.Context(), record("uid-1"), []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	check := func(hold, allowed string) {
		t.Helper()
		heads, err := s.List(t.Context(), "")
		if err != nil || len(heads) != 1 || heads[0].Hold != hold || strings.Join(heads[0].AllowedNamespaces, ",") != allowed {
			t.Errorf("%+v, %v; want held for %q, allowed %q", heads, err, hold, allowed)
		}
	}
	for _, step := range []struct {
		do            func() error
		hold, allowed string
	}{
		{func() error { return s.Hold(t.Context(), head, "audit") }, "audit", "a"},
		{func() error { return s.Outlive(t.Context(), head, []string{"b", "c"}, "") }, "", "b,c"},
		{func() error { return s.Outlive(t.Context(), head, nil, "trial") }, "trial", ""},
		{func() error { return s.Hold(t.Context(), head, "") }, "", ""},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		check(step.hold, step.allowed)
	}
	if err := s.Hold(t.Context(), "nothing", "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("held a record that is not there: %v", err)
	}
}
