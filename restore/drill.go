package restore

import (
	"context"
	"fmt"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/paged"
	"github.com/medic/cht-backup/snapshot/reason"
)

// A drill proves a backup by restoring it: the scratch restore brings its CouchDB up
// and verifies it, which is the proof. The drill waits for it, takes the evidence
// over, and removes the scratch namespace, whatever came of it.

// later is a wait that holds no worker meanwhile: what is waited for brings the
// restore back, or the end of the pause does.
type later struct {
	notYet
	pause time.Duration
}

func (l later) Unwrap() error { return l.notYet }

// ofScratch names the restore that a scratch restore brings back when it changes.
func ofScratch(_ context.Context, o client.Object) []reconcile.Request {
	if parent, ok := parentOf(o); ok {
		return []reconcile.Request{{NamespacedName: parent}}
	}
	return nil
}

// preflightDrill refuses unless the scratch namespace can be filled. The instance
// itself is not looked at: a drill needs nothing of it.
func (r *Reconciler) preflightDrill(ctx context.Context, w *work) error {
	w.restore.Status.Drill = &api.DrillStatus{Scratch: scratchName(w.restore)}
	return r.scratchFits(ctx, w)
}

// drilling makes the scratch restore and takes over what it finds.
func (r *Reconciler) drilling(ctx context.Context, w *work) error {
	restore, drill := w.restore, w.restore.Status.Drill
	r.placeTaken(restore)
	var child api.Restore
	if drill.ScratchUID == "" {
		if _, err := r.makeScratch(ctx, w); err != nil {
			return err
		}
	}
	name := client.ObjectKey{Namespace: scratchName(restore), Name: scratchChild}
	err := r.Client.Get(ctx, name, &child)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get restore %s: %w", name, err)
	}
	if err != nil || child.DeletionTimestamp != nil || drill.ScratchUID != "" && drill.ScratchUID != child.UID {
		return reason.Refuse(api.ReasonDrillFailed, "restore %s, which proves the backup, was deleted by somebody; nothing is known of the backup. Drill again", name)
	}
	drill.ScratchUID, restore.Status.Verification = child.UID, child.Status.Verification
	why, message := readyReason(&child)
	switch {
	case child.Status.Phase == api.PhaseCompleted:
		if v := child.Status.Verification; v != nil {
			drill.RestoreMilliseconds = r.recovery(child.Status.StartTime, *v)
		}
		return nil
	case snapshot.Ended(child.Status.Phase) || child.Status.Phase == api.PhaseExpiring:
		return unproven(why, message, &child)
	}
	return later{notYet{fmt.Errorf("waiting for the restore in namespace %s (%s: %s)", child.Namespace, orPending(child.Status.Phase), message)}, turn}
}

func readyReason(restore *api.Restore) (why, message string) {
	if c := meta.FindStatusCondition(restore.Status.Conditions, api.ConditionReady); c != nil {
		return c.Reason, c.Message
	}
	return api.ReasonProgressing, "not taken up yet"
}

// unproven says what the failure of a scratch restore means for its backup. Only
// what was read of the backup speaks against it; all else leaves the question open.
func unproven(why, message string, child *api.Restore) error {
	switch {
	case disproves(why, child.Status.Verification):
		return reason.Refuse(why, "%s", message)
	case why == api.ReasonAborted:
		return reason.Refuse(why, "the restore in namespace %s was aborted: %s", child.Namespace, message)
	}
	return reason.Refuse(api.ReasonDrillFailed, "the backup could be neither proven nor disproven, since it could not be brought up in namespace %s (%s): %s", child.Namespace, why, message)
}

// tearDown removes what a drill made, or leaves it for a look where that was asked
// for, and ends the drill. It is tried until it is done.
func (r *Reconciler) tearDown(ctx context.Context, restore *api.Restore) error {
	r.placeTaken(restore)
	until, err := r.keepScratch(ctx, restore)
	if err != nil {
		return err
	}
	if until == nil {
		if err := r.dropDrill(ctx, restore); err != nil {
			return err
		}
		if left, err := r.scratchLeft(ctx, scratchName(restore)); err != nil {
			return err
		} else if left != "" {
			return r.waitingFor(restore, "the end of "+left)
		}
	}
	why, message := restore.Status.PendingReason, restore.Status.PendingMessage
	restore.Status.PendingReason, restore.Status.PendingMessage = "", ""
	if why == "" {
		r.end(restore, api.PhaseCompleted)
		r.conclude(restore, true, api.ReasonCompleted, drillSummary(restore))
		return nil
	}
	if until != nil {
		if restore.Status.Drill != nil {
			restore.Status.Drill.KeptUntil = until
		}
		message = fmt.Sprintf("namespace %s is kept until %s: %s", scratchName(restore), until.UTC().Format(time.RFC3339), message)
	}
	r.end(restore, api.PhaseFailed)
	r.conclude(restore, false, why, message)
	return nil
}

