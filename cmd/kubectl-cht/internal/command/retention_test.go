package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

func nightlySchedule(change ...func(*api.BackupSchedule)) *api.BackupSchedule {
	two := int32(2)
	s := &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "nightly", CreationTimestamp: metav1.NewTime(noon.AddDate(0, -1, 0))},
		Spec: api.BackupScheduleSpec{Schedule: "30 2 * * *", TimeZone: "Africa/Nairobi", Retention: &api.Retention{KeepDaily: &two}}}
	for _, each := range change {
		each(s)
	}
	return s
}

// nightAgo is the good backup of the schedule that was cut so many nights before noon.
func nightAgo(nights int, change ...func(*api.Backup)) *api.Backup {
	cut := metav1.NewMicroTime(noon.Truncate(24*time.Hour).AddDate(0, 0, -nights).Add(-30 * time.Minute))
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: fmt.Sprint("night-", nights), Labels: map[string]string{api.ScheduleLabel: "nightly"}},
		Status: api.BackupStatus{Phase: api.PhaseCompleted, CutTime: &cut, Conditions: condition(metav1.ConditionTrue, api.ReasonCompleted, "")}}
	for _, each := range change {
		each(b)
	}
	return b
}

func retentionWorld(t *testing.T, hooks interceptor.Funcs, more ...client.Object) *world {
	manual := nightAgo(9, func(b *api.Backup) { b.Labels = nil })
	held := nightAgo(4, func(b *api.Backup) { b.Annotations = map[string]string{api.HoldAnnotation: "audit\x1b[2J"} })
	clone := restoreIn("clone", "r")
	clone.Spec.Source.Name = "night-3"
	return newWorld(t, hooks, append(more, nightlySchedule(), nightAgo(0), nightAgo(1), nightAgo(2), nightAgo(3), held, manual, clone)...)
}

func TestRetentionExplain(t *testing.T) {
	w := retentionWorld(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, "retention", "explain")
	want := `Schedule:  medic/nightly  30 2 * * *  Africa/Nairobi
Policy:    daily 2; failed: at most 10, within 30d

BACKUP   TIME                         STATE     PLAN     WHY
night-0  Sun 2026-03-01 02:30:00 EAT  good      keep     newest good, daily 2026-03-01
night-1  Sat 2026-02-28 02:30:00 EAT  good      keep     daily 2026-02-28
night-2  Fri 2026-02-27 02:30:00 EAT  good      remove   older than what the rules keep
night-3  Thu 2026-02-26 02:30:00 EAT  good      keep     in use by restore clone/r
night-4  Wed 2026-02-25 02:30:00 EAT  good      keep     held: audit[2J
night-9  Fri 2026-02-20 02:30:00 EAT  good      keep     manual: not of this schedule

6 backups: 5 kept, 1 to be removed
`
	if got := w.out.String(); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	var all api.BackupList
	if err := w.List(t.Context(), &all); err != nil || len(all.Items) != 6 {
		t.Errorf("%d backups are there after it: %v", len(all.Items), err)
	}
}

func TestRetentionExplainTries(t *testing.T) {
	w := retentionWorld(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, "retention", "explain", "nightly", "--keep-last", "1", "--keep-within", "2d", "--failed-keep-last", "0")
	for _, says := range []string{"last 1, within 2d; failed: at most 0, within 30d (tried, not the schedule's own)", "newest good, last 1 of 1, within 2d", "6 backups: 6 kept"} {
		if !strings.Contains(w.out.String(), says) {
			t.Errorf("does not say %q:\n%s", says, w.out)
		}
	}
	w.mustRun(t, exit.Good, nil, "retention", "explain", "--failed-keep-within", "1d")
	if says := "daily 2; failed: at most 10, within 1d (tried"; !strings.Contains(w.out.String(), says) {
		t.Errorf("does not say %q:\n%s", says, w.out)
	}
	w.mustRun(t, exit.Usage, []string{"the --keep flags", "retention.keepWithin", `"2w"`}, "retention", "explain", "--keep-within", "2w")
	w.mustRun(t, exit.Usage, []string{"the --keep flags", "retention.keepDaily: -1"}, "retention", "explain", "--keep-daily", "-1")
	w.mustRun(t, exit.Usage, []string{"all but the newest"}, "retention", "explain", "--keep-daily", "0")
}

