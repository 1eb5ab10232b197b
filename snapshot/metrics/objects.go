package metrics

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// ofObjects are the descriptions of what follows from the objects.
var ofObjects []*prometheus.Desc

var (
	since    = perNamespace("cht_backup_watched_since_timestamp_seconds", "When the oldest schedule or Backup of the namespace that is there was made, in seconds since the epoch: of each instance that is to be backed up.")
	point    = perNamespace("cht_backup_recovery_point_timestamp_seconds", "When the newest good backup of the instance was cut, in seconds since the epoch: what came after it would be lost now.")
	success  = perNamespace("cht_backup_last_success_timestamp_seconds", "When the newest good backup of the instance was complete, in seconds since the epoch: from then on it could be restored from.")
	size     = perNamespace("cht_backup_size_bytes", "Size of CouchDB's database files in the newest good backup, views left out, as CouchDB told it at the cut.")
	space    = perNamespace("cht_backup_restore_size_bytes", "What the volumes made from the newest good backup need at least. The storage may keep and charge less.")
	hold     = perNamespace("cht_backup_last_stall_seconds", "How long the newest good backup held writes back.")
	locked   = perNamespace("cht_backup_locked_until_timestamp_seconds", "Until when the storage lets nobody delete the newest good backup, in seconds since the epoch; of those that are locked.")
	inARow   = told("cht_backup_failures_since_success", "Backups that have failed since the newest good one and are there yet, by the reason of their condition Ready.", namespaceLabel, reasonLabel)
	verified = perNamespace("cht_backup_verified_timestamp_seconds", "When a backup of the instance that is there was last restored and found to be what was recorded, by a drill or a restore, in seconds since the epoch.")
	recovery = perNamespace("cht_backup_recovery_seconds", "Time to recovery as that restore measured it: from its begin to the end of its verification.")
	disprove = perNamespace("cht_backup_drill_failed", "1 while the latest drill with an outcome disproved its backup or could not judge it, else 0.")

	next    = perSchedule("cht_backup_schedule_next_run_timestamp_seconds", "When the next backup of the schedule begins, in seconds since the epoch; none while it is suspended or invalid.")
	newest  = perSchedule("cht_backup_schedule_last_success_timestamp_seconds", "When the newest good backup of the schedule was cut, in seconds since the epoch.")
	miss    = perSchedule("cht_backup_schedule_missed_runs", "Runs of the schedule that were due and did not begin, since it was created.")
	stand   = perSchedule("cht_backup_schedule_ready", "1 while the schedule's condition Ready is True, else 0.")
	suspend = perSchedule("cht_backup_schedule_suspended", "1 while the schedule is suspended, else 0.")

	copied    = perNamespace("cht_backup_file_copy_timestamp_seconds", "When the newest good backup was cut whose files are all in the catalog's repository, in seconds since the epoch.")
	fileSize  = perNamespace("cht_backup_file_copy_size_bytes", "Size of the files of that backup, on CouchDB's volumes.")
	fileSent  = perNamespace("cht_backup_file_copy_sent_bytes", "What was sent to the repository for that backup, compressed and sealed: what was not there already.")
	uncopying = told("cht_backup_file_copy_failures", "Good backups, newer than that one, whose files were to be copied beside the snapshots and are not, by the reason of their condition FileCopied.", namespaceLabel, reasonLabel)
	due       = perSchedule("cht_backup_schedule_file_copy_due_timestamp_seconds", "When the files were, or are, to be copied by the schedule for the first time after the newest backup whose files are copied, in seconds since the epoch; none without fileCopySchedule, or while suspended.")

	waiting = told("cht_backup_backups_waiting", "Backups that wait in line, or for their next attempt.")
	running = told("cht_backup_backups_running", "Backups that are worked on, until their snapshots can be restored from.")
	under   = told("cht_backup_restores_running", "Restores and drills that are worked on.")

	missing = perNamespace("cht_backup_catalog_records_missing", "Completed backups whose record is not in the catalog; none where there is no catalog.")
	written = told("cht_backup_catalog_last_write_timestamp_seconds", "When the record of a backup that is there was last written to the catalog, in seconds since the epoch.")
	copying = perNamespace("cht_backup_copies_incomplete", "Completed backups whose copies in other Regions and accounts are not all complete.")
	behind  = perNamespace("cht_backup_copies_incomplete_since_timestamp_seconds", "When the oldest of those backups was complete, in seconds since the epoch.")
)

// within bounds one reading of the cache, which blocks until it is filled.
const within = 5 * time.Second

// objects collects what follows from the objects of the controller's cache, at each
// scrape: nothing is to be remembered, nor to be forgotten.
type objects struct {
	sync.Mutex
	reader   client.Reader
	concerns func(namespace string) bool
	wants    func(*api.Backup) bool
	copyDue  func(s *api.BackupSchedule, newest time.Time) time.Time
}

// CopiesDue says by what it is known when a schedule's files are due to be copied for the
// first time after the cut of the newest backup whose files are copied; zero for never.
func CopiesDue(by func(s *api.BackupSchedule, newest time.Time) time.Time) {
	all.Lock()
	defer all.Unlock()
	all.copyDue = by
}

var all = &objects{}

