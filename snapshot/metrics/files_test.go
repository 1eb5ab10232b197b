package metrics

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// withFiles has 100 bytes of files in each volume, 10 of which were sent.
func withFiles(b *api.Backup) {
	for i := range b.Status.Volumes {
		b.Status.Volumes[i].File = &api.FileVolume{Repository: "r", Tree: "t", Size: resource.NewQuantity(100, resource.BinarySI), Sent: resource.NewQuantity(10, resource.BinarySI), Complete: true}
	}
}

func notCopied(why string) func(*api.Backup) {
	return func(b *api.Backup) {
		condition(&b.Status.Conditions, api.ConditionFileCopied, metav1.ConditionFalse, why)
	}
}

// How old the files in the catalog are, what they took, and why there are no newer ones.
func TestFileCopies(t *testing.T) {
	s := &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: "f", Name: "n", CreationTimestamp: *second(0)}}
	asked := time.Time{}
	CopiesDue(func(_ *api.BackupSchedule, newest time.Time) time.Time {
		asked = newest
		return newest.Add(hour)
	})
	t.Cleanup(func() { CopiesDue(nil) })
	half := func(b *api.Backup) {
		withFiles(b)
		b.Status.Volumes[1].File.Complete = false
	}
	there(t, nil, []client.Object{s, backup("f", "a", day, withFiles), backup("f", "b", 2*day, half, notCopied(api.ReasonCopierLost)),
		backup("f", "before", hour, notCopied(api.ReasonNoCatalog)), backup("f", "plain", 3*day)}...)
	got := read(t, "f")
	for series, want := range map[string]float64{"file_copy_timestamp_seconds{}": day.Seconds(), "file_copy_size_bytes{}": 300, "file_copy_sent_bytes{}": 30,
		"file_copy_failures{CopierLost}": 1, "schedule_file_copy_due_timestamp_seconds{n}": (day + hour).Seconds(), "recovery_point_timestamp_seconds{}": (3 * day).Seconds()} {
		if v, is := got[series]; !is || v != want {
			t.Errorf("%s is %v (%t), want %v", series, v, is, want)
		}
	}
	if _, is := got["file_copy_failures{NoCatalog}"]; is {
		t.Error("a failure before the copy counts")
	}
	if !asked.Equal(epoch.Add(day)) {
		t.Errorf("due after %s", asked)
	}
	BackupEnded(backup("f", "a", day, withFiles))
	BackupEnded(backup("f", "b", day, withFiles, failedFor(api.ReasonReadyTimeout)))
	if v := read(t, "f")["file_sent_bytes_total{}"]; v != 30 {
		t.Errorf("%v bytes sent", v)
	}
}
