package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/paged"
)

func describeCommand(env *Env) *cobra.Command {
	var output format
	cmd := &cobra.Command{
		Use:   "describe [backup|restore|drill|schedule] NAME [-n NAMESPACE]",
		Short: "Tell all that is known of a backup, restore, drill or schedule",
		Long: `Tell all that is known of a backup, restore or drill: state, timeline, volumes,
verification, conditions, events; of a schedule: when it is due, what it keeps, its
next and its last runs. The kind may be left out where the name is unique. It
changes nothing.

` + exit.Help,
		Example: `  kubectl cht describe nightly-20260301t0230 -n medic
  kubectl cht describe schedule nightly -n medic
  kubectl cht describe restore restore-20260301-120000 -n medic -o yaml`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			kind, name, err := named(args)
			if err != nil {
				return err
			}
			return env.describe(cmd.Context(), kind, name, &output)
		},
	}
	output.add(cmd.Flags(), "json", "yaml", "name")
	return cmd
}

// named takes KIND NAME, KIND/NAME or NAME. kind is "" when it is not given.
func named(args []string) (kind, name string, err error) {
	name = args[0]
	if len(args) == 2 {
		kind, name = args[0], args[1]
	} else if k, n, found := strings.Cut(name, "/"); found {
		kind, name = k, n
	}
	switch strings.ToLower(kind) {
	case "":
	case "backup", "backups", "chtb", "backup.backup.communityhealthtoolkit.org":
		kind = "backup"
	case "restore", "restores", "chtr", "restore.backup.communityhealthtoolkit.org", "drill", "drills":
		kind = "restore"
	case "schedule", "schedules", "backupschedule", "backupschedules", "chtbs", "backupschedule.backup.communityhealthtoolkit.org":
		kind = "schedule"
	default:
		return "", "", exit.Errorf(exit.Usage, "kind %q is not known; use backup, restore, drill or schedule", kind)
	}
	if name == "" {
		return "", "", exit.Errorf(exit.Usage, "the name is missing; see `kubectl cht list`")
	}
	return kind, name, nil
}

func (e *Env) describe(ctx context.Context, kind, name string, output *format) error {
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	found, err := e.lookUp(ctx, c, kind, client.ObjectKey{Namespace: namespace, Name: name})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return e.describeRecords(ctx, c, kind, client.ObjectKey{Namespace: namespace, Name: name}, output)
	}
	if len(found) > 1 {
		var kinds []string
		for _, o := range found {
			kinds = append(kinds, kindOf(o))
		}
		return exit.Errorf(exit.Usage, "%s is the name of a %s in %s; say which: `kubectl cht describe %s %s -n %s`", name, strings.Join(kinds, " and of a "), namespace, kinds[0], name, namespace)
	}
	if output.objects() {
		return output.print(found[0], e.Out)
	}
	if s, is := found[0].(*api.BackupSchedule); is {
		made, err := runsOf(ctx, c, s)
		if err != nil {
			return err
		}
		return writeLines(e.Out, show.DescribeSchedule(s, made, e.events(ctx, c, s), e.Now()))
	}
	return writeLines(e.Out, show.Describe(found[0], e.events(ctx, c, found[0]), e.Now()))
}

func kindOf(o client.Object) string {
	switch o.(type) {
	case *api.Backup:
		return "backup"
	case *api.Restore:
		return "restore"
	default:
		return "schedule"
	}
}

// runsOf are the backups and drills of a schedule.
func runsOf(ctx context.Context, c client.Client, s *api.BackupSchedule) (runs show.Runs, err error) {
	of := []client.ListOption{client.InNamespace(s.Namespace), client.MatchingLabels{api.ScheduleLabel: s.Name}}
	var backups api.BackupList
	if err := paged.All(ctx, c, &backups, of...); err != nil {
		return runs, exit.Explain("list the backups of schedule "+s.Namespace+"/"+s.Name, err)
	}
	var restores api.RestoreList
	if err := paged.All(ctx, c, &restores, of...); err != nil {
		return runs, exit.Explain("list the drills of schedule "+s.Namespace+"/"+s.Name, err)
	}
	return show.Runs{Backups: backups.Items, Drills: restores.Items}, nil
}

// lookUp gives the objects of that name, of one kind or of any.
func (e *Env) lookUp(ctx context.Context, c client.Client, kind string, key client.ObjectKey) ([]client.Object, error) {
	var found []client.Object
	for _, each := range []struct {
		kind string
		obj  client.Object
	}{{"backup", &api.Backup{}}, {"restore", &api.Restore{}}, {"schedule", &api.BackupSchedule{}}} {
		if kind != "" && kind != each.kind {
			continue
		}
		if err := c.Get(ctx, key, each.obj); err == nil {
			found = append(found, each.obj)
		} else if !apierrors.IsNotFound(err) && (kind != "" || !exit.UnknownKind(err)) {
			return nil, exit.Explain(fmt.Sprintf("get %s %s", each.kind, key), err)
		}
	}
	return found, nil
}

// describeRecords describes what is left of a backup whose object is gone.
func (e *Env) describeRecords(ctx context.Context, c client.Client, kind string, key client.ObjectKey, output *format) error {
	what := kind
	if what == "" {
		what = "backup, restore or schedule"
	}
	missing := exit.Errorf(exit.Refused, "there is no %s %s in namespace %s; see what there is with `kubectl cht list -A`", what, key.Name, key.Namespace)
	if kind == "restore" || kind == "schedule" {
		return missing
	}
	heads, err := e.kept(ctx, c, key.Namespace)
	if apierrors.IsForbidden(err) {
		e.note("records of deleted backups were not searched: you may not list secrets in %s", e.SystemNamespace)
		return missing
	} else if err != nil {
		return exit.Explain("list records", err)
	}
	var kept []catalog.Head
	for _, h := range heads {
		if h.Namespace == key.Namespace && h.Name == key.Name {
			kept = append(kept, h)
		}
	}
	if len(kept) == 0 {
		return missing
	}
	if output.objects() {
		list, err := objects(show.Listing{Records: kept})
		if err != nil {
			return exit.Errorf(exit.Failed, "encode the records: %w", err)
		}
		return output.print(list, e.Out)
	}
	var lines []string
	for i, h := range kept {
		if i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, show.DescribeRecord(h, e.SystemNamespace)...)
	}
	return writeLines(e.Out, lines)
}

// events of an object; without the right to read them the rest is still told.
func (e *Env) events(ctx context.Context, c client.Client, o client.Object) []corev1.Event {
	var events corev1.EventList
	err := c.List(ctx, &events, client.InNamespace(o.GetNamespace()),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("involvedObject.uid", string(o.GetUID()))})
	if err != nil {
		e.note("events are not shown: %v", err)
	}
	return events.Items
}
