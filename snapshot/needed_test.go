package snapshot

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Nothing of a backup goes, neither trees nor record, while a restore reads its files,
// in whatever namespace that is.
func TestDeletionWaitsForWhoReadsTheFiles(t *testing.T) {
	now := metav1.NewTime(epoch)
	reading := func(change ...func(*api.Restore)) *api.Restore {
		restore := &api.Restore{ObjectMeta: metav1.ObjectMeta{Name: "r", Namespace: "clone", Finalizers: []string{api.Finalizer}},
			Status: api.RestoreStatus{Phase: api.PhaseVolumes, BackupUID: "uid-5"}}
		for _, f := range change {
			f(restore)
		}
		return restore
	}
	in := func(p api.Phase) func(*api.Restore) { return func(r *api.Restore) { r.Status.Phase = p } }
	ofFiles := func(b *api.Backup) {
		b.DeletionTimestamp, b.Status.Volumes = &now, []api.VolumeStatus{{Node: "couchdb", Method: api.MethodFile, File: &api.FileVolume{Repository: "one"}}}
	}
	for _, tt := range []struct {
		name    string
		restore *api.Restore
		change  func(*api.Backup)
		waits   bool
	}{
		{"while volumes are filled", reading(), ofFiles, true},
		{"before and after, when the record is read", reading(in(api.PhaseVerifying)), ofFiles, true},
		{"a copy beside snapshots", reading(), func(b *api.Backup) { ofFiles(b); b.Status.Volumes[0].Method = api.MethodCSI }, true},
		{"it has ended", reading(in(api.PhaseCompleted)), ofFiles, false},
		{"it failed", reading(in(api.PhaseFailed)), ofFiles, false},
		{"nobody has agreed to it", reading(in(api.PhasePlanned)), ofFiles, false},
		{"it goes back", reading(in(api.PhaseRollingBack)), ofFiles, false},
		{"it is deleted", reading(func(r *api.Restore) { r.DeletionTimestamp = &now }), ofFiles, false},
		{"of another backup of that name", reading(func(r *api.Restore) { r.Status.BackupUID = "uid-4" }), ofFiles, false},
		{"snapshots alone, which their driver keeps", reading(), func(b *api.Backup) { ofFiles(b); b.Status.Volumes[0].File = nil }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, catalog := withCatalog(t, 0, append(instance(), tt.restore, completedBackup(tt.change))...)
			got, again, err := b.reconcile()
			said := told(b)
			if err != nil || tt.waits != (b.snaps.discards == 0) || tt.waits != (catalog.removed == 0) || tt.waits != (again == neededAgain) || tt.waits != (got.Name != "") {
				t.Errorf("again in %s, %v; %d discards, removed %d times from the catalog", again, err, b.snaps.discards, catalog.removed)
			}
			if tt.waits != strings.Contains(said, "restore clone/r (") {
				t.Errorf("events: %s", said)
			}
		})
	}
}
