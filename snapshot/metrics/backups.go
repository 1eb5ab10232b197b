package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Results of a backup.
const (
	Completed = "completed"
	Failed    = "failed"
)

var (
	backups = registered(prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cht_backup_backups_total", Help: "Backups that have ended, by result: completed or failed."},
		[]string{namespaceLabel, resultLabel}))
	// It has no namespace: ten buckets for each of hundreds of instances would be more
	// than all else together, and every Backup tells its own stall.
	stall = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "cht_backup_stall_seconds", Help: "How long writes were held back by a cut, from the first quiesce call to the last release; of failed attempts too.",
		Buckets: []float64{0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60}})
)

func init() { metrics.Registry.MustRegister(stall) }

// BackupEnded counts a backup that is Completed or Failed.
func BackupEnded(b *api.Backup) {
	seen(b.Namespace)
	result := Failed
	if b.Status.Phase == api.PhaseCompleted {
		result = Completed
	}
	backups.WithLabelValues(b.Namespace, result).Inc()
}

// Stalled notes how long a cut held writes back.
func Stalled(d time.Duration) { stall.Observe(d.Seconds()) }
