package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/schedule"
)

func (w *world) schedule(t *testing.T, name string) *api.BackupSchedule {
	t.Helper()
	var s api.BackupSchedule
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "medic", Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestScheduleCreate(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	remap := filepath.Join(t.TempDir(), "remap.yaml")
	if err := os.WriteFile(remap, []byte("storageClassName: cheap\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.mustRun(t, exit.Good, nil, "schedule", "create", "nightly", "--schedule", "30 2 * * *", "--time-zone", "Africa/Nairobi", "--jitter", "30m", "--starting-deadline", "6h",
		"--keep-last", "3", "--keep-daily", "14", "--keep-monthly", "0", "--keep-within", "1m", "--drill", "0 5 * * 0", "--drill-verify", "full", "--drill-keep-failed", "2h", "--drill-remap", remap,
		"--quiesce", "pause", "--max-stall", "2s", "--suspend")
	s := w.schedule(t, "nightly").Spec
	if s.Schedule != "30 2 * * *" || s.TimeZone != "Africa/Nairobi" || s.Jitter.Duration != 30*time.Minute || *s.StartingDeadlineSeconds != 6*3600 || !s.Suspend {
		t.Errorf("clock: %+v", s)
	}
	if r := s.Retention; *r.KeepLast != 3 || *r.KeepDaily != 14 || *r.KeepMonthly != 0 || r.KeepHourly != nil || r.KeepWeekly != nil || r.KeepYearly != nil || r.KeepWithin != "1m" {
		t.Errorf("retention: %+v", r)
	}
	if d := s.Drill; d.Schedule != "0 5 * * 0" || d.Verify != api.VerifyFull || d.KeepFailed.Duration != 2*time.Hour || d.Remap.StorageClassName != "cheap" {
		t.Errorf("drill: %+v", d)
	}
	if b := s.Template.Spec; b.Quiesce != api.QuiescePause || b.MaxStall.Duration != 2*time.Second || b.Attempts != 3 {
		t.Errorf("template: %+v", b)
	}
	want := `schedule medic/nightly created
  due Mon 2 Mar 2026 02:30 EAT
  due Tue 3 Mar 2026 02:30 EAT
  due Wed 4 Mar 2026 02:30 EAT
`
	if w.out.String() != want || w.er.Len() > 0 {
		t.Errorf("%q%q", w.out, w.er)
	}
	w.mustRun(t, exit.Good, nil, "schedule", "create", "plain", "--schedule", "@daily", "-o", "name")
	if got := w.out.String(); got != "backupschedule.backup.communityhealthtoolkit.org/plain\n" {
		t.Errorf("%q", got)
	}
	w.mustRun(t, exit.Good, nil, "schedule", "create", "all", "--schedule", "@daily")
	if !strings.Contains(w.er.String(), "every backup is kept") || w.schedule(t, "all").Spec.Retention != nil {
		t.Errorf("%q", w.er)
	}
	w.mustRun(t, exit.Refused, []string{"choose another name"}, "schedule", "create", "all", "--schedule", "@daily")
}

// What --dry-run prints is what one would write, and makes the same schedule.
func TestScheduleDryRun(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.env.Connect = func() (client.WithWatch, error) { t.Error("a cluster was asked"); return nil, errors.New("no") }
	args := []string{"schedule", "create", "nightly", "--schedule", "@every 6h", "--keep-last", "3"}
	w.mustRun(t, exit.Good, nil, append(args, "--dry-run")...)
	printed := w.out.String()
	for _, not := range []string{"status", "creationTimestamp", "managedFields"} {
		if strings.Contains(printed, not) {
			t.Errorf("%s in:\n%s", not, printed)
		}
	}
	var s api.BackupSchedule
	if err := yaml.UnmarshalStrict([]byte(printed), &s); err != nil || s.Namespace != "medic" || s.Kind != "BackupSchedule" || s.APIVersion != api.GroupVersion.String() {
		t.Fatalf("%v\n%s", err, printed)
	}
	w.env.Connect = func() (client.WithWatch, error) { return w.WithWatch, nil }
	if err := w.Create(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	applied := w.schedule(t, "nightly").Spec
	args[2] = "same"
	w.mustRun(t, exit.Good, nil, args...)
	if same := w.schedule(t, "same").Spec; *same.Retention.KeepLast != *applied.Retention.KeepLast || same.Schedule != applied.Schedule || same.Template.Spec.MaxStall != applied.Template.Spec.MaxStall {
		t.Errorf("%+v, printed %+v", same, applied)
	}
	w.mustRun(t, exit.Good, nil, append(args, "--dry-run", "-o", "json")...)
	if got := decodeOut[api.BackupSchedule](t, w); got.Name != "same" {
		t.Errorf("%s", w.out)
	}
}

func TestScheduleRefusesBadInput(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.env.Connect = func() (client.WithWatch, error) { t.Error("a cluster was asked"); return nil, errors.New("no") }
	daily := func(args ...string) []string { return append([]string{"n", "--schedule", "@daily"}, args...) }
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"n"}, "--schedule is missing"},
		{[]string{"n", "--schedule", "0 30 2 * * *"}, "five fields"},
		{[]string{"n", "--schedule", "99 2 * * *"}, "correct --schedule"},
		{[]string{"n", "--schedule", "@every 1s"}, "shorter than"},
		{daily("--time-zone", "Africa/Atlantis"), "not in the IANA database"},
		{[]string{"Nightly", "--schedule", "@daily"}, `schedule name "Nightly" cannot be used`},
		{[]string{strings.Repeat("n", 64), "--schedule", "@daily"}, "at most 63"},
		{daily("--jitter", "13h"), "give 0s to 12h"},
		{daily("--starting-deadline", "0s"), "give 1s to"},
		{daily("--keep-daily", "-1"), "retention.keepDaily: -1 is below 0"},
		{daily("--keep-within", "2w"), "the --keep flags: retention.keepWithin"},
		{daily("--keep-daily", "0"), "every keep rule is 0"},
		{daily("--failed-keep-last", "3"), "every keep rule is 0"},
		{daily("--drill-verify", "Full"), "say when with --drill"},
		{daily("--drill", "never"), "correct --drill"},
		{daily("--drill", "@daily", "--drill-verify", "Half"), "Quick, Sample, Full"},
		{daily("--drill", "@daily", "--drill-keep-failed", "1s"), "give 1m0s to"},
		{daily("--drill", "@daily", "--drill-remap", "/none"), "cannot be read"},
		{daily("--max-stall", "2m"), "--max-stall"},
		{daily("-o", "xml"), "json, yaml, name"},
	} {
		w.mustRun(t, exit.Usage, []string{tc.says}, append([]string{"schedule", "create"}, tc.args...)...)
	}
}

