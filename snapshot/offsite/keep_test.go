package offsite

import (
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func cataloged(b *api.Backup) metav1.Condition {
	if c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionCataloged); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func TestKeepAndRemove(t *testing.T) {
	w := newWorld(t)
	b := w.completed("cht", "nightly", "11111111-a")
	if again := w.keeper.keep(t.Context(), b); again != 0 || cataloged(b).Status != metav1.ConditionTrue {
		t.Fatalf("again in %s: %+v", again, cataloged(b))
	}
	heads := w.heads()
	if len(heads) != 1 || b.Status.Catalog.Key != heads[0].Key() || b.Status.Catalog.URL != w.url || b.Status.Catalog.Secrets != api.SecretsLeftOut || w.keeper.Wants(b) {
		t.Errorf("heads %v, status %+v", heads, b.Status.Catalog)
	}
	if m := cataloged(b).Message; !strings.Contains(m, "lost with it") {
		t.Errorf("nothing says that the catalog dies with the cluster: %s", m)
	}
	done := metav1.NewTime(epoch)
	c := api.CopyStatus{Name: "eu", Region: "eu-west-1", Complete: true, CompletionTime: &done, Volumes: []api.CopiedVolume{{Node: "couchdb", Handle: "snap-0123456789abcdef0"}}}
	for range 2 {
		if err := w.keeper.CopyComplete(t.Context(), b, c); err != nil {
			t.Error(err)
		}
	}
	c.Volumes[0].Handle = "snap-00000000000000000"
	if err := w.keeper.CopyComplete(t.Context(), b, c); err == nil {
		t.Error("another copy took the place of one that is noted")
	}
	if left, again, err := w.keeper.Release(t.Context(), b); err != nil || left != 0 && again == 0 || again != 0 || len(w.heads()) != 0 {
		t.Errorf("again in %s, %v; left %v", again, err, w.heads())
	}
}

// A bucket that is away costs each backup no more than a look at the clock, and the
// pauses grow.
func TestAway(t *testing.T) {
	w := newWorld(t)
	dir := strings.TrimPrefix(w.url, "file://")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // where the directory would be
		t.Fatal(err)
	}
	first, second := w.completed("cht", "one", "11111111-a"), w.completed("cht", "two", "22222222-b")
	var waits []time.Duration
	for range 4 {
		again := w.keeper.keep(t.Context(), first)
		waits = append(waits, again)
		if c := cataloged(first); c.Status != metav1.ConditionFalse || c.Reason != api.ReasonCatalogFailed || !strings.Contains(c.Message, "the backup is good") {
			t.Errorf("condition %+v", c)
		}
		if again := w.keeper.keep(t.Context(), second); again <= 0 || cataloged(second).Type != "" {
			t.Errorf("the second asked for itself: again in %s, %+v", again, cataloged(second))
		}
		w.now = w.now.Add(again)
	}
	if waits[0] != shortestPause || waits[3] != 8*shortestPause {
		t.Errorf("waits %v", waits)
	}
	if left, again, err := w.keeper.Release(t.Context(), first); err != nil || left != 0 && again == 0 || again == 0 {
		t.Errorf("removed from a catalog that is away: %v", err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(longestPause)
	for _, b := range []*api.Backup{first, second} {
		if again := w.keeper.keep(t.Context(), b); again != 0 || cataloged(b).Status != metav1.ConditionTrue {
			t.Errorf("once it is there: again in %s, %+v", again, cataloged(b))
		}
	}
	if len(w.heads()) != 2 {
		t.Errorf("heads %v", w.heads())
	}
}

// No more than a few workers are with the bucket at once.
func TestFewAtOnce(t *testing.T) {
	w := newWorld(t)
	for range atOnce {
		if b, _, err := w.place.enter(t.Context()); b == nil || err != nil {
			t.Fatal(err)
		}
	}
	if again := w.keeper.keep(t.Context(), w.completed("cht", "b", "11111111-a")); again != busy {
		t.Errorf("again in %s", again)
	}
	w.place.leave(nil)
	if again := w.keeper.keep(t.Context(), w.completed("cht", "b", "11111111-a")); again != 0 {
		t.Errorf("with a place free: again in %s", again)
	}
}

func TestWhatCannotBeKept(t *testing.T) {
	w := newWorld(t)
	b := w.completed("cht", "b", "11111111-a")
	b.Status.Record = "lost"
	if again := w.keeper.keep(t.Context(), b); again != 0 || cataloged(b).Status != metav1.ConditionFalse {
		t.Errorf("again in %s, %+v", again, cataloged(b))
	}
	b = w.completed("cht", "b", "11111111-a")
	b.Status.Catalog = &api.CatalogStatus{URL: "s3://another", Key: "k"}
	if left, again, err := w.keeper.Release(t.Context(), b); err != nil || left != 0 && again == 0 || again != 0 || !strings.Contains(strings.Join(drain(w), " "), "s3://another") {
		t.Errorf("a record in another catalog: %s, %v", again, err)
	}
	for _, phase := range []api.Phase{"", api.PhaseFailed, api.PhaseFinishing} {
		b := w.completed("cht", "b", "11111111-a")
		b.Status.Phase = phase
		if again := w.keeper.keep(t.Context(), b); again != 0 || cataloged(b).Type != "" {
			t.Errorf("phase %q was kept", phase)
		}
	}
}

func drain(w *world) (all []string) {
	for {
		select {
		case e := <-w.events.Events:
			all = append(all, e)
		default:
			return all
		}
	}
}
