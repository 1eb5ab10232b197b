package command

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

func restoreIn(namespace, name string) *api.Restore {
	return &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "r-1"}, Spec: api.RestoreSpec{Source: api.BackupReference{Namespace: "medic", Name: "nightly"}}}
}

func TestList(t *testing.T) {
	drill := restoreIn("medic", "d")
	drill.Spec.Drill = &api.Drill{}
	w := newWorld(t, interceptor.Funcs{}, backupIn(api.PhaseCompleted, "u-1"), restoreIn("clone", "r"), drill, scheduleIn("medic", "every-night"),
		recordOf(t, "medic", "nightly", "u-1", noon), recordOf(t, "medic", "older", "u-0", noon.AddDate(0, 0, -3)), recordOf(t, "lost", "nightly", "u-9", noon.AddDate(0, 0, -1)))
	w.mustRun(t, exit.Good, nil, "list", "-A")
	want := `NAMESPACE   KIND       NAME          PHASE         CONSISTENCY   STALL   CUT   SIZE   VERIFIED
clone       restore    r             Accepted      -             -       -     -      -
lost        backup     nightly       record only   -             -       24h   -      -
medic       backup     older         record only   -             -       3d    -      -
medic       backup     nightly       Completed     -             -       -     -      -
medic       drill      d             Accepted      -             -       -     -      -
medic       schedule   every-night   Accepted      -             -       -     -      -
`
	if got := w.out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	w.mustRun(t, exit.Good, nil, "list", "-o", "wide")
	if got := w.out.String(); strings.Contains(got, "lost") || !strings.Contains(got, "u-0") {
		t.Errorf("list of one namespace:\n%s", got)
	}
	w.mustRun(t, exit.Good, nil, "list", "-A", "-o", "name")
	if got, want := w.out.String(), "backup.backup.communityhealthtoolkit.org/nightly\nrestore.backup.communityhealthtoolkit.org/r\nrestore.backup.communityhealthtoolkit.org/d\nbackupschedule.backup.communityhealthtoolkit.org/every-night\n"; got != want {
		t.Errorf("names: %q", got)
	}
	w.mustRun(t, exit.Good, nil, "list", "-A", "-o", "json")
	list := decodeOut[struct {
		Kind  string
		Items []api.Backup
	}](t, w)
	if list.Kind != "List" || len(list.Items) != 6 {
		t.Fatalf("json: %s", w.out)
	}
	for _, item := range list.Items {
		if want := item.UID == "u-0" || item.UID == "u-9"; want != (item.Annotations[recordOnly] == "true") || item.Kind == "" {
			t.Errorf("item %s %s: %v", item.Kind, item.UID, item.Annotations)
		}
	}
	w.mustRun(t, exit.Usage, []string{"json, yaml, wide, name"}, "list", "-o", "xml")
}

func TestListNothing(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, "list")
	if w.out.Len() > 0 || !strings.Contains(w.er.String(), "no backups and no restores in namespace medic") {
		t.Errorf("stdout %q stderr %q", w.out, w.er)
	}
	w.mustRun(t, exit.Good, nil, "list", "-o", "json")
	if list := decodeOut[corev1.List](t, w); list.Items == nil {
		t.Errorf("items are null: %s", w.out)
	}
}

func TestListWithoutRightsOnRecords(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, is := list.(*metav1.PartialObjectMetadataList); is {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "", errors.New("no"))
		}
		return c.List(ctx, list, opts...)
	}}, backupIn(api.PhaseCompleted, "u-1"))
	w.mustRun(t, exit.Good, nil, "list")
	if !strings.Contains(w.out.String(), "nightly") || !strings.Contains(w.er.String(), "you may not list secrets in "+system) {
		t.Errorf("stdout %q stderr %q", w.out, w.er)
	}
}

func TestDescribe(t *testing.T) {
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "e1"}, InvolvedObject: corev1.ObjectReference{UID: "u-1"}, Reason: "Completed", Message: "all is well"}
	foreign := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "e2"}, InvolvedObject: corev1.ObjectReference{UID: "u-2"}, Message: "of another"}
	twin := restoreIn("medic", "twin")
	twinBackup := backupIn(api.PhaseCompleted, "u-5")
	twinBackup.Name = "twin"
	w := newWorld(t, interceptor.Funcs{}, backupIn(api.PhaseCompleted, "u-1"), twin, twinBackup, event, foreign, recordOf(t, "medic", "old", "u-0", noon))
	for _, args := range [][]string{{"nightly"}, {"backup", "nightly"}, {"backup/nightly"}, {"chtb", "nightly"}} {
		w.mustRun(t, exit.Good, nil, append([]string{"describe"}, args...)...)
		if got := w.out.String(); !strings.Contains(got, "all is well") || strings.Contains(got, "of another") {
			t.Errorf("%v: %s", args, got)
		}
	}
	w.mustRun(t, exit.Good, nil, "describe", "restore", "twin", "-o", "yaml")
	if !strings.Contains(w.out.String(), "kind: Restore") {
		t.Errorf("yaml: %s", w.out)
	}
	w.mustRun(t, exit.Good, nil, "describe", "old")
	if !strings.Contains(w.out.String(), "record only") {
		t.Errorf("record: %s", w.out)
	}
	w.mustRun(t, exit.Usage, []string{"twin is the name of a backup and of a restore", "describe backup twin -n medic"}, "describe", "twin")
	w.mustRun(t, exit.Refused, []string{"there is no backup, restore or schedule none in namespace medic"}, "describe", "none")
	w.mustRun(t, exit.Refused, []string{"there is no restore old"}, "describe", "restore", "old")
	w.mustRun(t, exit.Usage, []string{"use backup, restore, drill or schedule"}, "describe", "pod", "x")
	w.mustRun(t, exit.Usage, []string{"the name is missing"}, "describe", "backup/")
}

