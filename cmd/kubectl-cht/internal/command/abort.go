package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
)

func abortCommand(env *Env) *cobra.Command {
	w := &waiting{}
	cmd := &cobra.Command{
		Use:   "abort NAME [-n NAMESPACE]",
		Short: "Undo a restore that is under way",
		Long: `Undo a restore that is under way, and show how it goes. In place the instance
returns to the volumes, templates and replicas of before, a database that was being
replaced is the former again; elsewhere what was made is removed. It cannot be taken
back.

Exit code 0 says that the restore was undone.

` + exit.Help,
		Example: `  kubectl cht restore abort restore-20260301-120000 -n medic`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.abort(cmd.Context(), args[0], w)
		},
	}
	w.add(cmd.Flags(), 2*time.Hour, "")
	return cmd
}

func (e *Env) abort(ctx context.Context, name string, w *waiting) error {
	if err := w.check(); err != nil {
		return err
	}
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	key := client.ObjectKey{Namespace: namespace, Name: name}
	var restore api.Restore
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := c.Get(ctx, key, &restore); err != nil {
			return err
		}
		if err := abortable(&restore); err != nil || restore.Spec.Abort {
			return err
		}
		base := restore.DeepCopy()
		restore.Spec.Abort = true
		return c.Patch(ctx, &restore, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	})
	if apierrors.IsNotFound(err) {
		return exit.Errorf(exit.Refused, "there is no restore %s in namespace %s; see what there is with `kubectl cht list -A`", name, namespace)
	} else if err != nil {
		return exit.Explain("abort restore "+key.String(), err)
	}
	return e.conclude(ctx, c, &restore, &api.RestoreList{}, w, "is being aborted", w.undone)
}

// abortable refuses a restore that an abort does nothing to, with what does.
func abortable(r *api.Restore) error {
	what, next := fmt.Sprintf("restore %s/%s", r.Namespace, r.Name), ""
	remove := fmt.Sprintf("`kubectl delete restores.%s %s -n %s`", api.GroupVersion.Group, r.Name, r.Namespace)
	switch {
	case r.DeletionTimestamp != nil:
		return exit.Errorf(exit.Refused, "%s is being deleted, which undoes it; see how far it is with `kubectl cht describe restore %s -n %s`", what, r.Name, r.Namespace)
	case r.Status.Phase == api.PhaseExpiring:
		return exit.Errorf(exit.Refused, "%s: the clone's time is over and it is being removed; nothing need be done", what)
	case r.Status.Phase == api.PhaseExpired:
		return exit.Errorf(exit.Refused, "%s: the clone's time was over and it was removed; nothing need be done", what)
	case r.Status.Phase == api.PhaseFailed && r.Spec.InPlace != nil:
		next = "the instance runs on its former volumes"
	case r.Status.Phase == api.PhaseFailed && r.Spec.Database != nil:
		next = "what it made is removed, and the running databases are as they were"
	case r.Status.Phase == api.PhaseFailed:
		next = "what it left for a look goes with it: " + remove
	case r.Status.Phase == api.PhaseCompleted && r.Spec.InPlace != nil && r.Status.SafetyBackup != "":
		next = fmt.Sprintf("to go back to the state before: `kubectl cht restore --from %s/%s --in-place`", r.Namespace, r.Status.SafetyBackup)
	case r.Status.Phase == api.PhaseCompleted && r.Spec.InPlace != nil:
		next = "no safety backup was taken, but the former volumes are set aside; see `kubectl cht describe restore " + r.Name + " -n " + r.Namespace + "`"
	case r.Status.Phase == api.PhaseCompleted && r.Spec.Database != nil && r.Status.Database != nil && r.Status.Database.KeptAs != "":
		next = "the database of before is kept as " + r.Status.Database.KeptAs
	case r.Status.Phase == api.PhaseCompleted && r.Spec.Database != nil:
		next = "delete the restored database if you do not want it"
	case r.Status.Phase == api.PhaseCompleted && r.Spec.TimeToLive != nil:
		next = "the clone goes with it: " + remove
	case r.Status.Phase == api.PhaseCompleted && !r.Spec.GoLive:
		next = fmt.Sprintf("to remove the clone with its volumes, let its time be over: `kubectl patch restores.%s %s -n %s --type merge -p '{\"spec\":{\"timeToLive\":\"1s\"}}'`", api.GroupVersion.Group, r.Name, r.Namespace)
	case r.Status.Phase == api.PhaseCompleted:
		next = "delete the instance it made if you do not want it"
	default:
		return nil
	}
	return exit.Errorf(exit.Refused, "%s is %s already, so that there is nothing to abort; %s", what, r.Status.Phase, next)
}

// undone wants an aborted restore to have been undone.
func (w *waiting) undone(final client.Object) error {
	state := show.Of(final)
	r, ok := final.(*api.Restore)
	switch {
	case state.Good():
		return exit.Errorf(exit.Failed, "%s had completed before the abort reached it, and is not undone; see: %s", state.Title(), show.Next(state))
	case state.Reason == api.ReasonAborted || state.Phase == api.PhaseExpired:
		return nil
	case ok && (r.Spec.InPlace != nil || r.Spec.Database != nil): // whatever their reason, these undo themselves
		return nil
	default:
		return exit.Errorf(exit.Failed, "%s had failed by itself (%s) before the abort reached it; see what is left of it: %s", state.Title(), state.Reason, show.Next(state))
	}
}