// dropDrill removes the scratch namespace, without waiting: a worker that waited
// for the scratch restore's end would be missing to bring it about.
func (r *Reconciler) dropDrill(ctx context.Context, restore *api.Restore) error {
	waitingFor, err := r.endScratch(ctx, restore)
	if err != nil || waitingFor == "" {
		return err
	}
	return r.waitingFor(restore, waitingFor)
}

// waitingFor looks again soon, and less and less often.
func (r *Reconciler) waitingFor(restore *api.Restore, what string) error {
	return later{notYet{fmt.Errorf("waiting for %s", what)}, min(max(r.spent(restore)/10, time.Second), longestPause)}
}

// keepScratch leaves the scratch namespace of a drill that failed for a look, if that
// was asked for, and gives the time until when: the scratch restore's own time to live
// ends it. What somebody aborted is not kept, nor what has not come to its end.
func (r *Reconciler) keepScratch(ctx context.Context, restore *api.Restore) (*metav1.Time, error) {
	keep := restore.Spec.Drill.KeepFailed
	if keep == nil || restore.Spec.Abort || restore.Status.PendingReason == "" || restore.Status.PendingReason == api.ReasonAborted {
		return nil, nil
	}
	var child api.Restore
	name := client.ObjectKey{Namespace: scratchName(restore), Name: scratchChild}
	if err := r.Client.Get(ctx, name, &child); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("get restore %s: %w", name, err)
	}
	if child.Labels[api.RestoreUIDLabel] != string(restore.UID) || child.DeletionTimestamp != nil || child.Status.Phase != api.PhaseFailed {
		return nil, nil
	}
	base := child.DeepCopy()
	child.Spec.TimeToLive = keep
	setExpiration(&child)
	until := child.Status.ExpirationTime
	if until == nil || !until.After(r.Now()) {
		return nil, nil
	}
	child.Status = base.Status // that is written by its own reconcile
	if err := r.Client.Patch(ctx, &child, client.MergeFrom(base)); err != nil {
		return nil, fmt.Errorf("limit the time of restore %s: %w", name, err)
	}
	return until, nil
}

// scratchLeft names something of a scratch namespace that is there yet; "" when all
// is gone. Volumes and imported snapshots are found by the namespace that they name,
// since nobody is left who knows more of them.
func (r *Reconciler) scratchLeft(ctx context.Context, namespace string) (left string, err error) {
	err = r.Client.Get(ctx, client.ObjectKey{Name: namespace}, &corev1.Namespace{})
	if err == nil {
		return "namespace " + namespace, nil
	} else if !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("get namespace %s: %w", namespace, err)
	}
	var mine []corev1.PersistentVolume
	for volumes, err := range paged.Pages(ctx, r.Client, &corev1.PersistentVolumeList{}) {
		if err != nil {
			return "", fmt.Errorf("list volumes: %w", err)
		}
		for _, v := range volumes.Items {
			if ref := v.Spec.ClaimRef; ref != nil && ref.Namespace == namespace {
				mine = append(mine, v)
			}
		}
	}
	for _, v := range mine {
		left = fmt.Sprintf("volume %s, which its driver deletes (it is %s; see `kubectl describe pv %s`)", v.Name, v.Status.Phase, v.Name)
		if v.Status.Phase == corev1.VolumeReleased { // by a class that retains, made just as its claim went
			if err := r.deleteWithClaim(ctx, v.Name); err != nil {
				return "", err
			}
		}
	}
	for contents, err := range paged.Pages(ctx, r.Client, &snapv1.VolumeSnapshotContentList{}) {
		if err != nil {
			return "", fmt.Errorf("list VolumeSnapshotContents: %w", err)
		}
		for _, c := range contents.Items {
			if c.Spec.VolumeSnapshotRef.Namespace == namespace {
				left = "the imported VolumeSnapshotContent " + c.Name
			}
		}
	}
	return left, nil
}
