package snapshot

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// fakeCatalog fails as often as it is told.
type fakeCatalog struct {
	t                    *testing.T
	fails                int
	kept, removed        int
	discards             *int
	removeErr            error
	meanwhile            func() // while it keeps
	removedAfterDiscards bool
}

func (f *fakeCatalog) Wants(b *api.Backup) bool {
	return !meta.IsStatusConditionTrue(b.Status.Conditions, api.ConditionCataloged)
}

func (f *fakeCatalog) Tend(_ context.Context, b *api.Backup) (time.Duration, error) {
	if !f.Wants(b) {
		return 0, nil
	}
	if f.meanwhile != nil {
		f.meanwhile()
	}
	c := metav1.Condition{Type: api.ConditionCataloged, Status: metav1.ConditionFalse, Reason: api.ReasonCatalogFailed}
	if f.fails--; f.fails >= 0 {
		meta.SetStatusCondition(&b.Status.Conditions, c)
		return time.Minute, nil
	}
	f.kept++
	c.Status, c.Reason = metav1.ConditionTrue, api.ReasonDone
	meta.SetStatusCondition(&b.Status.Conditions, c)
	b.Status.Catalog = &api.CatalogStatus{URL: "mem://", Key: "k"}
	return 0, nil
}

func (f *fakeCatalog) Release(context.Context, *api.Backup) (int, time.Duration, error) {
	f.removed++
	f.removedAfterDiscards = *f.discards > 0
	if f.removeErr != nil {
		return 1, time.Minute, nil
	}
	return 0, 0, nil
}

func withCatalog(t *testing.T, fails int, objects ...client.Object) (*bench, *fakeCatalog) {
	b := newBench(t, objects...)
	f := &fakeCatalog{t: t, fails: fails, discards: &b.snaps.discards}
	b.Later = []Later{f}
	return b, f
}

// A catalog that is away leaves the backup good, and gets its record in the end. What
// a restore writes on the Backup meanwhile stays.
func TestCatalogedAfterTheEnd(t *testing.T) {
	b, f := withCatalog(t, 2, append(instance(), backup())...)
	got := b.run()
	if ready(got).Reason != api.ReasonCompleted || f.kept != 0 {
		t.Fatalf("ended %s, kept %d", ready(got).Reason, f.kept)
	}
	f.meanwhile = func() {
		var other api.Backup
		if err := b.objects.Get(t.Context(), client.ObjectKeyFromObject(got), &other); err != nil {
			t.Fatal(err)
		}
		other.Status.Verified = &api.VerifiedBy{Restore: "clone/r"}
		if err := b.objects.Status().Update(t.Context(), &other); err != nil {
			t.Fatal(err)
		}
		f.meanwhile = nil
	}
	for turn, want := range []time.Duration{time.Minute, time.Minute, 0, 0} {
		stored, again, err := b.reconcile()
		if err != nil || again != want {
			t.Fatalf("turn %d: again in %s, %v", turn, again, err)
		}
		if stored.Status.Verified == nil || stored.Status.Phase != api.PhaseCompleted || ready(stored).Reason != api.ReasonCompleted {
			t.Errorf("turn %d: status %+v", turn, stored.Status)
		}
		if cataloged := stored.Status.Catalog != nil; cataloged != (turn > 1) {
			t.Errorf("turn %d: catalog %+v", turn, stored.Status.Catalog)
		}
	}
	if f.kept != 1 || b.snaps.cuts != 1 {
		t.Errorf("kept %d times, cut %d times", f.kept, b.snaps.cuts)
	}
}

// A deleted backup's record goes before its snapshots, which wait for it; what is
// retained keeps its record.
func TestDeletionTakesTheRecordFirst(t *testing.T) {
	now := metav1.NewTime(epoch)
	deleted := func(b *api.Backup) { b.DeletionTimestamp, b.Status.Record = &now, "r" }
	b, f := withCatalog(t, 0, append(instance(), backup(in(api.PhaseCompleted, 1), deleted))...)
	f.removeErr = errors.New("away")
	if _, again, err := b.reconcile(); err != nil || again != time.Minute || b.snaps.discards != 0 {
		t.Errorf("with the catalog away: again in %s, %v, %d discards", again, err, b.snaps.discards)
	}
	f.removeErr = nil
	if _, _, err := b.reconcile(); err != nil || f.removed != 2 || f.removedAfterDiscards || b.snaps.discards != 1 {
		t.Errorf("%v, removed %d times, %d discards", err, f.removed, b.snaps.discards)
	}
	for name, keeps := range map[string]func(*api.Backup){
		"by policy": func(b *api.Backup) { b.Spec.DeletionPolicy = api.DeletionRetain },
		"held":      func(b *api.Backup) { b.Annotations = map[string]string{api.HoldAnnotation: "audit"} },
	} {
		b, f := withCatalog(t, 0, append(instance(), backup(in(api.PhaseCompleted, 1), deleted, keeps))...)
		if _, _, err := b.reconcile(); err != nil || f.removed != 0 || b.snaps.discards != 0 {
			t.Errorf("%s: %v, removed %d times", name, err, f.removed)
		}
	}
}

