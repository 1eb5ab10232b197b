package metrics

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// instance is what the objects of one namespace say of its backups.
type instance struct {
	// since is when the first of its schedules and Backups was made that are there.
	since time.Time
	// newest good backup; nil for none.
	newest *api.Backup
	// failed backups that ended after it, by reason.
	failed map[string]int
	// copied is the newest good backup whose files are all in the repository; nil for none.
	copied *api.Backup
	// copyFailed are good backups after it whose files were to be copied, by reason.
	copyFailed map[string]int
	// proof is when a backup that is there was last proven, and recovery how long that
	// restore took.
	proof    time.Time
	recovery time.Duration
	// drilled is when the latest drill with an outcome ended; drillFailed is whether it
	// was not good.
	drilled     time.Time
	drillFailed bool
	// missing are good backups whose record is not in the catalog.
	missing int
	// uncopied are backups whose copies are not all complete, uncopiedSince is when the
	// first of them was completed.
	uncopied      int
	uncopiedSince time.Time
	backups       bool
}

// fleet is what all objects say.
type fleet struct {
	instances map[string]*instance
	// waiting and running backups, restores and drills that run.
	waiting, running, restores int
	// written is when a record was last written to the catalog.
	written time.Time
}

func (f *fleet) of(namespace string) *instance {
	i := f.instances[namespace]
	if i == nil {
		i = &instance{failed: map[string]int{}, copyFailed: map[string]int{}}
		f.instances[namespace] = i
	}
	return i
}

// survey reads all objects. wants tells whether the record of a completed backup is
// not in the catalog; nil where there is no catalog.
func survey(backups []api.Backup, restores []api.Restore, schedules []api.BackupSchedule, wants func(*api.Backup) bool) fleet {
	f := fleet{instances: map[string]*instance{}}
	for s := range schedules {
		i := f.of(schedules[s].Namespace)
		first(&i.since, schedules[s].CreationTimestamp.Time)
	}
	proven := map[types.UID]*instance{}
	for b := range backups {
		b := &backups[b]
		if b.IsImported() {
			continue
		}
		f.backup(b, wants)
		if b.Proven() {
			i := f.of(b.Namespace)
			proven[b.UID] = i
			i.provenBy(b.Status.Verified.Time.Time, b.Status.Verified.RestoreMilliseconds)
		}
	}
	for b := range backups { // now that the newest good ones are known
		b := &backups[b]
		if b.IsImported() {
			continue
		}
		i := f.of(b.Namespace)
		if c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionFileCopied); c != nil && c.Status == metav1.ConditionFalse && b.Supersedes(i.copied) {
			i.copyFailed[bounded(c.Reason)]++
		}
		if b.Status.Phase != api.PhaseFailed || b.Status.CompletionTime == nil {
			continue
		}
		if i.newest == nil || i.newest.Status.CompletionTime.Before(b.Status.CompletionTime) {
			i.failed[bounded(readyReason(b.Status.Conditions))]++
		}
	}
	for r := range restores {
		f.restore(&restores[r], proven)
	}
	return f
}

func (f *fleet) backup(b *api.Backup, wants func(*api.Backup) bool) {
	i := f.of(b.Namespace)
	i.backups = true
	first(&i.since, b.CreationTimestamp.Time)
	if c := b.Status.Catalog; c != nil && c.Time != nil {
		last(&f.written, c.Time.Time)
	}
	if b.DeletionTimestamp != nil {
		return
	}
	switch b.Status.Phase {
	case "", api.PhasePending:
		f.waiting++
		return
	case api.PhaseCompleted:
	case api.PhaseFailed:
		return
	default:
		f.running++
		return
	}
	if b.Supersedes(i.newest) {
		i.newest = b
	}
	if b.HasFiles() && b.Supersedes(i.copied) {
		i.copied = b
	}
	if wants != nil && wants(b) {
		i.missing++
	}
	if e := b.Spec.EBS; e != nil && len(e.Copies) > 0 && !meta.IsStatusConditionTrue(b.Status.Conditions, api.ConditionCopied) {
		i.uncopied++
		if at := b.Status.CompletionTime; at != nil {
			first(&i.uncopiedSince, at.Time)
		}
	}
}

func (f *fleet) restore(r *api.Restore, proven map[types.UID]*instance) {
	if _, scratch := r.Annotations[api.ScratchForAnnotation]; scratch {
		return // a part of another one
	}
	switch r.Status.Phase {
	case api.PhaseCompleted, api.PhaseFailed:
	case api.PhaseExpired, api.PhasePlanned:
		return
	default:
		f.restores++
		return
	}
	if r.Spec.Drill == nil || r.Status.CompletionTime == nil {
		return
	}
	result, at := DrillResult(r), r.Status.CompletionTime.Time
	if result == Aborted || result == Refused {
		return
	}
	if i := f.of(r.Namespace); !at.Before(i.drilled) {
		i.drilled, i.drillFailed = at, result != Verified
	}
	// A backup that was proven better before does not name this drill.
	if of := proven[r.Status.BackupUID]; of != nil && result == Verified && r.Status.Drill != nil {
		of.provenBy(at, r.Status.Drill.RestoreMilliseconds)
	}
}

// copiedAt is the cut of the newest backup whose files are copied; zero for none.
func (i *instance) copiedAt() time.Time {
	if i.copied == nil {
		return time.Time{}
	}
	return i.copied.Status.CutTime.Time
}

func (i *instance) provenBy(at time.Time, milliseconds int64) {
	if !at.Before(i.proof) {
		i.proof, i.recovery = at, time.Duration(milliseconds)*time.Millisecond
	}
}

// restoreBytes is what the volumes made from a backup need at least.
func restoreBytes(b *api.Backup) (n int64) {
	for _, v := range b.Status.Volumes {
		if v.RestoreSize != nil {
			n += v.RestoreSize.Value()
		}
	}
	return n
}

// first and last keep the earlier and the later of two times, zero being none.
func first(kept *time.Time, at time.Time) {
	if kept.IsZero() || at.Before(*kept) {
		*kept = at
	}
}

func last(kept *time.Time, at time.Time) {
	if at.After(*kept) {
		*kept = at
	}
}
