package command

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

func restoreAt(phase api.Phase, change func(*api.Restore)) *api.Restore {
	r := restoreIn("medic", "r")
	r.Status.Phase = phase
	if change != nil {
		change(r)
	}
	return r
}

func inPlaceOf(r *api.Restore) { r.Spec.InPlace = &api.InPlace{SafetyBackup: api.SafetyBackupRequired} }

func TestAbort(t *testing.T) {
	for _, phase := range []api.Phase{"", api.PhasePlanned, api.PhaseVolumes, api.PhaseSwapping} {
		w := newWorld(t, interceptor.Funcs{}, restoreAt(phase, inPlaceOf))
		w.mustRun(t, exit.Good, nil, "restore", "abort", "r")
		var r api.Restore
		if err := w.Get(t.Context(), client.ObjectKey{Namespace: "medic", Name: "r"}, &r); err != nil || !r.Spec.Abort {
			t.Errorf("%s: abort %v, %v", phase, r.Spec.Abort, err)
		}
		if !strings.Contains(w.out.String(), "restore medic/r is Failed (Aborted): aborted, as asked") {
			t.Errorf("%s: stdout %s", phase, w.out)
		}
	}
	w := newWorld(t, interceptor.Funcs{}, restoreAt(api.PhaseVolumes, nil))
	w.mustRun(t, exit.Good, nil, "restore", "abort", "r", "--no-wait")
	if got, want := w.out.String(), "restore medic/r is being aborted; see how it goes with: kubectl cht describe restore r -n medic\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	// Twice is not wrong: the second only watches.
	w.mustRun(t, exit.Good, nil, "restore", "abort", "r", "-o", "json")
	if r := decodeOut[api.Restore](t, w); r.Status.Phase != api.PhaseFailed {
		t.Errorf("printed %+v", r.Status)
	}
}

// ends makes the restore end in its own way while it is aborted.
func ends(phase api.Phase, why string) interceptor.Funcs {
	return interceptor.Funcs{Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
		events, err := c.Watch(ctx, list, opts...)
		var r api.Restore
		if getErr := c.Get(ctx, client.ObjectKey{Namespace: "medic", Name: "r"}, &r); getErr != nil {
			return nil, getErr
		}
		r.Status.Phase, r.Status.Conditions = phase, condition(metav1.ConditionFalse, why, "as it came")
		if updateErr := c.Status().Update(ctx, &r); updateErr != nil {
			return nil, updateErr
		}
		return events, err
	}}
}

func TestAbortCameTooLate(t *testing.T) {
	w := newWorld(t, ends(api.PhaseCompleted, api.ReasonCompleted), restoreAt(api.PhaseStarting, nil))
	w.mustRun(t, exit.Failed, []string{"restore medic/r had completed before the abort reached it"}, "restore", "abort", "r")

	w = newWorld(t, ends(api.PhaseFailed, api.ReasonVerificationFailed), restoreAt(api.PhaseVerifying, nil))
	w.mustRun(t, exit.Failed, []string{"had failed by itself (VerificationFailed)", "describe restore r -n medic"}, "restore", "abort", "r")

	// In place, and of one database, a failure has undone itself, whatever its reason.
	for _, form := range []func(*api.Restore){inPlaceOf, func(r *api.Restore) { r.Spec.Database = &api.DatabaseRestore{Name: "medic"} }} {
		w = newWorld(t, ends(api.PhaseFailed, api.ReasonVerificationFailed), restoreAt(api.PhaseRollingBack, form))
		w.mustRun(t, exit.Good, nil, "restore", "abort", "r")
		if !strings.Contains(w.out.String(), "is Failed (VerificationFailed): as it came") {
			t.Errorf("stdout %s", w.out)
		}
	}
}

func TestAbortRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		r    *api.Restore
		says []string
	}{
		{"missing", nil, []string{"there is no restore r in namespace medic", "kubectl cht list -A"}},
		{"completed clone", restoreAt(api.PhaseCompleted, nil), []string{"restore medic/r is Completed already", `kubectl patch restores.backup.communityhealthtoolkit.org r -n medic --type merge -p '{"spec":{"timeToLive":"1s"}}'`}},
		{"completed, live", restoreAt(api.PhaseCompleted, func(r *api.Restore) { r.Spec.GoLive = true }), []string{"delete the instance"}},
		{"completed clone with an end", restoreAt(api.PhaseCompleted, func(r *api.Restore) { r.Spec.TimeToLive = &metav1.Duration{Duration: 1} }), []string{"the clone goes with it: `kubectl delete restores."}},
		{"completed in place", restoreAt(api.PhaseCompleted, func(r *api.Restore) { inPlaceOf(r); r.Status.SafetyBackup = "r-safety-1" }), []string{"kubectl cht restore --from medic/r-safety-1 --in-place"}},
		{"completed in place, no safety backup", restoreAt(api.PhaseCompleted, inPlaceOf), []string{"the former volumes are set aside", "kubectl cht describe restore r -n medic"}},
		{"completed database", restoreAt(api.PhaseCompleted, func(r *api.Restore) { r.Spec.Database = &api.DatabaseRestore{Name: "medic"} }), []string{"delete the restored database"}},
		{"replaced database", restoreAt(api.PhaseCompleted, func(r *api.Restore) {
			r.Spec.Database, r.Status.Database = &api.DatabaseRestore{Name: "medic", Replace: true}, &api.DatabaseStatus{KeptAs: "medic-replaced-1"}
		}), []string{"kept as medic-replaced-1"}},
		{"failed clone", restoreAt(api.PhaseFailed, nil), []string{"is Failed already", "kubectl delete restores.backup.communityhealthtoolkit.org r -n medic"}},
		{"failed in place", restoreAt(api.PhaseFailed, inPlaceOf), []string{"runs on its former volumes"}},
		{"failed database", restoreAt(api.PhaseFailed, func(r *api.Restore) { r.Spec.Database = &api.DatabaseRestore{Name: "medic"} }), []string{"the running databases are as they were"}},
		{"expiring", restoreAt(api.PhaseExpiring, nil), []string{"it is being removed"}},
		{"expired", restoreAt(api.PhaseExpired, nil), []string{"it was removed"}},
		{"being deleted", restoreAt(api.PhaseSwapping, func(r *api.Restore) {
			r.DeletionTimestamp, r.Finalizers = &metav1.Time{Time: noon}, []string{api.Finalizer}
		}), []string{"is being deleted, which undoes it"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			objects := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic"}}}
			if tc.r != nil {
				objects = append(objects, tc.r)
			}
			w := newWorld(t, interceptor.Funcs{}, objects...)
			w.mustRun(t, exit.Refused, tc.says, "restore", "abort", "r")
			var r api.Restore
			if err := w.Get(t.Context(), client.ObjectKey{Namespace: "medic", Name: "r"}, &r); err == nil && r.Spec.Abort {
				t.Error("it was aborted")
			}
		})
	}
	w := newWorld(t, interceptor.Funcs{})
	w.mustRun(t, exit.Usage, []string{"accepts 1 arg"}, "restore", "abort")
	w.mustRun(t, exit.Usage, []string{"unknown flag: --from"}, "restore", "abort", "r", "--from", "medic/nightly")
}
