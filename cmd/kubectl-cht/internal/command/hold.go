package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// longestReason keeps a hold's reason to what a table and a line can show.
const longestReason = 500

func holdCommand(env *Env) *cobra.Command {
	var reason, uid string
	cmd := &cobra.Command{
		Use:   "hold [backup] NAME [-n NAMESPACE] [--reason TEXT]",
		Short: "Keep a backup until it is released",
		Long: `Keep a backup until it is released: no schedule's retention removes it, and
` + "`kubectl cht delete`" + ` refuses to. Whoever deletes the Backup all the same, by
kubectl, leaves its snapshots and its record, which are held then.

` + exit.Help,
		Example: `  kubectl cht hold before-upgrade -n medic --reason "audit of March"`,
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				reason = "held by kubectl cht hold on " + env.Now().UTC().Format("2006-01-02")
			}
			if len(reason) > longestReason {
				return exit.Errorf(exit.Usage, "--reason has %d bytes, at most %d are allowed; say it shorter", len(reason), longestReason)
			}
			return env.setHold(cmd.Context(), args, types.UID(uid), reason)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "Why, for whoever wonders")
	cmd.Flags().StringVar(&uid, "uid", "", "UID of the backup, where several of one name are kept")
	return cmd
}

func releaseCommand(env *Env) *cobra.Command {
	var uid string
	cmd := &cobra.Command{
		Use:   "release [backup] NAME [-n NAMESPACE]",
		Short: "End the hold of a backup",
		Long: `End the hold of a backup. From then on it may be deleted, by the retention of its
schedule, too. It deletes nothing by itself.

` + exit.Help,
		Example: `  kubectl cht release before-upgrade -n medic`,
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.setHold(cmd.Context(), args, types.UID(uid), "")
		},
	}
	cmd.Flags().StringVar(&uid, "uid", "", "UID of the backup, where several of one name are kept")
	return cmd
}

// setHold holds a backup for a reason, or releases it for "".
func (e *Env) setHold(ctx context.Context, args []string, uid types.UID, why string) error {
	kind, name, err := named(args)
	if err != nil {
		return err
	}
	if kind != "" && kind != "backup" {
		return exit.Errorf(exit.Usage, "only backups are held and released; leave the kind away")
	}
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	key := client.ObjectKey{Namespace: namespace, Name: name}
	k, err := e.findKept(ctx, c, key, uid)
	if err != nil {
		return err
	}
	was, held := k.hold()
	if why == "" && !held {
		return writeLines(e.Out, []string{fmt.Sprintf("backup %s is not held", key)})
	}
	doing := "hold"
	if why == "" {
		doing = "release"
	}
	if k.backup == nil {
		err = e.records(c).Hold(ctx, k.record.Secret, why)
		if errors.Is(err, catalog.ErrNotFound) {
			return exit.Errorf(exit.Refused, "%s backup %s: its record has just been deleted", doing, key)
		}
	} else {
		err = holdBackup(ctx, c, k.backup, why)
	}
	if err != nil {
		return exit.Explain(fmt.Sprintf("%s backup %s", doing, key), err)
	}
	if why == "" {
		return writeLines(e.Out, []string{fmt.Sprintf("backup %s is released; it was held: %s", key, show.OneLine(was))})
	}
	return writeLines(e.Out, []string{fmt.Sprintf("backup %s is held: %s", key, show.OneLine(why))})
}

// holdBackup changes that very Backup, and no other of its name.
func holdBackup(ctx context.Context, c client.Client, b *api.Backup, why string) error {
	if b.DeletionTimestamp != nil && why != "" {
		return exit.Errorf(exit.Refused, "hold backup %s/%s: it is being deleted already, which nothing takes back", b.Namespace, b.Name)
	}
	// A UID in a patch is a precondition.
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": b.UID, "annotations": map[string]any{api.HoldAnnotation: orNull(why)}}})
	if err != nil {
		return err
	}
	err = c.Patch(ctx, b, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsConflict(err) {
		return exit.Errorf(exit.Refused, "backup %s/%s was replaced by another of its name meanwhile; look again with `kubectl cht list -n %s`", b.Namespace, b.Name, b.Namespace)
	}
	return err
}

// orNull is what a merge patch takes for no value.
func orNull(value string) any {
	if value == "" {
		return nil
	}
	return value
}
