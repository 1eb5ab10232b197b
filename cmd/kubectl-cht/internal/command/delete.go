package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
)

// deletion is what the flags say.
type deletion struct {
	uid     types.UID
	yes     bool
	timeout time.Duration
}

func deleteCommand(env *Env) *cobra.Command {
	var d deletion
	var uid string
	cmd := &cobra.Command{
		Use:   "delete backup NAME [-n NAMESPACE] [--uid UID]",
		Short: "Delete a backup with its snapshots and its record",
		Long: `Delete a backup with its snapshots and its record, for good. The name must be
typed again, or --yes given. A backup that is held is not deleted; release it first.

Of a backup that is listed as "record only" the snapshots are removed from the
storage and then the record. No controller does that: it needs the right to delete
VolumeSnapshotContents and the Secrets of the controller's namespace; EBS snapshots
are deleted with your own AWS credentials. A record that was imported from elsewhere
is removed without its snapshots.

` + exit.Help,
		Example: `  kubectl cht delete backup nightly-20260301t0230 -n medic
  kubectl cht delete backup nightly -n medic --uid 0f1e2d3c-0000-4000-8000-000000000000 --yes`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := named(args)
			if err != nil {
				return err
			}
			if kind != "backup" {
				return exit.Errorf(exit.Usage, "only backups are deleted here; use: kubectl cht delete backup NAME, and kubectl for Restores")
			}
			d.uid = types.UID(uid)
			return env.delete(cmd.Context(), name, d)
		},
	}
	cmd.Flags().BoolVarP(&d.yes, "yes", "y", false, "Do not ask")
	cmd.Flags().StringVar(&uid, "uid", "", "UID of the backup, where several of one name are kept")
	cmd.Flags().DurationVar(&d.timeout, "timeout", 5*time.Minute, "Of a record: how long to wait for the storage; 0 waits for as long as it takes")
	return cmd
}

func (e *Env) delete(ctx context.Context, name string, d deletion) error {
	if !d.yes && !e.canAsk() {
		return exit.Errorf(exit.Usage, "backup %s is not deleted: nobody can be asked here; give --yes", name)
	}
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	k, err := e.findKept(ctx, c, client.ObjectKey{Namespace: namespace, Name: name}, d.uid)
	if err != nil {
		return err
	}
	if why, held := k.hold(); held {
		return isHeld(namespace, name, why, d.uid)
	}
	if k.backup == nil {
		return e.deleteRecord(ctx, c, k.record, d)
	}
	return e.deleteBackup(ctx, c, k.backup, d)
}

func isHeld(namespace, name, why string, uid types.UID) error {
	which := ""
	if uid != "" {
		which = " --uid " + string(uid)
	}
	return exit.Errorf(exit.Refused, "backup %s/%s is held (%s) and not deleted; release it first: kubectl cht release %s -n %s%s", namespace, name, show.OneLine(why), name, namespace, which)
}

func (e *Env) deleteBackup(ctx context.Context, c client.Client, b *api.Backup, d deletion) error {
	what, goes := ", its snapshots and its record for good", "is being deleted with its snapshots"
	if until := b.Status.LockedUntil; until != nil && until.After(e.Now()) {
		end := until.UTC().Format("2006-01-02 15:04:05 UTC")
		what += fmt.Sprintf(". They are locked until %s: until then nothing of it is deleted, and the Backup stays in deletion", end)
		goes = fmt.Sprintf("is being deleted, which waits until %s: its snapshots or copies are locked. It cannot be taken back; what waits for what is told by: kubectl cht describe backup %s -n %s", end, b.Name, b.Namespace)
	}
	if b.Spec.DeletionPolicy == api.DeletionRetain && b.Status.Phase == api.PhaseCompleted {
		what = " and leaves its snapshots and its record, since its deletionPolicy is Retain"
		goes = fmt.Sprintf("is being deleted; its snapshots and its record stay (deletionPolicy Retain). Delete those with: kubectl cht delete backup %s -n %s --uid %s", b.Name, b.Namespace, b.UID)
	}
	if !d.yes {
		cut := "without a cut"
		if b.Status.CutTime != nil {
			cut = "cut " + b.Status.CutTime.UTC().Format("2006-01-02 15:04:05 UTC")
		}
		if err := e.confirm(ctx, b.Namespace, b.Name, fmt.Sprintf("This deletes backup %s/%s (%s)%s.", b.Namespace, b.Name, cut, what)); err != nil {
			return err
		}
	}
	// That one and no other, and as it was read last: it may have been replaced, or held,
	// while the user typed.
	uid, policy := b.UID, b.Spec.DeletionPolicy
	doing := fmt.Sprintf("delete backup %s/%s", b.Namespace, b.Name)
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
			return err
		}
		if why, held := (kept{backup: b}).hold(); held {
			return isHeld(b.Namespace, b.Name, why, d.uid)
		}
		if b.UID != uid || b.Spec.DeletionPolicy != policy {
			return exit.Errorf(exit.Refused, "%s: it was changed meanwhile, or replaced by another of its name; look again with `kubectl cht describe backup %s -n %s`", doing, b.Name, b.Namespace)
		}
		return c.Delete(ctx, b, client.Preconditions{UID: &uid, ResourceVersion: &b.ResourceVersion})
	})
	if apierrors.IsConflict(err) {
		return exit.Errorf(exit.Refused, "%s: %w; it is being changed all the time, try again", doing, err)
	}
	if err != nil {
		return exit.Explain(doing, err)
	}
	return writeLines(e.Out, []string{fmt.Sprintf("backup %s/%s %s", b.Namespace, b.Name, goes)})
}

// confirm has the backup's name typed.
func (e *Env) confirm(ctx context.Context, namespace, name, question string) error {
	got, err := e.ask(ctx, question+"\nType the backup's name to go on: ")
	switch {
	case err != nil:
		return exit.Errorf(exit.Interrupted, "interrupted; backup %s/%s is not deleted", namespace, name)
	case got != name:
		return exit.Errorf(exit.Usage, "%q is not the backup's name; backup %s/%s is not deleted", got, namespace, name)
	}
	return nil
}