func TestDescribeSchedule(t *testing.T) {
	of := goodIn("medic", "nightly-1", noon.Add(-10*time.Hour))
	of.Labels = map[string]string{api.ScheduleLabel: "nightly"}
	drill := restoreIn("medic", "nightly-drill-1")
	drill.Labels, drill.Spec.Drill = of.Labels, &api.Drill{}
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "e1"}, InvolvedObject: corev1.ObjectReference{UID: "s-1"}, Reason: "Scheduled", Message: "made nightly-1"}
	w := newWorld(t, interceptor.Funcs{}, scheduleIn("medic", "nightly"), of, goodIn("medic", "manual", noon), drill, event)
	for _, args := range [][]string{{"nightly"}, {"schedule", "nightly"}, {"chtbs/nightly"}} {
		w.mustRun(t, exit.Good, nil, append([]string{"describe"}, args...)...)
		got := w.out.String()
		for _, want := range []string{"Due:        30 2 * * * (every day at 02:30), Africa/Nairobi\n", "\nNext runs\n  Mon 2 Mar 2026 02:30 EAT\n  Tue 3 Mar", "\n  nightly-1 ", "\n  nightly-drill-1 ", "made nightly-1"} {
			if !strings.Contains(got, want) {
				t.Errorf("%v lacks %q:\n%s", args, want, got)
			}
		}
		if strings.Contains(got, "manual") {
			t.Errorf("tells of another's backup:\n%s", got)
		}
	}
	w.mustRun(t, exit.Good, nil, "describe", "drill", "nightly-drill-1")
	if !strings.Contains(w.out.String(), "How:       drill: the databases alone") {
		t.Errorf("%s", w.out)
	}
	w.mustRun(t, exit.Good, nil, "describe", "schedule", "nightly", "-o", "yaml")
	if !strings.Contains(w.out.String(), "kind: BackupSchedule") {
		t.Errorf("%s", w.out)
	}
	w.mustRun(t, exit.Refused, []string{"there is no schedule none"}, "describe", "schedule", "none")
}

// With the CRDs of an older version there are backups, and no schedules.
func TestListWithoutSchedules(t *testing.T) {
	unknown := func(o any) error {
		if _, is := o.(*api.BackupScheduleList); is {
			return &meta.NoKindMatchError{GroupKind: api.GroupVersion.WithKind("BackupSchedule").GroupKind()}
		}
		return nil
	}
	w := newWorld(t, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return errors.Join(unknown(list), c.List(ctx, list, opts...))
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, is := o.(*api.BackupSchedule); is {
				return unknown(&api.BackupScheduleList{})
			}
			return c.Get(ctx, key, o, opts...)
		}}, backupIn(api.PhaseCompleted, "u-1"))
	w.mustRun(t, exit.Good, nil, "list")
	if !strings.Contains(w.out.String(), "nightly") || !strings.Contains(w.er.String(), "apply charts/cht-backup/crds anew") {
		t.Errorf("stdout %q stderr %q", w.out, w.er)
	}
	w.mustRun(t, exit.Good, nil, "describe", "nightly")
	w.mustRun(t, exit.Refused, []string{"does not know the kinds"}, "describe", "schedule", "nightly")
}

func TestDelete(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, backupIn(api.PhaseCompleted, "u-1"))
	there := func() bool {
		return w.Get(t.Context(), client.ObjectKey{Namespace: "medic", Name: "nightly"}, &api.Backup{}) == nil
	}
	w.mustRun(t, exit.Usage, []string{"give --yes"}, "delete", "backup", "nightly")
	w.env.Terminal = func(any) (func() int, bool) { return func() int { return 80 }, true }
	w.in.WriteString("yes\n")
	w.mustRun(t, exit.Usage, []string{"is not deleted"}, "delete", "backup", "nightly")
	w.mustRun(t, exit.Usage, []string{"only backups"}, "delete", "nightly")
	if !there() {
		t.Fatal("deleted without consent")
	}
	w.in.Reset()
	w.in.WriteString("nightly\n")
	w.mustRun(t, exit.Good, nil, "delete", "backup", "nightly")
	if there() {
		t.Error("still there")
	}
	w.mustRun(t, exit.Refused, []string{"backup medic/nightly does not exist, and no record of it is kept"}, "delete", "backup", "nightly", "--yes")
}

func TestDeleteLocked(t *testing.T) {
	b := backupIn(api.PhaseCompleted, "u-1")
	w := newWorld(t, interceptor.Funcs{}, b)
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(b), b); err != nil {
		t.Fatal(err)
	}
	b.Status.LockedUntil = &metav1.Time{Time: w.env.Now().Add(time.Hour)}
	if err := w.Status().Update(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	w.mustRun(t, exit.Good, nil, "delete", "backup", "nightly", "--yes")
	end := b.Status.LockedUntil.UTC().Format("2006-01-02 15:04:05 UTC")
	if got := w.out.String(); !strings.Contains(got, "waits until "+end) || !strings.Contains(got, "locked") {
		t.Errorf("%q", got)
	}
}

func TestKubeconfigIsWrong(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.env.Connect = func() (client.WithWatch, error) { return nil, errors.New(`context "nope" does not exist`) }
	w.mustRun(t, exit.Usage, []string{`context "nope" does not exist`, "get-contexts"}, "list")
}

func TestVersion(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, "version")
	if !strings.HasPrefix(w.out.String(), "kubectl-cht test (go") {
		t.Errorf("%q", w.out)
	}
}
