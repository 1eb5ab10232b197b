package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

func deleteCommand(env *Env) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete backup NAME [-n NAMESPACE]",
		Short: "Delete a backup with its snapshots and its record",
		Long: `Delete a backup with its snapshots and its record, for good. The name must be
typed again, or --yes given.

` + exit.Help,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := named(args)
			if err != nil {
				return err
			}
			if kind != "backup" {
				return exit.Errorf(exit.Usage, "only backups are deleted here; use: kubectl cht delete backup NAME, and kubectl for Restores")
			}
			return env.deleteBackup(cmd.Context(), name, yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do not ask")
	return cmd
}

func (e *Env) deleteBackup(ctx context.Context, name string, yes bool) error {
	if !yes && !e.canAsk() {
		return exit.Errorf(exit.Usage, "backup %s is not deleted: nobody can be asked here; give --yes", name)
	}
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	var b api.Backup
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &b); err != nil {
		return exit.Explain(fmt.Sprintf("get backup %s/%s", namespace, name), err)
	}
	if !yes {
		if err := e.confirm(ctx, &b); err != nil {
			return err
		}
	}
	// That one and no other: it may have been replaced while the user typed.
	uid := b.UID
	if err := c.Delete(ctx, &b, client.Preconditions{UID: &uid}); err != nil {
		return exit.Explain(fmt.Sprintf("delete backup %s/%s", namespace, name), err)
	}
	return writeLines(e.Out, []string{fmt.Sprintf("backup %s/%s is being deleted with its snapshots", namespace, name)})
}

func (e *Env) confirm(ctx context.Context, b *api.Backup) error {
	cut := "without a cut"
	if b.Status.CutTime != nil {
		cut = "cut " + b.Status.CutTime.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	got, err := e.ask(ctx, fmt.Sprintf("This deletes backup %s/%s (%s), its snapshots and its record for good.\nType the backup's name to go on: ", b.Namespace, b.Name, cut))
	switch {
	case err != nil:
		return exit.Errorf(exit.Interrupted, "interrupted; backup %s/%s is not deleted", b.Namespace, b.Name)
	case got != b.Name:
		return exit.Errorf(exit.Usage, "%q is not the backup's name; backup %s/%s is not deleted", got, b.Namespace, b.Name)
	}
	return nil
}
