package restore

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/metrics"
	"github.com/medic/cht-backup/snapshot/status"
)

// What a drill says before it begins, and at its end.

// drillSummary tells what was proven, and how long a recovery takes.
func drillSummary(restore *api.Restore) string {
	v, drill := restore.Status.Verification, restore.Status.Drill
	if v == nil || drill == nil {
		return "done"
	}
	return fmt.Sprintf("proven (%s): %d databases, %d shards, %d documents; restored and verified in %s, and nothing is left of it",
		v.Level, v.Databases, v.Shards, v.Documents, (time.Duration(drill.RestoreMilliseconds) * time.Millisecond).Round(100*time.Millisecond))
}

// tellBackup raises an event about the Backup of a drill that failed. One that was
// aborted, or that another drill stood in the way of, has nothing to say of it.
func (r *Reconciler) tellBackup(ctx context.Context, restore *api.Restore) {
	if restore.Spec.Drill == nil {
		return
	}
	if result := metrics.DrillResult(restore); result != metrics.Disproved && result != metrics.Inconclusive {
		return
	}
	var b api.Backup
	source := restore.Spec.Source
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: source.Namespace, Name: source.Name}, &b); err != nil {
		if client.IgnoreNotFound(err) != nil {
			log.FromContext(ctx).Error(err, "the event about the backup could not be raised")
		}
		return
	}
	if restore.Status.BackupUID != "" && restore.Status.BackupUID != b.UID {
		return // another one of that name
	}
	why, message := readyReason(restore)
	status.Event(r.Events, &b, corev1.EventTypeWarning, why, fmt.Sprintf("drill %s/%s: %s", restore.Namespace, restore.Name, message))
}

func planDrilling(w *work) []string {
	lines := append([]string{fmt.Sprintf("create namespace %s, and in it CouchDB alone from the backup, closed in", scratchName(w.restore))}, planScratchClaims(w)...)
	return append(lines, fmt.Sprintf("verification %s of some %d databases against the record; tell on Backup %s/%s what came out", w.restore.Spec.Verify, len(w.record.Before.ShardMaps), w.record.Namespace, w.record.Name))
}

func planTearingDown(w *work) []string {
	lines := []string{fmt.Sprintf("delete namespace %s with its volumes, whatever came out, and wait until they are gone", scratchName(w.restore))}
	if keep := w.restore.Spec.Drill.KeepFailed; keep != nil {
		lines = append(lines, fmt.Sprintf("of a drill that failed, keep it for %s instead", keep.Duration))
	}
	return lines
}