func TestRetentionExplainJSON(t *testing.T) {
	w := retentionWorld(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, "retention", "explain", "-o", "json", "--simulate", "10d")
	got := decodeOut[struct {
		Schedule, TimeZone string
		Kept, Removed      int
		Backups            []struct {
			Name string
			Time time.Time
			Keep bool
			Why  []string
		}
		Simulation struct {
			Runs, Most int
			Left       []struct{ Time time.Time }
			Months     []struct {
				Month      string
				Left, Most int
			}
		}
	}](t, w)
	if got.Schedule != "nightly" || got.TimeZone != "Africa/Nairobi" || got.Kept != 5 || got.Removed != 1 || len(got.Backups) != 6 || got.Backups[2].Keep || got.Backups[2].Name != "night-2" || len(got.Backups[0].Why) != 2 {
		t.Errorf("%+v", got)
	}
	if s := got.Simulation; s.Runs != 10 || s.Most != 3 || len(s.Left) != 2 || len(s.Months) != 1 || s.Months[0].Left != 2 || !s.Left[0].Time.Equal(time.Date(2026, 3, 11, 2, 30, 0, 0, time.FixedZone("", 3*3600))) {
		t.Errorf("%+v", s)
	}
}

func TestRetentionExplainSimulates(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, nightlySchedule(func(s *api.BackupSchedule) { s.Spec.Schedule = "30 2,14 * * *" }))
	w.mustRun(t, exit.Good, nil, "retention", "explain", "--keep-last", "3", "--keep-monthly", "9", "--simulate", "2m10d")
	want := `Schedule:  medic/nightly  30 2,14 * * *  Africa/Nairobi
Policy:    last 3, monthly 9; failed: at most 10, within 30d (tried, not the schedule's own)

There are no backups yet.

Simulated: 142 backups in 2m10d from 2026-03-01 on, all good

                   1         2         3
          1234567890123456789012345678901  LEFT  AT MOST
2026-03   ..............................1     1        4
2026-04   .............................1      1        5
2026-05   .........12                         3        6

. none of that day is left at the end, 1 to 9 so many are, + more; AT MOST: at once in that month
5 are left at the end; at most 6 at once, first on 2026-05-02
`
	if got := w.out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	w.mustRun(t, exit.Usage, []string{`--simulate "2w"`, "such as 400d"}, "retention", "explain", "--simulate", "2w")
	w.mustRun(t, exit.Usage, []string{"more than 1000000 backups", "shorter"}, "retention", "explain", "--simulate", "3000y")
	w = newWorld(t, interceptor.Funcs{}, nightlySchedule(func(s *api.BackupSchedule) { s.Spec.Schedule = "30 2 10 */2 *" }))
	w.mustRun(t, exit.Good, nil, "retention", "explain", "--keep-last", "2", "--simulate", "1y")
	for _, says := range []string{"2026-11   .........1....................      1        3\n", "2026-08   ...............................     0        2\n"} {
		if !strings.Contains(w.out.String(), says) {
			t.Errorf("a schedule of every other month does not say %q:\n%s", says, w.out)
		}
	}
}

func TestRetentionExplainWhich(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.mustRun(t, exit.Refused, []string{"there is no schedule in namespace medic"}, "retention", "explain")
	w.mustRun(t, exit.Refused, []string{"get schedule medic/hourly"}, "retention", "explain", "hourly")
	hourly := nightlySchedule(func(s *api.BackupSchedule) { s.Name = "hourly"; s.Spec.Retention = nil })
	broken := nightlySchedule(func(s *api.BackupSchedule) { s.Name = "broken"; s.Spec.Retention.KeepWithin = "x" })
	w = newWorld(t, interceptor.Funcs{}, nightlySchedule(), hourly, broken, nightAgo(0))
	w.mustRun(t, exit.Usage, []string{"3 schedules (broken, hourly, nightly)", "say which", "explain broken -n medic"}, "retention", "explain")
	w.mustRun(t, exit.Refused, []string{"schedule medic/broken", "retention.keepWithin"}, "retention", "explain", "broken")
	w.mustRun(t, exit.Good, nil, "retention", "explain", "hourly")
	for _, says := range []string{"Policy:    no retention: all are kept", "of schedule nightly: not of this schedule"} {
		if !strings.Contains(w.out.String(), says) {
			t.Errorf("does not say %q:\n%s", says, w.out)
		}
	}
}

func TestRetentionExplainWithoutRightsElsewhere(t *testing.T) {
	w := retentionWorld(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		asked := (&client.ListOptions{}).ApplyOptions(opts)
		if _, is := list.(*api.RestoreList); is && asked.Namespace == "" {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "restores"}, "", errors.New("no"))
		}
		return c.List(ctx, list, opts...)
	}})
	w.mustRun(t, exit.Good, nil, "retention", "explain")
	if !strings.Contains(w.er.String(), "restores in other namespaces") || strings.Contains(w.out.String(), "in use") {
		t.Errorf("stdout %q stderr %q", w.out, w.er)
	}
}