func TestScheduleList(t *testing.T) {
	off := scheduleIn("kilifi", "weekly")
	off.Spec.Suspend, off.Spec.Schedule = true, "0 4 * * 0"
	w := newWorld(t, interceptor.Funcs{}, scheduleIn("medic", "nightly"), off)
	w.mustRun(t, exit.Good, nil, "schedule", "list", "-A")
	want := `NAMESPACE  NAME     SCHEDULE    ZONE            STATE      NEXT RUN             LAST RUN  RECOVERY POINT  MISSED
kilifi     weekly   0 4 * * 0   Africa/Nairobi  Suspended  -                    -         -               0
medic      nightly  30 2 * * *  Africa/Nairobi  Accepted   Mon 2 Mar 02:30 EAT  -         -               0
`
	if got := w.out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	w.mustRun(t, exit.Good, nil, "schedule", "list", "-o", "name")
	if got := w.out.String(); got != "backupschedule.backup.communityhealthtoolkit.org/nightly\n" {
		t.Errorf("%q", got)
	}
	w.mustRun(t, exit.Good, nil, "schedule", "list", "-o", "json")
	if list := decodeOut[struct{ Items []api.BackupSchedule }](t, w); len(list.Items) != 1 || list.Items[0].Kind != "BackupSchedule" {
		t.Errorf("%s", w.out)
	}
	w.env.Namespace = func() (string, error) { return "empty", nil }
	w.mustRun(t, exit.Good, nil, "schedule", "list")
	if w.out.Len() > 0 || !strings.Contains(w.er.String(), "no schedules in namespace empty") {
		t.Errorf("%q %q", w.out, w.er)
	}
}

func TestScheduleSuspendAndResume(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, scheduleIn("medic", "nightly"))
	for _, tt := range []struct {
		verb, says string
		suspended  bool
	}{
		{"resume", "is running already", false},
		{"suspend", "is suspended: no backups", true},
		{"suspend", "is suspended already", true},
		{"resume", "runs again, next Mon 2 Mar 2026 02:30 EAT", false},
	} {
		w.mustRun(t, exit.Good, nil, "schedule", tt.verb, "nightly")
		if got := w.schedule(t, "nightly").Spec.Suspend; got != tt.suspended || !strings.Contains(w.out.String(), tt.says) {
			t.Errorf("%s: suspended %v, %q", tt.verb, got, w.out)
		}
	}
	w.mustRun(t, exit.Refused, []string{"there is no schedule none in namespace medic"}, "schedule", "suspend", "none")
}

