package retention

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func TestOf(t *testing.T) {
	made := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	cut, ended, found := made.Add(time.Second), made.Add(time.Minute), made.Add(48*time.Hour)
	micro := func(t time.Time) *metav1.MicroTime { return &metav1.MicroTime{Time: t} }
	condition := func(kind string, status metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, LastTransitionTime: metav1.NewTime(found)}
	}
	ready, wrong := condition(api.ConditionReady, metav1.ConditionTrue), condition(api.ConditionReady, metav1.ConditionFalse)
	for _, c := range []struct {
		name   string
		status api.BackupStatus
		change func(*api.Backup)
		want   Backup
	}{
		{"new", api.BackupStatus{}, nil, Backup{State: Unfinished, Time: made}},
		{"cut, not finished", api.BackupStatus{Phase: api.PhaseFinishing, CutTime: micro(cut)}, nil, Backup{State: Unfinished, Time: made}},
		{"cleaning up", api.BackupStatus{Phase: api.PhaseCleaningUp, CutTime: micro(cut)}, nil, Backup{State: Unfinished, Time: made}},
		{"good", api.BackupStatus{Phase: api.PhaseCompleted, CutTime: micro(cut), CompletionTime: micro(ended), Conditions: []metav1.Condition{ready}}, nil, Backup{State: Good, Time: cut}},
		{"proved", api.BackupStatus{Phase: api.PhaseCompleted, CutTime: micro(cut), Conditions: []metav1.Condition{ready, condition(api.ConditionVerified, metav1.ConditionTrue)}}, nil,
			Backup{State: Good, Time: cut, Verified: true}},
		{"disproved", api.BackupStatus{Phase: api.PhaseCompleted, CutTime: micro(cut), Conditions: []metav1.Condition{ready, condition(api.ConditionVerified, metav1.ConditionFalse)}}, nil,
			Backup{State: Disproved, Time: cut, Disproved: found}},
		{"not known whether proved", api.BackupStatus{Phase: api.PhaseCompleted, CutTime: micro(cut), Conditions: []metav1.Condition{ready, condition(api.ConditionVerified, metav1.ConditionUnknown)}}, nil,
			Backup{State: Good, Time: cut}},
		{"failed", api.BackupStatus{Phase: api.PhaseFailed, CutTime: micro(cut), CompletionTime: micro(ended), Conditions: []metav1.Condition{wrong}}, nil, Backup{State: Failed, Time: ended}},
		{"failed, no end known", api.BackupStatus{Phase: api.PhaseFailed}, nil, Backup{State: Failed, Time: made}},
		{"completed, not ready", api.BackupStatus{Phase: api.PhaseCompleted, CutTime: micro(cut), CompletionTime: micro(ended), Conditions: []metav1.Condition{wrong}}, nil, Backup{State: Failed, Time: ended}},
		{"completed, nothing said", api.BackupStatus{Phase: api.PhaseCompleted, CutTime: micro(cut)}, nil, Backup{State: Unfinished, Time: made}},
		{"completed, no cut", api.BackupStatus{Phase: api.PhaseCompleted, Conditions: []metav1.Condition{ready}}, nil, Backup{State: Unfinished, Time: made}},
		{"locked", api.BackupStatus{Phase: api.PhaseCompleted, CutTime: micro(cut), LockedUntil: &metav1.Time{Time: found}, Conditions: []metav1.Condition{ready}}, nil,
			Backup{State: Good, Time: cut, LockedUntil: found}},
		{"held", api.BackupStatus{}, func(b *api.Backup) { b.Annotations = map[string]string{api.HoldAnnotation: "audit"} }, Backup{State: Unfinished, Time: made, Held: "audit"}},
		{"held, nobody says why", api.BackupStatus{}, func(b *api.Backup) { b.Annotations = map[string]string{api.HoldAnnotation: ""} }, Backup{State: Unfinished, Time: made, Held: "no reason given"}},
		{"being deleted", api.BackupStatus{Phase: api.PhaseCompleted, CutTime: micro(cut), Conditions: []metav1.Condition{ready}}, func(b *api.Backup) { b.DeletionTimestamp = &metav1.Time{Time: found} },
			Backup{State: Deleting, Time: cut}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Name: "b", CreationTimestamp: metav1.NewTime(made)}, Status: c.status}
			if c.change != nil {
				c.change(b)
			}
			c.want.Name = "b"
			if got := Of(b); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestKnown(t *testing.T) {
	backup := func(name, uid, schedule string) api.Backup {
		b := api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: name, UID: types.UID(uid)}}
		if schedule != "" {
			b.Labels = map[string]string{api.ScheduleLabel: schedule}
		}
		return b
	}
	restore := func(name, from, uid string, phase api.Phase) api.Restore {
		return api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: "clone", Name: name}, Spec: api.RestoreSpec{Source: api.BackupReference{Namespace: "medic", Name: from, UID: types.UID(uid)}},
			Status: api.RestoreStatus{Phase: phase}}
	}
	elsewhere := restore("elsewhere", "c", "", "")
	elsewhere.Spec.Source.Namespace = "other"
	known := Known("nightly", []api.Backup{backup("a", "1", "nightly"), backup("b", "2", ""), backup("c", "3", "hourly"), backup("d", "4", "nightly"), backup("e", "5", "nightly")}, []api.Restore{
		restore("new", "a", "", ""), restore("planned", "b", "2", api.PhasePlanned), restore("ended", "d", "", api.PhaseCompleted), restore("failed", "d", "", api.PhaseFailed),
		restore("expired", "d", "", api.PhaseExpired), restore("another", "e", "5", api.PhaseVolumes), elsewhere,
	})
	want := []Backup{{Name: "a", InUse: "restore clone/new"}, {Name: "b", InUse: "restore clone/planned", Foreign: "manual"}, {Name: "c", Foreign: "of schedule hourly"}, {Name: "d"}, {Name: "e", InUse: "restore clone/another"}}
	if !slices.Equal(known, want) {
		t.Errorf("got %+v\nwant %+v", known, want)
	}
}