func init() { metrics.Registry.MustRegister(all) }

// ReadFrom says where the objects are read from: the controller's cache. concerns tells
// whether a namespace is this controller's to tell of, and not another's. wants tells
// whether the record of a completed backup is not in the catalog, nil where there is no
// catalog. Until then, nothing is told of objects.
func ReadFrom(reader client.Reader, concerns func(namespace string) bool, wants func(*api.Backup) bool) {
	all.Lock()
	defer all.Unlock()
	all.reader, all.concerns, all.wants = reader, concerns, wants
}

// Describe names all families.
func (o *objects) Describe(to chan<- *prometheus.Desc) {
	for _, d := range ofObjects {
		to <- d
	}
}

// Collect gives all series. Where the objects cannot be read, a gap tells that nothing is
// known: what was known before would look like a good state.
func (o *objects) Collect(to chan<- prometheus.Metric) {
	o.Lock()
	reader, concerns, wants, copyDue := o.reader, o.concerns, o.wants, o.copyDue
	o.Unlock()
	if reader == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var backups api.BackupList
	var restores api.RestoreList
	var schedules api.BackupScheduleList
	for _, list := range []client.ObjectList{&backups, &restores, &schedules} {
		if err := reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return
		}
	}
	backups.Items = slices.DeleteFunc(backups.Items, func(b api.Backup) bool { return !concerns(b.Namespace) })
	restores.Items = slices.DeleteFunc(restores.Items, func(r api.Restore) bool { return !concerns(r.Namespace) })
	schedules.Items = slices.DeleteFunc(schedules.Items, func(s api.BackupSchedule) bool { return !concerns(s.Namespace) })
	t := teller{to}
	f := survey(backups.Items, restores.Items, schedules.Items, wants)
	for i := range schedules.Items {
		s := &schedules.Items[i]
		t.schedule(s)
		if copyDue != nil {
			t.time(due, copyDue(s, f.of(s.Namespace).copiedAt()), s.Namespace, s.Name)
		}
	}
	for namespace, i := range f.instances {
		t.instance(namespace, i, wants != nil)
	}
	t.number(waiting, f.waiting)
	t.number(running, f.running)
	t.number(under, f.restores)
	t.time(written, f.written)
}

type teller struct{ to chan<- prometheus.Metric }

func (t teller) value(d *prometheus.Desc, v float64, labels ...string) {
	t.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (t teller) number(d *prometheus.Desc, n int, labels ...string) {
	t.value(d, float64(n), labels...)
}

func (t teller) yes(d *prometheus.Desc, is bool, labels ...string) {
	n := 0
	if is {
		n = 1
	}
	t.number(d, n, labels...)
}

// time tells a time, unless there is none.
func (t teller) time(d *prometheus.Desc, at time.Time, labels ...string) {
	if !at.IsZero() {
		t.value(d, seconds(at), labels...)
	}
}

func (t teller) instance(namespace string, i *instance, catalog bool) {
	t.time(since, i.since, namespace)
	if b := i.newest; b != nil {
		t.time(point, b.Status.CutTime.Time, namespace)
		if at := b.Status.CompletionTime; at != nil {
			t.time(success, at.Time, namespace)
		}
		if n := b.Status.DataBytes; n != nil {
			t.value(size, float64(*n), namespace)
		}
		if n := restoreBytes(b); n > 0 {
			t.value(space, float64(n), namespace)
		}
		if n := b.Status.StallMilliseconds; n != nil {
			t.value(hold, float64(*n)/1000, namespace)
		}
		if at := b.Status.LockedUntil; at != nil {
			t.time(locked, at.Time, namespace)
		}
	}
	if b := i.copied; b != nil {
		size, sent := b.FileBytes()
		t.time(copied, i.copiedAt(), namespace)
		t.value(fileSize, float64(size), namespace)
		t.value(fileSent, float64(sent), namespace)
	}
	for why, n := range i.copyFailed {
		t.number(uncopying, n, namespace, why)
	}
	for why, n := range i.failed {
		t.number(inARow, n, namespace, why)
	}
	if !i.proof.IsZero() {
		t.time(verified, i.proof, namespace)
		t.value(recovery, i.recovery.Seconds(), namespace)
	}
	if !i.drilled.IsZero() {
		t.yes(disprove, i.drillFailed, namespace)
	}
	if i.backups {
		if catalog {
			t.number(missing, i.missing, namespace)
		}
		t.number(copying, i.uncopied, namespace)
	}
	t.time(behind, i.uncopiedSince, namespace)
}

func (t teller) schedule(s *api.BackupSchedule) {
	if s.DeletionTimestamp != nil {
		return
	}
	at := func(d *prometheus.Desc, at *metav1.Time) {
		if at != nil {
			t.time(d, at.Time, s.Namespace, s.Name)
		}
	}
	at(next, s.Status.Backups.NextTime)
	at(newest, s.Status.LastSuccessfulTime)
	t.value(miss, float64(s.Status.MissedRuns), s.Namespace, s.Name)
	t.yes(stand, meta.IsStatusConditionTrue(s.Status.Conditions, api.ConditionReady), s.Namespace, s.Name)
	t.yes(suspend, s.Spec.Suspend, s.Namespace, s.Name)
}
