package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/schedule"
)

func scheduleTriggerCommand(env *Env) *cobra.Command {
	w := &waiting{}
	cmd := &cobra.Command{
		Use:   "trigger NAME [-n NAMESPACE]",
		Short: "Have a schedule take a backup now",
		Long: `Have a schedule take a backup now, besides its runs, and show how it goes. The
backup is one of the schedule's: its template makes it, its retention counts it.
While another backup of the instance runs, it waits. A suspended schedule takes it
all the same.

` + exit.Help,
		Example: `  kubectl cht schedule trigger nightly -n medic
  kubectl cht schedule trigger nightly -n medic --no-wait`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.trigger(cmd.Context(), args[0], w, cmd.Flags().Changed("timeout"))
		},
	}
	w.add(cmd.Flags(), 0, fmt.Sprintf(" (default the template's readyTimeout and %s more)", spare))
	return cmd
}

func (e *Env) trigger(ctx context.Context, name string, w *waiting, bounded bool) error {
	if err := w.check(); err != nil {
		return err
	}
	c, s, err := e.schedule(ctx, name)
	if err != nil {
		return err
	}
	if !bounded {
		w.timeout = s.Spec.Template.Spec.ReadyTimeout.Duration + spare
	}
	base, value := s.DeepCopy(), e.Now().UTC().Format(time.RFC3339Nano)
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[api.RunNowAnnotation] = value
	if err := c.Patch(ctx, s, client.MergeFrom(base)); err != nil {
		return exit.Explain(fmt.Sprintf("trigger schedule %s/%s (annotation %s)", s.Namespace, s.Name, api.RunNowAnnotation), err)
	}
	backup := client.ObjectKey{Namespace: s.Namespace, Name: schedule.RunNowName(s.Name, value)}
	out := e.text(&w.output)
	if err := writeLines(out, []string{fmt.Sprintf("schedule %s/%s is triggered; its backup is %s", s.Namespace, s.Name, backup.Name)}); err != nil {
		return err
	}
	if w.noWait || !w.wait {
		if w.output.objects() {
			return w.output.print(s, e.Out)
		}
		return nil
	}
	begun := e.Now()
	limited, cancel := bound(ctx, w.timeout)
	defer cancel()
	b, err := e.appears(limited, c, s, backup, out)
	if err != nil {
		return notBegun(ctx, s, backup, w, err)
	}
	if w.timeout > 0 {
		w.timeout = max(time.Second, w.timeout-e.Now().Sub(begun))
	}
	return e.conclude(ctx, c, b, &api.BackupList{}, w, "created", w.good)
}

// appears waits until the controller has made the backup, and tells meanwhile what
// it waits for.
func (e *Env) appears(ctx context.Context, c client.Client, s *api.BackupSchedule, key client.ObjectKey, out io.Writer) (*api.Backup, error) {
	var failing, begun = time.Time{}, time.Now()
	said, hinted := "", false
	for {
		var b api.Backup
		err := c.Get(ctx, key, &b)
		if err == nil {
			if b.Labels[api.ScheduleLabel] != s.Name {
				return nil, exit.Errorf(exit.Failed, "backup %s is there, and is none of schedule %s; trigger it again", key, s.Name)
			}
			return &b, nil
		}
		var now api.BackupSchedule
		if apierrors.IsNotFound(err) {
			err = c.Get(ctx, client.ObjectKeyFromObject(s), &now)
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err == nil && now.UID != s.UID || apierrors.IsNotFound(err):
			return nil, exit.Errorf(exit.Failed, "schedule %s/%s was deleted meanwhile; no backup will come of it", s.Namespace, s.Name)
		case err == nil:
			failing = time.Time{}
			if why := now.Status.Backups.WaitingFor; why != said && why != "" {
				said = why
				_, _ = fmt.Fprintf(out, "waiting: %s\n", why) // a lost progress line is no failure
			}
			if !hinted && said == "" && time.Since(begun) > 10*time.Second {
				hinted = true
				e.locate(ctx, c, key.Namespace)
				e.note("%s", show.Unserved(key.Namespace, e.SystemNamespace))
			}
		case !exit.Transient(err):
			return nil, err
		case failing.IsZero():
			failing = time.Now()
		case time.Since(failing) > e.Follow.Outage:
			return nil, fmt.Errorf("the API server has not answered for %s: %w", e.Follow.Outage, err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(e.Follow.Retry):
		}
	}
}

// notBegun explains why the wait for the backup ended without one.
func notBegun(ctx context.Context, s *api.BackupSchedule, backup client.ObjectKey, w *waiting, err error) error {
	later := fmt.Sprintf("the schedule may make backup %s yet; see `kubectl cht describe schedule %s -n %s`", backup.Name, s.Name, s.Namespace)
	switch {
	case errors.Is(err, errTimedOut):
		return exit.Errorf(exit.TimedOut, "stopped waiting after %s; %s", w.timeout, later)
	case ctx.Err() != nil:
		return exit.Errorf(exit.Interrupted, "stopped waiting; %s", later)
	default:
		return exit.Explain("wait for backup "+backup.Namespace+"/"+backup.Name, err)
	}
}
