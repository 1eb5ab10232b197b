package command

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/follow"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
)

var errTimedOut = errors.New("--timeout passed")

// waiting are the flags of commands that follow what they created.
type waiting struct {
	wait, noWait bool
	timeout      time.Duration
	output       format
}

func (w *waiting) add(flags *pflag.FlagSet, timeout time.Duration, why string) {
	flags.BoolVar(&w.wait, "wait", true, "Follow the operation until it has ended")
	flags.BoolVar(&w.noWait, "no-wait", false, "Return as soon as the object is created")
	flags.DurationVar(&w.timeout, "timeout", timeout, "How long to follow; the operation itself goes on. 0 follows without a bound"+why)
	w.output.add(flags, "json", "yaml", "name")
}

func (w *waiting) check() error {
	if w.timeout < 0 {
		return exit.Errorf(exit.Usage, "--timeout %s is negative; give a time such as 30m, or 0 for no bound", w.timeout)
	}
	return w.output.check()
}

// conclude follows obj unless told not to, prints what came out, and gives the
// error that stands for it.
func (e *Env) conclude(ctx context.Context, c client.WithWatch, obj client.Object, list client.ObjectList, w *waiting) error {
	state := show.Of(obj)
	out := e.text(&w.output)
	if w.noWait || !w.wait {
		if w.output.objects() {
			return w.output.print(obj, e.Out)
		}
		return writeLines(out, []string{state.Title() + " created; see how it goes with: " + show.Next(state)})
	}
	final, err := e.follow(ctx, c, obj, list, w)
	state = show.Of(final)
	if w.output.objects() {
		// Also when it failed: a script wants to read why.
		if printErr := w.output.print(final, e.Out); printErr != nil {
			return exit.Errorf(exit.Failed, "write the output: %w", printErr)
		}
	} else if err == nil {
		if err := writeLines(out, show.Summary(final, e.paint(out))); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	switch {
	case state.Good():
		return nil
	case w.output.objects():
		return exit.Errorf(exit.Failed, "%s failed (%s): %s; more with: %s", state.Title(), state.Reason, state.Message, show.Next(state))
	default: // the summary has told the message
		return exit.Errorf(exit.Failed, "%s failed (%s); more with: %s", state.Title(), state.Reason, show.Next(state))
	}
}

// follow gives the last state seen, and an error when it is not the end.
func (e *Env) follow(ctx context.Context, c client.WithWatch, obj client.Object, list client.ObjectList, w *waiting) (client.Object, error) {
	limited, cancel := bound(ctx, w.timeout)
	defer cancel()
	out := e.text(&w.output)
	screen := &follow.Screen{Out: out, Paint: e.paint(out), Now: e.Now, SystemNamespace: e.SystemNamespace}
	if width, ok := e.Terminal(out); ok {
		screen.Width = width
	}
	last, created, begun := obj, show.Of(obj), e.Now()
	// By the clock here: creationTimestamp has whole seconds, and another clock's.
	draw := func(s show.State) {
		s.Created = begun
		screen.Show(s)
	}
	draw(created)
	stop := screen.Start()
	err := follow.Until(limited, c, list, client.ObjectKeyFromObject(obj), obj.GetUID(), e.Follow, func(o client.Object) bool {
		last = copyOf(o)
		state := show.Of(last)
		draw(state)
		return state.Ended()
	})
	stop()
	goesOn := created.Title() + " goes on in the cluster; see it with: " + show.Next(created)
	switch {
	case err == nil:
		return last, nil
	case errors.Is(err, follow.ErrGone):
		return last, exit.Errorf(exit.Failed, "%s: %w; nothing more will come of it", created.Title(), err)
	case errors.Is(err, errTimedOut):
		return last, exit.Errorf(exit.TimedOut, "stopped waiting after %s (phase %s); %s", w.timeout, orAccepted(show.Of(last).Phase), goesOn)
	case ctx.Err() != nil:
		return last, exit.Errorf(exit.Interrupted, "stopped waiting; %s", goesOn)
	default:
		return last, exit.Errorf(exit.Unreachable, "lost sight of %s: %w; as far as is known, %s", created.Title(), err, goesOn)
	}
}

func orAccepted(p api.Phase) api.Phase {
	if p == "" {
		return "Accepted"
	}
	return p
}

func copyOf(o client.Object) client.Object {
	return o.DeepCopyObject().(client.Object) //nolint:forcetypeassert // a copy is of the same type
}
