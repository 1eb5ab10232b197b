package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/status"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/paged"
)

const statusLong = `Tell how well the CHT of a namespace, or of all with -A, is backed up: one line
an instance, the worst first.

  critical  data may be lost for good today: never backed up, two runs of the
            schedule without a good backup, the newest backup found broken by a
            restore, a schedule that is invalid or that no controller attends to
  warning   somebody should act within days: no schedule, suspended, runs failed or
            missed, a drill failed, never proven by a restore or not for 30 days
  ok        what stands under TROUBLE then is only worth a word

LAST GOOD is the newest backup that is complete and that no restore found broken,
RECOVERY POINT how long ago it was cut: what came after it would be lost. SIZE is
that of CouchDB's files, GROWTH the difference to the good backup about a week
before. With -A every namespace with a CHT, a backup or a schedule is listed;
clones, which nobody backs up, are left out.

With --exit-code the exit code is 6 when an instance is not ok. The fields of
-o json are documented in docs/kubectl-cht.md and stay.

`

func statusCommand(env *Env) *cobra.Command {
	var all, code bool
	var output format
	cmd := &cobra.Command{
		Use:   "status [-n NAMESPACE | -A]",
		Short: "Tell how well instances are backed up, and what is wrong",
		Long:  statusLong + exit.Help,
		Example: `  kubectl cht status -A
  kubectl cht status -n medic -o json
  kubectl cht status -A --exit-code || page somebody`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil {
				return err
			}
			report, err := env.status(cmd.Context(), all)
			if err != nil {
				return err
			}
			if err := env.printStatus(report, &output); err != nil {
				return err
			}
			if n := report.InTrouble(); code && n > 0 {
				return exit.Errorf(exit.Trouble, "%d of %d instances are in trouble", n, len(report.Instances))
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "All namespaces")
	cmd.Flags().BoolVar(&code, "exit-code", false, "End with exit code 6 when an instance is not ok")
	output.add(cmd.Flags(), "json", "yaml", "wide")
	return cmd
}

func (e *Env) status(ctx context.Context, all bool) (status.Report, error) {
	c, namespace, err := e.open()
	if err != nil {
		return status.Report{}, err
	}
	fleet, notes := &status.Fleet{}, []string(nil)
	if all {
		namespace = ""
	}
	if notes, err = gather(ctx, c, namespace, fleet); err != nil {
		return status.Report{}, err
	}
	if !all {
		if fleet.Looked && fleet.Empty() {
			return status.Report{}, exit.Errorf(exit.Refused, "namespace %s holds no CHT, no backup and no schedule; give the CHT's with -n, or see all with -A", namespace)
		}
		fleet.AddNamespace(namespace)
	}
	report := fleet.Report(e.Now())
	report.Notes = notes
	return report, nil
}

// gather reads what is judged, page by page. What the user may not see beside the
// backups themselves is noted, and does not stop him.
func gather(ctx context.Context, c client.Client, namespace string, fleet *status.Fleet) (notes []string, err error) {
	in := client.InNamespace(namespace)
	if err := paged.Each(ctx, c, &api.BackupScheduleList{}, func(page *api.BackupScheduleList) {
		for i := range page.Items {
			fleet.AddSchedule(&page.Items[i])
		}
	}, in); err != nil {
		return nil, exit.Explain("list schedules", err)
	}
	if err := paged.Each(ctx, c, &api.BackupList{}, func(page *api.BackupList) {
		for i := range page.Items {
			fleet.AddBackup(&page.Items[i])
		}
	}, in); err != nil {
		return nil, exit.Explain("list backups", err)
	}
	err = paged.Each(ctx, c, &api.RestoreList{}, func(page *api.RestoreList) {
		for i := range page.Items {
			fleet.AddRestore(&page.Items[i])
		}
	}, in)
	if apierrors.IsForbidden(err) {
		notes = append(notes, "drills and clones are not known: you may not list restores")
	} else if err != nil {
		return nil, exit.Explain("list restores", err)
	}
	return gatherWorkloads(ctx, c, in, fleet, notes)
}

// gatherWorkloads finds CHTs that nobody has backed up yet: by CouchDB's pods, and
// by its workloads, which may be scaled to 0. Only their metadata is asked for.
func gatherWorkloads(ctx context.Context, c client.Client, in client.InNamespace, fleet *status.Fleet, notes []string) ([]string, error) {
	var hidden []string
	for _, kind := range []schema.GroupVersionKind{corev1.SchemeGroupVersion.WithKind("Pod"), appsv1.SchemeGroupVersion.WithKind("Deployment"), appsv1.SchemeGroupVersion.WithKind("StatefulSet")} {
		var list metav1.PartialObjectMetadataList
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		err := paged.Each(ctx, c, &list, func(page *metav1.PartialObjectMetadataList) {
			for _, o := range page.Items {
				if cht.IsCouchDB(o.Labels[cht.ServiceLabel]) {
					fleet.AddCHT(o.Namespace)
				}
			}
		}, in, client.HasLabels{cht.ServiceLabel})
		if apierrors.IsForbidden(err) {
			hidden = append(hidden, strings.ToLower(kind.Kind)+"s")
		} else if err != nil {
			return notes, exit.Explain("list "+kind.Kind+"s", err)
		}
	}
	if len(hidden) > 0 {
		where := "in any namespace"
		if in != "" {
			where = "in " + string(in)
		}
		notes = append(notes, fmt.Sprintf("a CHT that was never backed up may be missing here: you may not list %s %s", strings.Join(hidden, ", "), where))
	}
	fleet.Looked = len(hidden) == 0
	return notes, nil
}

func (e *Env) printStatus(r status.Report, output *format) error {
	switch output.value {
	case "json":
		raw, err := json.MarshalIndent(r, "", "  ")
		return written(e.Out, append(raw, '\n'), err)
	case "yaml":
		raw, err := yaml.Marshal(r)
		return written(e.Out, raw, err)
	}
	for _, n := range r.Notes {
		e.note("%s", n)
	}
	if len(r.Clones) > 0 {
		e.note("clones, which are not backed up: %s", strings.Join(r.Clones, ", "))
	}
	if len(r.Instances) == 0 {
		e.note("no CHT, no backup and no schedule in any namespace")
		return nil
	}
	return writeLines(e.Out, show.Status(r, output.value == "wide", e.paint(e.Out)))
}

func written(w io.Writer, raw []byte, err error) error {
	if err == nil {
		_, err = w.Write(raw)
	}
	if err != nil {
		return exit.Errorf(exit.Failed, "write the output: %w", err)
	}
	return nil
}
