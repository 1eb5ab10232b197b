package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	conflicts "k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/verify"
	"github.com/medic/cht-backup/snapshot/reason"
	"github.com/medic/cht-backup/snapshot/status"
)

// verifying compares what CouchDB has now with the record, and tells on the
// Backup what came out. A controller that starts anew begins it anew: nothing is
// kept but the evidence.
func (r *Reconciler) verifying(ctx context.Context, w *work) error {
	restore := w.restore
	c, err := r.connect(ctx, w)
	if err != nil {
		return err
	}
	plan, err := c.plan(ctx, w.record)
	if err != nil {
		return err
	}
	v, err := r.verification(ctx, w, c, plan.Maps).Run(ctx)
	v.Problems = append(v.Problems, plan.Missing...) // the maps are written: it was there before
	if err == nil {
		err = verify.Judge(&v, 0)
	}
	restore.Status.Verification = &v
	if saved := r.recordVerified(ctx, w, v, err); saved != nil && err == nil {
		return saved
	}
	return err
}

// rate says how far a verification is.
func rate(p *api.VerificationProgress) string {
	if p == nil || p.Total == 0 {
		return ""
	}
	if p.DocumentsPerSecond == 0 {
		return fmt.Sprintf(": %d of %d documents", p.Done, p.Total)
	}
	return fmt.Sprintf(": %d of %d documents, %d a second, some %d s left", p.Done, p.Total, p.DocumentsPerSecond, p.SecondsLeft)
}

// levelMark tells, in the message of a failure, which level found it.
func levelMark(level api.VerificationLevel) string { return fmt.Sprintf(" (%s)", level) }

// failedLevel is the level at which a Backup was found wrong, "" where it was not.
func failedLevel(b api.Backup) api.VerificationLevel {
	c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionVerified)
	if c == nil || c.Status != metav1.ConditionFalse {
		return ""
	}
	head, _, _ := strings.Cut(c.Message, ": ")
	for _, level := range levels {
		if strings.HasSuffix(head, levelMark(level)) {
			return level
		}
	}
	return ""
}

// levels from the least to the most.
var levels = []api.VerificationLevel{api.VerifyQuick, api.VerifySample, api.VerifyFull}

// recordVerified tells on the Backup what a verification found. A lesser proof
// does not take the place of a better one, nor of what a better one found wrong; a
// failure always shows. A Backup that is gone, or another under its name, is left
// alone.
func (r *Reconciler) recordVerified(ctx context.Context, w *work, v api.Verification, found error) error {
	if e := reason.Of(found); found != nil && (e == nil || !disproves(e.Reason, &v)) {
		return nil // no verdict: CouchDB was away, or it was aborted
	}
	named := w.restore
	if parent, err := r.parent(ctx, w.restore); err != nil {
		return err
	} else if parent != nil {
		named = parent // the scratch restore will be gone
	}
	name := named.Namespace + "/" + named.Name
	err := conflicts.RetryOnConflict(conflicts.DefaultRetry, func() error {
		var b api.Backup
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: w.record.Namespace, Name: w.record.Name}, &b); err != nil {
			return client.IgnoreNotFound(err)
		}
		if b.UID != w.record.UID {
			return nil
		}
		if slices.Index(levels, v.Level) < slices.Index(levels, failedLevel(b)) {
			return nil // it did not look where that one found something
		}
		base := b.DeepCopy()
		condition := metav1.Condition{Type: api.ConditionVerified, Status: metav1.ConditionTrue, Reason: api.ReasonCompleted, ObservedGeneration: b.Generation,
			Message: fmt.Sprintf("restore %s verified it (%s): %d databases, %d documents", name, v.Level, v.Databases, v.Documents)}
		if found != nil {
			condition.Status, condition.Reason = metav1.ConditionFalse, reason.Of(found).Reason
			condition.Message = status.Clip(fmt.Sprintf("restore %s%s: %s", name, levelMark(v.Level), found))
		} else if old := b.Status.Verified; old == nil || slices.Index(levels, v.Level) >= slices.Index(levels, old.Level) {
			b.Status.Verified = &api.VerifiedBy{Level: v.Level, Time: r.verifiedAt(v), Restore: name, RestoreMilliseconds: r.recovery(w.restore.Status.StartTime, v),
				Databases: v.Databases, Shards: v.Shards, Documents: v.Documents, Sampled: v.Sampled, Streamed: v.Streamed, Attachments: v.Attachments, Views: v.Views}
		}
		meta.SetStatusCondition(&b.Status.Conditions, condition)
		return r.Client.Status().Patch(ctx, &b, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	})
	if err != nil && !apierrors.IsNotFound(err) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("tell on backup %s/%s what the verification found: %w", w.record.Namespace, w.record.Name, err)
	}
	return nil
}

// verifiedAt is when a verification ended.
func (r *Reconciler) verifiedAt(v api.Verification) metav1.MicroTime {
	if v.CompletionTime != nil {
		return *v.CompletionTime
	}
	return metav1.NewMicroTime(r.Now())
}

// recovery is the time from a restore's begin to the end of its verification, in
// milliseconds.
func (r *Reconciler) recovery(start *metav1.MicroTime, v api.Verification) int64 {
	if start == nil {
		return 0
	}
	return r.verifiedAt(v).Sub(start.Time).Milliseconds()
}

// disproves tells whether a restore that failed for that reason says something of
// the backup: what was read of it is not what was recorded, and would not be
// anywhere else. All else (no room, a pod that does not start, CouchDB that does
// not answer) may be the place's fault.
func disproves(why string, v *api.Verification) bool {
	switch why {
	case api.ReasonVerificationFailed, api.ReasonShardsMissing, api.ReasonRepositoryDamaged:
		return true
	case api.ReasonPrepareFailed: // found a volume without data, or could not work
		return v != nil && len(v.Problems) > 0
	}
	return false
}
