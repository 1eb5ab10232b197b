package restore

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
	"github.com/medic/cht-backup/snapshot/status"
)

// failed decides what an error of a step means. A turn that ended is none, until
// the step has used up its time. Anything with a reason ends the restore; the
// rest is the API server's trouble and is tried again.
func (r *Reconciler) failed(ctx context.Context, restore *api.Restore, err error) error {
	e := reason.Of(err)
	var wait notYet
	if e == nil || errors.As(err, &wait) {
		if r.spent(restore) < limit(restore) {
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.As(err, &wait) {
				r.progress(restore, err.Error())
				return nil
			}
			return err
		}
		e = &reason.Error{Reason: api.ReasonStartTimeout}
		err = fmt.Errorf("step %s was not done within %s: %w", restore.Status.Phase, limit(restore), err)
	}
	switch phase := restore.Status.Phase; {
	case phase == api.PhasePending || phase == api.PhasePlanned:
	case phase == api.PhaseRollingBack: // tried until it is done: a half is the one thing that must not be
		r.progress(restore, err.Error())
		if errors.Is(err, context.DeadlineExceeded) {
			return nil // a turn that ended; it was waited for
		}
		return err
	case phase == api.PhaseExpiring || phase == api.PhaseTearingDown: // likewise: protected data must not stay, unseen
		r.progress(restore, err.Error())
		return err
	case touched(restore):
		restore.Status.PendingReason, restore.Status.PendingMessage = e.Reason, status.Clip(err.Error())
		r.enter(restore, api.PhaseRollingBack, "returning to what was before, since: "+err.Error())
		return nil
	case restore.Spec.Drill != nil:
		restore.Status.PendingReason, restore.Status.PendingMessage = e.Reason, status.Clip(err.Error())
		r.enter(restore, api.PhaseTearingDown, "removing the scratch namespace, since: "+err.Error())
		return nil
	case restore.Spec.InPlace != nil || restore.Spec.Database != nil || e.Reason == api.ReasonAborted || phase == api.PhaseVolumes || phase == api.PhaseObjects:
		if undoErr := r.undo(ctx, restore); undoErr != nil {
			return errors.Join(err, undoErr) // tried again, until nothing half done is left
		}
	default:
		if stopErr := r.stop(ctx, restore, e.Reason == api.ReasonForeignMember); stopErr != nil {
			return errors.Join(err, stopErr)
		}
	}
	r.end(restore, api.PhaseFailed)
	r.conclude(restore, false, e.Reason, err.Error())
	return nil
}

// stop holds what a failed restore leaves for a look: all workloads at 0 but
// CouchDB, and that too when it was about to join another cluster.
func (r *Reconciler) stop(ctx context.Context, restore *api.Restore, couchDBToo bool) error {
	if err := r.dropProbes(ctx, restore); err != nil {
		return err
	}
	for _, kind := range cht.ObjectKinds {
		if kind.Group != "apps" {
			continue
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		if err := r.Client.List(ctx, list, client.InNamespace(restore.Namespace), client.MatchingLabels(labels(restore, ""))); err != nil {
			return fmt.Errorf("list %s to stop: %w", kind.Kind, err)
		}
		var workloads []*unstructured.Unstructured
		for i := range list.Items {
			workloads = append(workloads, &list.Items[i])
		}
		if err := r.scale(ctx, workloads, func(c string) bool { return couchDBToo || !cht.IsCouchDB(c) }, false); err != nil {
			return err
		}
	}
	return nil
}
