package restore

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
)

func database(d api.DatabaseRestore) func(*api.Restore) {
	return func(r *api.Restore) { r.Spec.Database = &d }
}

func TestDatabaseNames(t *testing.T) {
	long := "medic-user-" + strings.Repeat("x", 227)
	started := func(r *api.Restore) {
		at := metav1.NewMicroTime(time.Date(2026, 7, 2, 3, 4, 5, 0, time.UTC))
		r.Status.StartTime = &at
	}
	for _, tt := range []struct {
		spec           api.DatabaseRestore
		restored, kept string
	}{
		{api.DatabaseRestore{Name: "medic"}, "medic-restored-20260701-120000", "medic-replaced-20260702-030405"},
		{api.DatabaseRestore{Name: "medic", As: "old"}, "old", "medic-replaced-20260702-030405"},
		{api.DatabaseRestore{Name: "medic", As: "medic", Replace: true}, "medic-restored-20260701-120000", "medic-replaced-20260702-030405"},
		{api.DatabaseRestore{Name: "_users"}, "users-restored-20260701-120000", "users-replaced-20260702-030405"},
		{api.DatabaseRestore{Name: long}, long[:213] + "-restored-20260701-120000", long[:213] + "-replaced-20260702-030405"},
	} {
		r := restoreOf(database(tt.spec), started)
		w := &work{restore: r, record: catalog.Record{CutTime: epoch}}
		if got := w.restoredAs(); got != tt.restored || len(got) > longestName {
			t.Errorf("%+v is restored as %s, want %s", tt.spec, got, tt.restored)
		}
		if got := keptAs(r); got != tt.kept {
			t.Errorf("%+v is kept as %s, want %s", tt.spec, got, tt.kept)
		}
	}
}

// Only the restore that its parent names, of the parent's backup, has its right.
func TestOnBehalf(t *testing.T) {
	parent := func(change ...func(*api.Restore)) *api.Restore {
		return restoreOf(append([]func(*api.Restore){database(api.DatabaseRestore{Name: "medic"}), phase(api.PhaseScratch), func(r *api.Restore) {
			r.Status.BackupUID = "u1"
			r.Status.Database = &api.DatabaseStatus{Scratch: scratchName(r)}
		}}, change...)...)
	}
	name := scratchName(parent())
	for _, tt := range []struct {
		name   string
		parent *api.Restore
		change func(*api.Restore, *corev1.Namespace)
		want   string
	}{
		{"as it is made", parent(), func(*api.Restore, *corev1.Namespace) {}, target},
		{"no annotation", parent(), func(_ *api.Restore, n *corev1.Namespace) { n.Annotations = nil }, name},
		{"no parent", restoreOf(func(r *api.Restore) { r.Name = "other" }), func(*api.Restore, *corev1.Namespace) {}, name},
		{"a parent that restores an instance", parent(func(r *api.Restore) { r.Spec.Database = nil }), func(*api.Restore, *corev1.Namespace) {}, name},
		{"a parent that has ended", parent(phase(api.PhaseCompleted)), func(*api.Restore, *corev1.Namespace) {}, name},
		{"a parent with another scratch namespace", parent(func(r *api.Restore) { r.Status.Database.Scratch = "elsewhere" }), func(*api.Restore, *corev1.Namespace) {}, name},
		{"a parent that has none yet", parent(func(r *api.Restore) { r.Status.Database = nil }), func(*api.Restore, *corev1.Namespace) {}, name},
		{"another restore in that namespace", parent(), func(r *api.Restore, _ *corev1.Namespace) { r.Name = "mine" }, name},
		{"another's mark", parent(), func(r *api.Restore, _ *corev1.Namespace) { r.Labels = nil }, name},
		{"another backup", parent(), func(r *api.Restore, _ *corev1.Namespace) { r.Spec.Source.UID = "u2" }, name},
		{"any backup of that name", parent(), func(r *api.Restore, _ *corev1.Namespace) { r.Spec.Source.UID = "" }, name},
		{"another backup's name", parent(), func(r *api.Restore, _ *corev1.Namespace) { r.Spec.Source.Name = "secret" }, name},
		{"all components", parent(), func(r *api.Restore, _ *corev1.Namespace) { r.Spec.Scope = api.ScopeInstance }, name},
	} {
		t.Run(tt.name, func(t *testing.T) {
			child := scratchRestore(parent(), "u1")
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{api.ScratchForAnnotation: target + "/r"}}}
			tt.change(child, namespace)
			b := newBench(t, tt.parent, namespace)
			if got, err := b.onBehalf(t.Context(), child); err != nil || got != tt.want {
				t.Errorf("the right of %s counts, want that of %s (%v)", got, tt.want, err)
			}
		})
	}
}

func TestDropScratch(t *testing.T) {
	r := restoreOf(database(api.DatabaseRestore{Name: "medic"}))
	child := scratchRestore(r, "u1")
	mine := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: scratchName(r), UID: "n1", Labels: labels(r, "")}}
	b := newBench(t, r, mine, child)
	for range 2 { // the second time nothing is there
		if err := b.dropScratch(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []client.Object{mine, child} {
		if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			t.Errorf("%T is there yet (%v)", o, err)
		}
	}

	theirs := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: scratchName(r), UID: "n2"}}
	b = newBench(t, r, theirs)
	if err := b.dropScratch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(theirs), theirs); err != nil {
		t.Errorf("somebody else's namespace of that name: %v", err)
	}
}
