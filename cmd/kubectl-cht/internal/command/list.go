package command

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/paged"
)

// recordOnly marks, in -o json and yaml, a Backup that is written down from its
// kept record: the cluster has no such object any more.
const recordOnly = "backup.communityhealthtoolkit.org/record-only"

func listCommand(env *Env) *cobra.Command {
	var all bool
	var output format
	cmd := &cobra.Command{
		Use: "list [-n NAMESPACE | -A]", Aliases: []string{"ls"},
		Short: "List backups, restores, drills and schedules",
		Long: `List backups, restores, drills and schedules of a namespace, or of all with -A.

"record only" marks a backup whose Backup is gone, with its namespace or by a policy
of Retain: its snapshots and its record are kept, and it can be restored. With -o json
or yaml such a backup is a Backup with the annotation
` + recordOnly + `: "true".

` + exit.Help,
		Example: `  kubectl cht list -n medic
  kubectl cht list -A -o wide
  kubectl cht list -n medic -o name`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil {
				return err
			}
			return env.list(cmd.Context(), all, &output)
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "List those of all namespaces")
	output.add(cmd.Flags(), "json", "yaml", "wide", "name")
	return cmd
}

func (e *Env) list(ctx context.Context, all bool, output *format) error {
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	where := "in namespace " + namespace
	if all {
		namespace, where = "", "in any namespace"
	}
	listing, err := e.find(ctx, c, namespace)
	if err != nil {
		return err
	}
	if printed, err := e.printListing(listing, output); printed || err != nil {
		return err
	}
	if listing.Empty() {
		e.note("no backups and no restores %s", where)
		return nil
	}
	printer := printers.NewTablePrinter(printers.PrintOptions{Wide: output.value == "wide"})
	if err := printer.PrintObj(show.Table(listing, e.Now()), e.Out); err != nil {
		return exit.Errorf(exit.Failed, "write the output: %w", err)
	}
	return nil
}

// printListing prints a listing as objects or names, if that is what is wanted.
func (e *Env) printListing(l show.Listing, output *format) (printed bool, err error) {
	switch output.value {
	case "json", "yaml":
		list, err := objects(l)
		if err != nil {
			return false, exit.Errorf(exit.Failed, "encode the list: %w", err)
		}
		return true, output.print(list, e.Out)
	case "name":
		var all []runtime.Object
		for i := range l.Backups {
			all = append(all, &l.Backups[i])
		}
		for i := range l.Restores {
			all = append(all, &l.Restores[i])
		}
		for i := range l.Schedules {
			all = append(all, &l.Schedules[i])
		}
		for _, o := range all {
			if err := output.print(o, e.Out); err != nil {
				return false, exit.Errorf(exit.Failed, "write the output: %w", err)
			}
		}
		return true, nil
	}
	return false, nil
}

// find lists what there is in a namespace, or in all for "".
func (e *Env) find(ctx context.Context, c client.Client, namespace string) (show.Listing, error) {
	var l show.Listing
	var backups api.BackupList
	if err := paged.All(ctx, c, &backups, client.InNamespace(namespace)); err != nil {
		return l, exit.Explain("list backups", err)
	}
	var restores api.RestoreList
	if err := paged.All(ctx, c, &restores, client.InNamespace(namespace)); err != nil {
		return l, exit.Explain("list restores", err)
	}
	var schedules api.BackupScheduleList
	// Helm does not renew CRDs: with those of an older version there are backups,
	// and no schedules.
	if err := paged.All(ctx, c, &schedules, client.InNamespace(namespace)); exit.UnknownKind(err) {
		e.note("schedules are not shown: this cluster does not know their kind; apply charts/cht-backup/crds anew")
	} else if err != nil {
		return l, exit.Explain("list schedules", err)
	}
	heads, err := e.kept(ctx, c, namespace)
	if apierrors.IsForbidden(err) {
		e.note("records of deleted backups are not shown: you may not list secrets in %s", e.SystemNamespace)
	} else if err != nil {
		return l, exit.Explain("list records", err)
	}
	return show.Listing{Backups: backups.Items, Restores: restores.Items, Schedules: schedules.Items, Records: show.WithoutBackup(heads, backups.Items)}, nil
}

// objects gives a listing as one List.
func objects(l show.Listing) (*corev1.List, error) {
	list := &corev1.List{Items: []runtime.RawExtension{}}
	add := func(o runtime.Object) error {
		if err := typed(o); err != nil {
			return err
		}
		o.(client.Object).SetManagedFields(nil) //nolint:forcetypeassert // our kinds only
		raw, err := json.Marshal(o)
		list.Items = append(list.Items, runtime.RawExtension{Raw: raw})
		return err
	}
	for i := range l.Backups {
		if err := add(&l.Backups[i]); err != nil {
			return nil, fmt.Errorf("backup %s: %w", l.Backups[i].Name, err)
		}
	}
	for _, h := range l.Records {
		if err := add(fromRecord(h)); err != nil {
			return nil, fmt.Errorf("record %s: %w", h.Secret, err)
		}
	}
	for i := range l.Restores {
		if err := add(&l.Restores[i]); err != nil {
			return nil, fmt.Errorf("restore %s: %w", l.Restores[i].Name, err)
		}
	}
	for i := range l.Schedules {
		if err := add(&l.Schedules[i]); err != nil {
			return nil, fmt.Errorf("schedule %s: %w", l.Schedules[i].Name, err)
		}
	}
	return list, nil
}

func fromRecord(h catalog.Head) *api.Backup {
	b := &api.Backup{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.Namespace, Name: h.Name, UID: h.UID, Annotations: map[string]string{recordOnly: "true"}},
		Spec:       api.BackupSpec{AllowedNamespaces: h.AllowedNamespaces},
		Status:     api.BackupStatus{Phase: api.PhaseCompleted, Record: h.Secret},
	}
	if cut, err := time.Parse(time.RFC3339, h.CutTime); err == nil {
		b.Status.CutTime = &metav1.MicroTime{Time: cut}
	}
	return b
}
