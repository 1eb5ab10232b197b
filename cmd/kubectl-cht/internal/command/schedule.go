package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/snapshot/paged"
)

func scheduleCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "schedule", Aliases: []string{"schedules"},
		Short: "Schedules of backups: list, create, trigger, suspend, resume, delete",
		Long: `Schedules of backups. ` + "`kubectl cht describe schedule NAME`" + ` tells all that is known
of one: its next runs, its last, what it keeps, how it proves it.

` + exit.Help,
		Example: `  kubectl cht schedule create nightly -n medic --schedule '30 2 * * *' --time-zone Africa/Nairobi --keep-daily 14
  kubectl cht schedule list -A
  kubectl cht schedule trigger nightly -n medic`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(scheduleListCommand(env), scheduleCreateCommand(env), scheduleTriggerCommand(env),
		suspendCommand(env, true), suspendCommand(env, false), scheduleDeleteCommand(env))
	return cmd
}

func scheduleListCommand(env *Env) *cobra.Command {
	var all bool
	var output format
	cmd := &cobra.Command{
		Use: "list [-n NAMESPACE | -A]", Aliases: []string{"ls"},
		Short: "List schedules",
		Long: `List the schedules of a namespace, or of all with -A: when each is due next, what it
keeps, and whether it is suspended or waits for something.

` + exit.Help,
		Example: `  kubectl cht schedule list -n medic
  kubectl cht schedule list -A -o wide`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil {
				return err
			}
			return env.scheduleList(cmd.Context(), all, &output)
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "List those of all namespaces")
	output.add(cmd.Flags(), "json", "yaml", "wide", "name")
	return cmd
}

func (e *Env) scheduleList(ctx context.Context, all bool, output *format) error {
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	where := "in namespace " + namespace
	if all {
		namespace, where = "", "in any namespace"
	}
	var schedules api.BackupScheduleList
	if err := paged.All(ctx, c, &schedules, client.InNamespace(namespace)); err != nil {
		return exit.Explain("list schedules", err)
	}
	if printed, err := e.printListing(show.Listing{Schedules: schedules.Items}, output); printed || err != nil {
		return err
	}
	if len(schedules.Items) == 0 {
		e.note("no schedules %s; make one with `kubectl cht schedule create`", where)
		return nil
	}
	return writeLines(e.Out, show.Schedules(schedules.Items, output.value == "wide", e.Now()))
}

// suspendCommand is that of suspend, or of resume.
func suspendCommand(env *Env, suspend bool) *cobra.Command {
	use, short, long := "suspend", "Stop a schedule's runs and drills", `Stop a schedule's runs and drills until it is resumed. What is under way goes on,
what it has made is kept by its retention as before.`
	if !suspend {
		use, short, long = "resume", "Let a schedule run again", `Let a suspended schedule run again, from its next time on: what was due meanwhile
is not made up for. To have a backup at once: kubectl cht schedule trigger.`
	}
	return &cobra.Command{
		Use: use + " NAME [-n NAMESPACE]", Short: short, Long: long + "\n\n" + exit.Help,
		Example: "  kubectl cht schedule " + use + " nightly -n medic",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.suspend(cmd.Context(), args[0], suspend)
		},
	}
}

func (e *Env) suspend(ctx context.Context, name string, suspend bool) error {
	c, s, err := e.schedule(ctx, name)
	if err != nil {
		return err
	}
	what, done := "schedule "+s.Namespace+"/"+s.Name, map[bool]string{true: "suspended", false: "running"}[suspend]
	if s.Spec.Suspend == suspend {
		return writeLines(e.Out, []string{what + " is " + done + " already"})
	}
	base := s.DeepCopy()
	s.Spec.Suspend = suspend
	if err := c.Patch(ctx, s, client.MergeFrom(base)); err != nil {
		return exit.Explain("change "+what, err)
	}
	line := what + " is suspended: no backups are taken by it until `kubectl cht schedule resume " + s.Name + " -n " + s.Namespace + "`"
	if !suspend {
		line = what + " runs again"
		if next := show.NextRuns(s, e.Now(), 1); len(next) > 0 {
			line += ", next " + next[0]
		}
	}
	return writeLines(e.Out, []string{line})
}

func scheduleDeleteCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME [-n NAMESPACE]",
		Short: "Delete a schedule; its backups stay",
		Long: `Delete a schedule. Its backups stay, and from then on nothing removes them but
` + "`kubectl cht delete backup`" + `, or a schedule that is made again under the same name.

` + exit.Help,
		Example: `  kubectl cht schedule delete nightly -n medic`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.scheduleDelete(cmd.Context(), args[0])
		},
	}
}

func (e *Env) scheduleDelete(ctx context.Context, name string) error {
	c, s, err := e.schedule(ctx, name)
	if err != nil {
		return err
	}
	uid := s.UID // that one and no other
	if err := c.Delete(ctx, s, client.Preconditions{UID: &uid}); err != nil {
		return exit.Explain(fmt.Sprintf("delete schedule %s/%s", s.Namespace, s.Name), err)
	}
	stay := "its backups stay"
	var backups metav1.PartialObjectMetadataList
	backups.SetGroupVersionKind(api.GroupVersion.WithKind("BackupList"))
	count := 0
	// Deleted it is all the same.
	if err := paged.Each(ctx, c, &backups, func(page *metav1.PartialObjectMetadataList) { count += len(page.Items) }, client.InNamespace(s.Namespace), client.MatchingLabels{api.ScheduleLabel: s.Name}); err == nil {
		stay = map[bool]string{true: "it has made no backups that are left", false: fmt.Sprintf("the backups that it has made stay: %d", count)}[count == 0]
	}
	return writeLines(e.Out, []string{fmt.Sprintf("schedule %s/%s is deleted; %s (`kubectl cht list -n %s`)", s.Namespace, s.Name, stay, s.Namespace)})
}

// schedule gets one, or says where to look for its name.
func (e *Env) schedule(ctx context.Context, name string) (client.WithWatch, *api.BackupSchedule, error) {
	c, namespace, err := e.open()
	if err != nil {
		return nil, nil, err
	}
	var s api.BackupSchedule
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil, nil, exit.Errorf(exit.Refused, "there is no schedule %s in namespace %s; see what there is with `kubectl cht schedule list -A`", name, namespace)
		}
		return nil, nil, exit.Explain(fmt.Sprintf("get schedule %s/%s", namespace, name), err)
	}
	return c, &s, nil
}
