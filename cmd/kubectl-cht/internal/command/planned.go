package command

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/follow"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
)

// planned goes on with a Restore that was created with planOnly: it waits for the
// plan, shows it, has it agreed to, and only then lets the restore begin. Without
// consent everything that was made for it is taken back.
func (e *Env) planned(ctx context.Context, c client.WithWatch, restore *api.Restore, made *traces, f *restoreFlags) error {
	restore, err := e.awaitPlan(ctx, c, restore, &f.waiting)
	if err != nil {
		return e.withdraw(ctx, c, made, err)
	}
	if f.dryRun {
		return e.dryRun(ctx, c, restore, made, &f.waiting)
	}
	if err := writeLines(e.text(&f.output), append(show.Plan(restore), "")); err != nil {
		return e.withdraw(ctx, c, made, err)
	}
	if !f.yes {
		if err := e.agree(ctx, restore); err != nil {
			return e.withdraw(ctx, c, made, err)
		}
	}
	if restore, err = goOn(ctx, c, restore); err != nil {
		if exit.Of(err) == exit.Refused {
			return e.withdraw(ctx, c, made, err)
		}
		state := show.Of(restore)
		return exit.Errorf(exit.Of(err), "%w; it may have begun: see it with %s, undo it with: %s", err, show.Next(state), show.Abort(state))
	}
	return e.conclude(ctx, c, restore, &api.RestoreList{}, &f.waiting, "begun", f.good)
}

// withdraw takes everything back and says so with the error that led to it.
func (e *Env) withdraw(ctx context.Context, c client.WithWatch, made *traces, err error) error {
	left := e.takeBack(ctx, c, made)
	return exit.Errorf(exit.Of(err), "%w; the planned restore is deleted, %s", err, untouched(left))
}

// awaitPlan gives the Restore with its plan.
func (e *Env) awaitPlan(ctx context.Context, c client.WithWatch, restore *api.Restore, w *waiting) (*api.Restore, error) {
	seen, err := e.follow(ctx, c, restore, &api.RestoreList{}, w, func(s show.State) bool {
		return s.Phase == api.PhasePlanned || s.Ended()
	})
	state := show.Of(seen)
	switch {
	case errors.Is(err, follow.ErrGone):
		return nil, exit.Errorf(exit.Failed, "%s: %w", state.Title(), err)
	case errors.Is(err, errTimedOut):
		return nil, exit.Errorf(exit.TimedOut, "%s has no plan after %s (phase %s); is the controller running? (`kubectl get pods -n %s`)", state.Title(), w.timeout, orAccepted(state.Phase), e.SystemNamespace)
	case ctx.Err() != nil:
		return nil, exit.Errorf(exit.Interrupted, "interrupted")
	case err != nil:
		return nil, exit.Explain("wait for the plan of "+state.Title(), err)
	}
	planned, ok := seen.(*api.Restore)
	if !ok || state.Phase != api.PhasePlanned {
		return nil, exit.Errorf(exit.Refused, "%s is refused (%s): %s", state.Title(), state.Reason, state.Message)
	}
	return planned, nil
}

// dryRun prints the plan and takes everything back.
func (e *Env) dryRun(ctx context.Context, c client.WithWatch, restore *api.Restore, made *traces, w *waiting) error {
	var err error
	if w.output.objects() {
		if err = w.output.print(restore, e.Out); err != nil {
			err = exit.Errorf(exit.Failed, "write the output: %w", err)
		}
	} else {
		err = writeLines(e.Out, show.Plan(restore))
	}
	left := e.takeBack(ctx, c, made)
	switch {
	case err != nil:
		return withLeft(err, left)
	case len(left) > 0:
		return exit.Errorf(exit.Failed, "the dry run could not take everything back: %s", untouched(left))
	case w.output.objects():
		return nil
	default:
		return writeLines(e.Out, []string{"", "This was a dry run: " + untouched(nil) + ", and nothing is left of it."})
	}
}

// agree has the name typed of what the plan replaces.
func (e *Env) agree(ctx context.Context, restore *api.Restore) error {
	from := restore.Spec.Source.Namespace + "/" + restore.Spec.Source.Name
	what := fmt.Sprintf("puts the CHT of namespace %s back to backup %s", restore.Namespace, from)
	kind, want := "namespace", restore.Namespace
	if d := restore.Spec.Database; d != nil {
		what = fmt.Sprintf("replaces database %s of the CHT in namespace %s by that of backup %s", d.Name, restore.Namespace, from)
		kind, want = "database", d.Name
	}
	got, err := e.ask(ctx, fmt.Sprintf("This %s, as planned above. Nothing has been touched yet.\nType the %s's name (%s) to go on: ", what, kind, want))
	switch {
	case err != nil:
		return exit.Errorf(exit.Interrupted, "interrupted")
	case got != want:
		return exit.Errorf(exit.Usage, "%q is not the %s's name", got, kind)
	}
	return nil
}

// goOn lets a planned restore begin, that one and no other, if it still waits.
func goOn(ctx context.Context, c client.Client, restore *api.Restore) (*api.Restore, error) {
	now := restore.DeepCopy()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(restore), now); err != nil {
			return err
		}
		if now.UID != restore.UID || now.DeletionTimestamp != nil || now.Status.Phase != api.PhasePlanned {
			return exit.Errorf(exit.Refused, "restore %s/%s does not wait any more (it is %s): somebody aborted, deleted or replaced it meanwhile", restore.Namespace, restore.Name, orAccepted(now.Status.Phase))
		}
		base := now.DeepCopy()
		now.Spec.PlanOnly = false
		return c.Patch(ctx, now, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	})
	if err != nil {
		return restore, exit.Explain(fmt.Sprintf("go on with restore %s/%s", restore.Namespace, restore.Name), err)
	}
	return now, nil
}
