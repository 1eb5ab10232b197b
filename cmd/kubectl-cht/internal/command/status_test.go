package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/status"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/paged"
)

func labelled(namespace, name, service string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{cht.ServiceLabel: service}}
}

// goodIn is a backup that counts.
func goodIn(namespace, name string, cut time.Time) *api.Backup {
	return &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.NewTime(cut)},
		Status: api.BackupStatus{Phase: api.PhaseCompleted, CutTime: &metav1.MicroTime{Time: cut}, Conditions: condition(metav1.ConditionTrue, api.ReasonCompleted, "")}}
}

func scheduleIn(namespace, name string) *api.BackupSchedule {
	return &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "s-1", CreationTimestamp: metav1.NewTime(noon.AddDate(0, 0, -60))},
		Spec: api.BackupScheduleSpec{Schedule: "30 2 * * *", TimeZone: "Africa/Nairobi", Drill: &api.ScheduledDrill{Schedule: "0 5 * * 0", Verify: api.VerifySample}},
		Status: api.BackupScheduleStatus{ObservedGeneration: 1, Backups: api.RunStatus{NextTime: &metav1.Time{Time: noon.Add(11*time.Hour + 30*time.Minute)}},
			Drills: &api.RunStatus{NextTime: &metav1.Time{Time: noon.Add(14 * time.Hour)}}}}
}

// fleet is a cluster of some namespaces.
func fleet() []client.Object {
	clone := restoreIn("clone", "r")
	return []client.Object{
		&corev1.Pod{ObjectMeta: labelled("medic", "couch", "couchdb")}, scheduleIn("medic", "nightly"), goodIn("medic", "b", noon.Add(-10*time.Hour)),
		&corev1.Pod{ObjectMeta: labelled("new", "couch", "couchdb-1")},
		&corev1.Pod{ObjectMeta: labelled("other", "api", "api")},
		&appsv1.Deployment{ObjectMeta: labelled("stopped", "couch", "couchdb")},
		&corev1.Pod{ObjectMeta: labelled("clone", "couch", "couchdb")}, clone,
	}
}

func TestStatusOfAll(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, fleet()...)
	w.mustRun(t, exit.Good, nil, "status", "-A")
	want := `STATE     NAMESPACE  LAST GOOD  RECOVERY POINT  VERIFIED  NEXT RUN             STALL  SIZE  GROWTH  TROUBLE
critical  new        -          -               never     -                    -      -     -       never backed up; no schedule
critical  stopped    -          -               never     -                    -      -     -       never backed up; no schedule
ok        medic      b          10h             never     Mon 2 Mar 02:30 EAT  -      -     -       not proven yet; schedule nightly has drills
`
	if w.out.String() != want || w.er.String() != "note: clones, which are not backed up: clone\n" {
		t.Errorf("got:\n%s%s\nwant:\n%s", w.out, w.er, want)
	}
	w.mustRun(t, exit.Trouble, []string{"2 of 3 instances are in trouble"}, "status", "-A", "--exit-code", "-o", "json")
	r := decodeOut[status.Report](t, w)
	if r.Version != 1 || len(r.Instances) != 3 || r.Instances[0].Trouble[0].Code != status.NeverBackedUp || r.Clones[0] != "clone" || w.er.Len() > 0 {
		t.Errorf("%s%s", w.out, w.er)
	}
	w.mustRun(t, exit.Good, nil, "status", "-A", "-o", "yaml")
	var again status.Report
	if err := yaml.UnmarshalStrict(w.out.Bytes(), &again); err != nil || len(again.Instances) != 3 {
		t.Errorf("yaml: %v\n%s", err, w.out)
	}
	w.mustRun(t, exit.Usage, []string{"json, yaml, wide"}, "status", "-o", "name")
}

func TestStatusOfOne(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, fleet()...)
	w.mustRun(t, exit.Good, nil, "status", "--exit-code")
	if got := w.out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "ok     medic") {
		t.Errorf("%s", got)
	}
	w.env.Namespace = func() (string, error) { return "nothing", nil }
	w.mustRun(t, exit.Refused, []string{"namespace nothing holds no CHT"}, "status")
	w.env.Namespace = func() (string, error) { return "new", nil }
	w.mustRun(t, exit.Trouble, []string{"1 of 1 instances"}, "status", "--exit-code", "-o", "wide")
}

// Who may see the backups, and nothing else, is told how well they are.
func TestStatusWithFewRights(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		_, restores := list.(*api.RestoreList)
		if _, metadata := list.(*metav1.PartialObjectMetadataList); metadata || restores {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "", errors.New("no"))
		}
		return c.List(ctx, list, opts...)
	}}, fleet()...)
	w.mustRun(t, exit.Good, nil, "status", "-A")
	if got := w.out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "medic") {
		t.Errorf("%s", got)
	}
	for _, want := range []string{"you may not list restores", "you may not list pods, deployments, statefulsets in any namespace"} {
		if !strings.Contains(w.er.String(), want) {
			t.Errorf("%q lacks %q", w.er, want)
		}
	}
	w.env.Namespace = func() (string, error) { return "nothing", nil }
	w.mustRun(t, exit.Good, nil, "status") // it may hold a CHT that he cannot see
	if got := w.out.String(); !strings.Contains(got, "critical  nothing") {
		t.Errorf("%s", got)
	}
}

// Never more than a page is asked for, and none is left out.
func TestStatusPages(t *testing.T) {
	pages := 0
	w := newWorld(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		o := (&client.ListOptions{}).ApplyOptions(opts)
		if o.Limit != paged.Size {
			t.Errorf("%T without a limit: %+v", list, o)
		}
		backups, is := list.(*api.BackupList)
		if !is {
			return c.List(ctx, list, client.InNamespace(o.Namespace))
		}
		if want := map[int]string{0: "", 1: "p1", 2: "p2"}[pages]; o.Continue != want {
			t.Errorf("page %d asked with %q", pages, o.Continue)
		}
		backups.Items = nil
		for i := range 3 {
			backups.Items = append(backups.Items, *goodIn("medic", fmt.Sprintf("b-%d-%d", pages, i), noon.Add(-time.Duration(pages*3+i)*time.Hour)))
		}
		pages++
		backups.Continue = map[int]string{1: "p1", 2: "p2"}[pages]
		return nil
	}})
	w.mustRun(t, exit.Good, nil, "status", "-o", "json")
	if r := decodeOut[status.Report](t, w); pages != 3 || r.Instances[0].Backups.Good != 9 || r.Instances[0].LastGood.Name != "b-0-0" {
		t.Errorf("%d pages\n%s", pages, w.out)
	}
}

func TestNoColour(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, fleet()...)
	w.env.Terminal = func(stream any) (func() int, bool) { return func() int { return 80 }, stream == w.env.Out }
	for _, tt := range []struct {
		args, variable string
		painted        bool
	}{{"status -A", "", true}, {"status -A --no-color", "", false}, {"status -A", "1", false}, {"status -A -o json", "", false}} {
		t.Setenv("NO_COLOR", tt.variable)
		w.env.Plain = false
		w.mustRun(t, exit.Good, nil, strings.Fields(tt.args)...)
		if got := strings.Contains(w.out.String(), "\x1b["); got != tt.painted {
			t.Errorf("%s, NO_COLOR=%q: painted is %v", tt.args, tt.variable, got)
		}
	}
}
