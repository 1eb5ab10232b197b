package offsite

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
)

func (w *world) sync() *Sync {
	return &Sync{Place: w.place, Client: w.objects, Records: w.records, Interval: time.Minute, Newest: 3}
}

func (w *world) shown() map[string]api.Backup {
	w.t.Helper()
	var list api.BackupList
	if err := w.objects.List(w.t.Context(), &list, client.HasLabels{api.ImportedLabel}); err != nil {
		w.t.Fatal(err)
	}
	all := map[string]api.Backup{}
	for _, b := range list.Items {
		all[b.Name] = b
	}
	return all
}

func (w *world) once(s *Sync) {
	w.t.Helper()
	if err := s.Once(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func TestSync(t *testing.T) {
	own := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "cht", Name: "own", UID: "own"}}
	w := newWorld(t, own)
	w.once(w.sync()) // without any catalog yet
	w.elsewhere("cht", "own", "own", epoch)
	w.completed("cht", "recorded", "recorded") // its Backup is gone
	w.elsewhere("cht", "recorded", "recorded", epoch)
	var last bucket.Head
	for i := range 8 {
		last = w.elsewhere("cht", fmt.Sprintf("nightly-%d", i), types.UID(fmt.Sprintf("%08d-x", i)), epoch.Add(time.Duration(i)*time.Hour))
	}
	w.elsewhere("other", "b", "ffffffff-x", epoch)
	w.once(w.sync())
	var names []string
	for name, b := range w.shown() {
		names = append(names, name)
		if b.Namespace != home || !b.IsImported() || b.Status.Phase != api.PhaseCompleted || b.Status.Imported.Cluster != "there" || b.Status.Imported.Catalog != w.url || b.Status.Conditions[0].Reason != api.ReasonImported {
			t.Errorf("%s: %+v", name, b.Status)
		}
	}
	slices.Sort(names)
	if want := []string{"cht-nightly-5-00000005", "cht-nightly-6-00000006", "cht-nightly-7-00000007", "other-b-ffffffff"}; !slices.Equal(names, want) {
		t.Fatalf("shown %v, want %v", names, want)
	}

	// One whose status was not written, one that somebody deleted, and one record gone.
	before := w.shown()
	half := before["cht-nightly-6-00000006"]
	half.Status = api.BackupStatus{}
	if err := w.objects.Status().Update(t.Context(), &half); err != nil {
		t.Fatal(err)
	}
	other := before["other-b-ffffffff"]
	if err := w.objects.Delete(t.Context(), &other); err != nil {
		t.Fatal(err)
	}
	b, err := bucket.Open(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	w.once(w.sync())
	after := w.shown()
	if len(after) != 4 || after["cht-nightly-6-00000006"].Status.Imported == nil || after["other-b-ffffffff"].Status.Imported == nil {
		t.Errorf("shown %v", after)
	}
	if _, there := after["cht-nightly-7-00000007"]; there {
		t.Error("a record that is gone is still shown")
	}
	if after["cht-nightly-5-00000005"].ResourceVersion != before["cht-nightly-5-00000005"].ResourceVersion {
		t.Error("what had not changed was written again")
	}

	// A list that fails takes nothing away.
	dir := strings.TrimPrefix(w.url, "file://")
	if err := os.WriteFile(dir+"/cht-catalog.json", []byte(`{"product":"cht-backup","layout":9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.sync().Once(t.Context()); err == nil || !strings.Contains(err.Error(), "layout 9") || len(w.shown()) != 4 {
		t.Errorf("%v; shown %d", err, len(w.shown()))
	}

	// Without a catalog nothing is shown, and nothing else goes.
	s := w.sync()
	s.Place = nil
	w.once(s)
	if len(w.shown()) != 0 {
		t.Errorf("shown %v", w.shown())
	}
	if err := w.objects.Get(t.Context(), client.ObjectKeyFromObject(own), &api.Backup{}); err != nil {
		t.Error(err)
	}
}

// A bad manifest hinders no other, and is named.
func TestSyncPassesOverWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	w.elsewhere("cht", "good", "11111111-x", epoch)
	bad := w.elsewhere("cht", "bad", "22222222-x", epoch)
	dir := strings.TrimPrefix(w.url, "file://") + "/"
	if err := os.WriteFile(dir+bad.Key(), []byte(`{"format":1,`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.sync().Once(t.Context()); err == nil || !strings.Contains(err.Error(), bad.Key()) {
		t.Errorf("got %v", err)
	}
	if shown := w.shown(); len(shown) != 1 || shown["cht-good-11111111"].Name == "" {
		t.Errorf("shown %v", shown)
	}
}

// Somebody's own Backup in the controller's namespace is neither changed nor removed.
func TestSyncLeavesOthersAlone(t *testing.T) {
	theirs := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "cht-b-11111111", UID: "theirs", Finalizers: []string{api.Finalizer}, Labels: map[string]string{api.ImportedLabel: "true"}}}
	w := newWorld(t, theirs)
	w.elsewhere("cht", "b", "11111111-x", epoch)
	if err := w.sync().Once(t.Context()); err == nil {
		t.Error("nobody was told that the name is taken")
	}
	var got api.Backup
	if err := w.objects.Get(t.Context(), client.ObjectKeyFromObject(theirs), &got); err != nil || got.UID != "theirs" || got.Status.Phase != "" {
		t.Errorf("%+v, %v", got.Status, err)
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("n", 253)
	seen := map[string]bool{}
	for _, h := range []bucket.Head{
		{Namespace: "cht", Name: "b", UID: "4c9d1111-2222"}, {Namespace: "cht", Name: long, UID: "4c9d1111-2222"}, {Namespace: "cht", Name: long, UID: "4c9d1112-2222"},
		{Namespace: "cht", Name: "b", UID: "ABC"}, {Namespace: "cht", Name: strings.Repeat("a.", 100) + "a", UID: "4c9d1111-2222"}, {Namespace: strings.Repeat("x", 63), Name: "a", UID: "u"},
	} {
		name := nameOf(h)
		if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 || len(name) > longestName || seen[name] {
			t.Errorf("%q: %v", name, errs)
		}
		seen[name] = true
	}
	if got := nameOf(bucket.Head{Namespace: "cht", Name: "nightly", UID: "4c9d1111-2222"}); got != "cht-nightly-4c9d1111" {
		t.Errorf("got %s", got)
	}
}

// However many records there are, few are shown: the newest.
func TestChosen(t *testing.T) {
	n := newest{each: 20, of: map[string][]bucket.Head{}}
	for i := range 100_000 {
		n.add(bucket.Head{Namespace: fmt.Sprintf("ns-%d", i%1000), Name: "b", UID: types.UID(fmt.Sprintf("%08d", i)), CutTime: epoch.Add(time.Duration(i) * time.Second)})
	}
	got := n.chosen(mostShown)
	if len(got) != mostShown {
		t.Errorf("%d are shown", len(got))
	}
	for name, h := range got {
		if h.CutTime.Before(epoch.Add((100_000 - mostShown) * time.Second)) {
			t.Errorf("%s is not of the newest", name)
		}
	}
}