// Who says that his Backup only shows a record neither gets it run nor forgotten.
func TestForgedImports(t *testing.T) {
	mark := func(b *api.Backup) { b.Labels = map[string]string{api.ImportedLabel: "true"} }
	t.Run("a new one", func(t *testing.T) {
		b, f := withCatalog(t, 0, append(instance(), backup(mark))...)
		got, _, err := b.reconcile()
		if err != nil || b.snaps.prepared != 0 || len(got.Finalizers) != 0 || f.kept != 0 || got.Status.Phase != api.PhaseFailed || ready(got).Reason != api.ReasonImported {
			t.Errorf("%v, %d prepared, %+v", err, b.snaps.prepared, got.Status)
		}
	})
	t.Run("where those are", func(t *testing.T) {
		b, _ := withCatalog(t, 0, append(instance(), backup(mark))...)
		b.Records.Namespace = ns
		got, _, err := b.reconcile()
		if err != nil || b.snaps.prepared != 0 || len(got.Finalizers) != 0 || got.Status.Phase != "" {
			t.Errorf("%v, %d prepared, %+v", err, b.snaps.prepared, got.Status)
		}
	})
	t.Run("one that is under way", func(t *testing.T) {
		b, _ := withCatalog(t, 0, append(instance(), backup(in(api.PhasePending, 0), mark))...)
		if got := b.run(); got.Status.Phase != api.PhaseCompleted || b.snaps.cuts != 1 {
			t.Errorf("ended %s after %d cuts", got.Status.Phase, b.snaps.cuts)
		}
	})
	t.Run("one that is deleted", func(t *testing.T) {
		now := metav1.NewTime(epoch)
		b, f := withCatalog(t, 0, append(instance(), backup(in(api.PhaseCompleted, 1), mark, func(b *api.Backup) { b.DeletionTimestamp = &now }))...)
		if _, _, err := b.reconcile(); err != nil || b.snaps.discards != 1 || f.removed != 1 {
			t.Errorf("%v, %d discards, removed %d: its snapshots are leaked", err, b.snaps.discards, f.removed)
		}
	})
	t.Run("without the label, shown all the same", func(t *testing.T) {
		b, f := withCatalog(t, 0, append(instance(), backup(func(b *api.Backup) {
			b.Status.Phase, b.Status.Imported = api.PhaseCompleted, &api.ImportedFrom{Key: "k"}
		}))...)
		if got, _, err := b.reconcile(); err != nil || f.kept != 0 || got.Status.Catalog != nil {
			t.Errorf("%v, kept %d", err, f.kept)
		}
	})
}

// What a controller that starts looks at, of many that have ended.
func TestWhatIsLookedAtAgain(t *testing.T) {
	r := &Reconciler{Later: []Later{&fakeCatalog{}}}
	done := func(b *api.Backup) {
		b.Status.Catalog = &api.CatalogStatus{URL: "mem://"}
		meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: api.ConditionCataloged, Status: metav1.ConditionTrue, Reason: api.ReasonDone})
	}
	for name, tt := range map[string]struct {
		b    *api.Backup
		want bool
	}{
		"not in the catalog": {backup(in(api.PhaseCompleted, 1)), true},
		"in the catalog":     {backup(in(api.PhaseCompleted, 1), done), false},
		"failed":             {backup(in(api.PhaseFailed, 1)), false},
		"imported":           {backup(func(b *api.Backup) { b.Status.Phase, b.Status.Imported = api.PhaseCompleted, &api.ImportedFrom{} }), false},
	} {
		slim, err := slimBackup(tt.b)
		if err != nil {
			t.Fatal(err)
		}
		if b := slim.(*api.Backup); r.unsettled(b) != tt.want {
			t.Errorf("%s: %t", name, !tt.want)
		}
	}
}