func TestScheduleDelete(t *testing.T) {
	of := goodIn("medic", "a", noon)
	of.Labels = map[string]string{api.ScheduleLabel: "nightly"}
	w := newWorld(t, interceptor.Funcs{}, scheduleIn("medic", "nightly"), of, goodIn("medic", "b", noon))
	w.mustRun(t, exit.Good, nil, "schedule", "delete", "nightly")
	if !strings.Contains(w.out.String(), "the backups that it has made stay: 1") {
		t.Errorf("%q", w.out)
	}
	w.backup(t, "a")
	w.mustRun(t, exit.Refused, []string{"there is no schedule nightly"}, "schedule", "delete", "nightly")
}

// obeys makes the backup that a trigger asks for, after so many looks at the schedule.
func obeys(t *testing.T, looks int, made string) interceptor.Funcs {
	return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if err := c.Get(ctx, key, o, opts...); err != nil {
			return err
		}
		s, is := o.(*api.BackupSchedule)
		if !is || s.Annotations[api.RunNowAnnotation] == "" {
			return nil
		}
		if looks--; looks > 0 {
			s.Status.Backups.WaitingFor = "backup manual runs"
			return nil
		}
		return client.IgnoreAlreadyExists(c.Create(ctx, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: schedule.RunNowName(s.Name, s.Annotations[api.RunNowAnnotation]), UID: "now-1",
			Labels: map[string]string{api.ScheduleLabel: made}}}))
	}}
}

func TestScheduleTrigger(t *testing.T) {
	w := newWorld(t, obeys(t, 3, "nightly"), scheduleIn("medic", "nightly"))
	w.env.Follow.Retry = time.Millisecond
	w.mustRun(t, exit.Good, nil, "schedule", "trigger", "nightly")
	name := schedule.RunNowName("nightly", "2026-03-01T12:00:00Z")
	if got := w.schedule(t, "nightly").Annotations[api.RunNowAnnotation]; got != "2026-03-01T12:00:00Z" {
		t.Errorf("annotation %q", got)
	}
	for _, want := range []string{"is triggered; its backup is " + name, "waiting: backup manual runs\n", "backup medic/" + name + " is Completed"} {
		if strings.Count(w.out.String(), want) != 1 {
			t.Errorf("stdout lacks %q:\n%s", want, w.out)
		}
	}
}

func TestScheduleTriggerEndsOtherwise(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, scheduleIn("medic", "nightly"))
	w.env.Follow.Retry = time.Millisecond
	w.mustRun(t, exit.TimedOut, []string{"stopped waiting after 50ms", "describe schedule nightly -n medic"}, "schedule", "trigger", "nightly", "--timeout", "50ms")
	w.mustRun(t, exit.Good, nil, "schedule", "trigger", "nightly", "--no-wait", "-o", "json")
	if s := decodeOut[api.BackupSchedule](t, w); s.Annotations[api.RunNowAnnotation] == "" || !strings.Contains(w.er.String(), "its backup is nightly-now-") {
		t.Errorf("%s%s", w.out, w.er)
	}
	w = newWorld(t, obeys(t, 1, "another"), scheduleIn("medic", "nightly"))
	w.env.Follow.Retry = time.Millisecond
	w.mustRun(t, exit.Failed, []string{"is none of schedule nightly"}, "schedule", "trigger", "nightly")

	gone := false
	w = newWorld(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		gone = true
		return errors.Join(c.Patch(ctx, o, p, opts...), c.Delete(ctx, o.DeepCopyObject().(client.Object))) //nolint:forcetypeassert // a copy is of the same type
	}}, scheduleIn("medic", "nightly"))
	w.mustRun(t, exit.Failed, []string{"was deleted meanwhile"}, "schedule", "trigger", "nightly")
	if !gone {
		t.Error("not patched")
	}
	w = newWorld(t, obeys(t, 1, "nightly"), scheduleIn("medic", "nightly"))
	w.env.Follow.Retry, w.end = time.Millisecond, api.PhaseFailed
	w.mustRun(t, exit.Failed, []string{"failed (PodNotReady)"}, "schedule", "trigger", "nightly")
}
