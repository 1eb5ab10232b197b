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

// judge gives the error that stands for how an operation has ended.
type judge func(client.Object) error

// conclude follows obj, which was just begun in the way that the word says,
// unless told not to, prints what came out, and gives the error that stands for it.
func (e *Env) conclude(ctx context.Context, c client.WithWatch, obj client.Object, list client.ObjectList, w *waiting, begun string, verdict judge) error {
	state := show.Of(obj)
	out := e.text(&w.output)
	if w.noWait || !w.wait {
		if w.output.objects() {
			return w.output.print(obj, e.Out)
		}
		return writeLines(out, []string{state.Title() + " " + begun + "; see how it goes with: " + show.Next(state)})
	}
	final, err := e.follow(ctx, c, obj, list, w, show.State.Ended)
	err = stopped(ctx, final, w, err)
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
	return verdict(final)
}

// good wants the operation to have ended well. The message is left to the
// summary where there is one.
func (w *waiting) good(final client.Object) error {
	state := show.Of(final)
	switch {
	case state.Good():
		return nil
	case w.output.objects():
		return exit.Errorf(exit.Failed, "%s failed (%s): %s; more with: %s", state.Title(), state.Reason, state.Message, show.Next(state))
	default:
		return exit.Errorf(exit.Failed, "%s failed (%s); more with: %s", state.Title(), state.Reason, show.Next(state))
	}
}

// follow shows how obj goes until last says that this is the end of interest. It
// gives the last state seen, and why the following ended before.
func (e *Env) follow(ctx context.Context, c client.WithWatch, obj client.Object, list client.ObjectList, w *waiting, last func(show.State) bool) (client.Object, error) {
	limited, cancel := bound(ctx, w.timeout)
	defer cancel()
	out := e.text(&w.output)
	e.locate(ctx, c, obj.GetNamespace())
	screen := &follow.Screen{Out: out, Paint: e.paint(out), Now: e.Now, SystemNamespace: e.SystemNamespace}
	if width, ok := e.Terminal(out); ok {
		screen.Width = width
	}
	seen, begun := obj, e.Now()
	// By the clock here: creationTimestamp has whole seconds, and another clock's.
	draw := func(s show.State) {
		s.Created = begun
		screen.Show(s)
	}
	draw(show.Of(obj))
	stop := screen.Start()
	defer stop()
	err := follow.Until(limited, c, list, client.ObjectKeyFromObject(obj), obj.GetUID(), e.Follow, func(o client.Object) bool {
		seen = copyOf(o)
		state := show.Of(seen)
		draw(state)
		return last(state)
	})
	return seen, err
}

// stopped explains why the following of an operation ended, nil when it has ended.
func stopped(ctx context.Context, seen client.Object, w *waiting, err error) error {
	state := show.Of(seen)
	goesOn := state.Title() + " goes on in the cluster; see it with: " + show.Next(state)
	if state.Kind == "restore" {
		goesOn += ", undo it with: " + show.Abort(state)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, follow.ErrGone):
		return exit.Errorf(exit.Failed, "%s: %w; nothing more will come of it", state.Title(), err)
	case errors.Is(err, errTimedOut):
		return exit.Errorf(exit.TimedOut, "stopped waiting after %s (phase %s); %s", w.timeout, orAccepted(state.Phase), goesOn)
	case ctx.Err() != nil:
		return exit.Errorf(exit.Interrupted, "stopped waiting; %s", goesOn)
	default:
		return exit.Errorf(exit.Unreachable, "lost sight of %s: %w; as far as is known, %s", state.Title(), err, goesOn)
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
