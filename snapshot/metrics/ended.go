package metrics

import (
	"runtime"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Results of backups, restores and drills.
const (
	Completed = "completed"
	Failed    = "failed"
	// Aborted by somebody.
	Aborted = "aborted"
	// Verified: a drill's backup was restored and is what was recorded.
	Verified = "verified"
	// Disproved: it was restored and is not.
	Disproved = "disproved"
	// Inconclusive: it could not be restored to where it can be judged.
	Inconclusive = "inconclusive"
	// Refused, since another drill of the instance was under way.
	Refused = "refused"
)

var (
	backups = counter("cht_backup_backups_total", "Backups that have ended, by result: completed or failed.", resultLabel)
	failed  = counter("cht_backup_failures_total", "Backups that have failed, by the reason of their condition Ready.", reasonLabel)
	retried = counter("cht_backup_retries_total", "Attempts of backups that failed and were followed by another one, by reason.", reasonLabel)
	stall   = histogram("cht_backup_stall_seconds", "How long writes were held back by a cut, from the first quiesce call to the last release; of failed attempts too.",
		[]float64{0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60})
	duration = histogram("cht_backup_duration_seconds", "Time to a safe copy: from the begin of the work on a backup until all its snapshots can be restored from. Time in line is not in it.",
		[]float64{5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800})
	held = gauge("cht_backup_held_since_timestamp_seconds", "Since when writes of the instance are held, in seconds since the epoch. None while they are not.", namespaceLabel)

	restores = counter("cht_backup_restores_total", "Restores that have ended, drills left out, by result: completed, failed or aborted.", resultLabel)
	restored = histogram("cht_backup_restore_duration_seconds", "How long completed restores took, from the begin of the work to their end; drills left out.",
		[]float64{10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400})
	drills = counter("cht_backup_drills_total", "Drills that have ended, by result: verified, disproved, inconclusive, aborted or refused.", resultLabel)

	sent = counter("cht_backup_file_sent_bytes_total", "What completed backups have sent to the catalog's repository of files, compressed and sealed.")

	build = gauge("cht_backup_build_info", "Always 1; the labels tell the version of the controller and of Go.", "version", "goversion")
)

// BuiltAs tells which version runs.
func BuiltAs(version string) { build.WithLabelValues(version, runtime.Version()).Set(1) }

// BackupEnded counts a backup that has just become Completed or Failed.
func BackupEnded(b *api.Backup) {
	seen(b.Namespace)
	done, not := backups.WithLabelValues(b.Namespace, Completed), backups.WithLabelValues(b.Namespace, Failed)
	if b.Status.Phase != api.PhaseCompleted {
		not.Inc()
		failed.WithLabelValues(b.Namespace, bounded(readyReason(b.Status.Conditions))).Inc()
		return
	}
	done.Inc()
	if _, n := b.FileBytes(); n > 0 {
		sent.WithLabelValues(b.Namespace).Add(float64(n))
	}
	if d, known := took(b.Status.StartTime, b.Status.CompletionTime); known {
		duration.Observe(d.Seconds())
	}
}

// AttemptFailed counts an attempt that is followed by another one.
func AttemptFailed(b *api.Backup, why string) {
	seen(b.Namespace)
	retried.WithLabelValues(b.Namespace, bounded(why)).Inc()
}

// Holding notes that writes of an instance are about to be held. released must be
// called when they are not; it may be called twice.
func Holding(namespace string, now time.Time) (released func()) {
	seen(namespace)
	held.WithLabelValues(namespace).Set(seconds(now))
	return sync.OnceFunc(func() { held.DeleteLabelValues(namespace) })
}

// Stalled notes how long a cut held writes back.
func Stalled(d time.Duration) { stall.Observe(d.Seconds()) }

// RestoreEnded counts a restore or drill that has just become Completed or Failed. The
// restore in a scratch namespace is a part of another one and not counted: such
// namespaces come and go.
func RestoreEnded(r *api.Restore) {
	if _, scratch := r.Annotations[api.ScratchForAnnotation]; scratch {
		return
	}
	seen(r.Namespace)
	if r.Spec.Drill != nil {
		drills.WithLabelValues(r.Namespace, DrillResult(r)).Inc()
		return
	}
	switch {
	case r.Status.Phase == api.PhaseCompleted:
		restores.WithLabelValues(r.Namespace, Completed).Inc()
		if d, known := took(r.Status.StartTime, r.Status.CompletionTime); known {
			restored.Observe(d.Seconds())
		}
	case readyReason(r.Status.Conditions) == api.ReasonAborted:
		restores.WithLabelValues(r.Namespace, Aborted).Inc()
	default:
		restores.WithLabelValues(r.Namespace, Failed).Inc()
	}
}

// DrillResult says what came of a drill that has ended.
func DrillResult(r *api.Restore) string {
	if r.Status.Phase == api.PhaseCompleted {
		return Verified
	}
	switch readyReason(r.Status.Conditions) {
	case api.ReasonVerificationFailed, api.ReasonShardsMissing, api.ReasonRepositoryDamaged, api.ReasonPrepareFailed: // of a drill, the last only where a volume has no data
		return Disproved
	case api.ReasonAborted:
		return Aborted
	case api.ReasonConcurrentOperation:
		return Refused
	}
	return Inconclusive
}

func readyReason(conditions []metav1.Condition) string {
	if c := meta.FindStatusCondition(conditions, api.ConditionReady); c != nil {
		return c.Reason
	}
	return ""
}

func took(from, to *metav1.MicroTime) (d time.Duration, known bool) {
	if from == nil || to == nil || to.Time.Before(from.Time) {
		return 0, false
	}
	return to.Sub(from.Time), true
}

// seconds since the epoch, as Prometheus has them.
func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }
