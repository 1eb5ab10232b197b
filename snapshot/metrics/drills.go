package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Results of a drill.
const (
	// Verified: the backup was restored and is what was recorded.
	Verified = "verified"
	// Disproved: it was restored and is not.
	Disproved = "disproved"
	// Inconclusive: it could not be restored to where it can be judged.
	Inconclusive = "inconclusive"
	// Aborted by somebody.
	Aborted = "aborted"
	// Refused, since another drill of the instance was under way.
	Refused = "refused"
)

var (
	drills = registered(prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cht_backup_drills_total", Help: "Drills that have ended, by result: verified, disproved, inconclusive, aborted or refused."},
		[]string{namespaceLabel, resultLabel}))
	recovery = gauge("cht_backup_drill_recovery_seconds", "Time to recovery as the latest good drill measured it: restored and verified.")
	success  = gauge("cht_backup_drill_last_success_timestamp_seconds", "When the latest good drill ended, in seconds since the epoch.")
	failing  = gauge("cht_backup_drill_failed", "1 while the latest drill with an outcome disproved its backup or could not judge it, else 0.")
)

func gauge(name, help string) *prometheus.GaugeVec {
	return registered(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{namespaceLabel}))
}

// DrillResult says what came of a drill that has ended.
func DrillResult(r *api.Restore) string {
	if r.Status.Phase == api.PhaseCompleted {
		return Verified
	}
	why := ""
	if c := meta.FindStatusCondition(r.Status.Conditions, api.ConditionReady); c != nil {
		why = c.Reason
	}
	switch why {
	case api.ReasonVerificationFailed, api.ReasonShardsMissing, api.ReasonPrepareFailed: // of a drill, the last only where a volume has no data
		return Disproved
	case api.ReasonAborted:
		return Aborted
	case api.ReasonConcurrentOperation:
		return Refused
	}
	return Inconclusive
}

// DrillEnded counts a drill that has just ended, and sees it.
func DrillEnded(r *api.Restore) {
	seen(r.Namespace)
	drills.WithLabelValues(r.Namespace, DrillResult(r)).Inc()
	DrillSeen(r)
}

// latest are the ends of the latest drills of each namespace: they are seen in any
// order when the controller starts.
var latest = struct {
	sync.Mutex
	outcome, good map[string]time.Time
}{outcome: map[string]time.Time{}, good: map[string]time.Time{}}

// DrillSeen sets the gauges by a drill that has ended, whenever that was.
func DrillSeen(r *api.Restore) {
	result, at := DrillResult(r), r.Status.CompletionTime
	if at == nil || result == Aborted || result == Refused {
		return
	}
	seen(r.Namespace)
	latest.Lock()
	defer latest.Unlock()
	if !at.Time.Before(latest.outcome[r.Namespace]) {
		latest.outcome[r.Namespace] = at.Time
		value := 0.0
		if result != Verified {
			value = 1
		}
		failing.WithLabelValues(r.Namespace).Set(value)
	}
	if result == Verified && !at.Time.Before(latest.good[r.Namespace]) {
		latest.good[r.Namespace] = at.Time
		success.WithLabelValues(r.Namespace).Set(float64(at.UnixMilli()) / 1000)
		if d := r.Status.Drill; d != nil {
			recovery.WithLabelValues(r.Namespace).Set(float64(d.RestoreMilliseconds) / 1000)
		}
	}
}

func forgetDrills(namespace string) {
	latest.Lock()
	defer latest.Unlock()
	delete(latest.outcome, namespace)
	delete(latest.good, namespace)
}
