package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// grant allows the source to be restored into the target.
type grant struct {
	// give allows it. A dry run only tries whether the user may.
	give func(ctx context.Context, dryRun bool) error
	// take takes back what give changed, which may be nothing.
	take func(ctx context.Context) error
}

// noGrant is for a source that allows the target already.
var noGrant = grant{
	give: func(context.Context, bool) error { return nil },
	take: func(context.Context) error { return nil },
}

// findSource names the backup as the controller will, or refuses: a Backup of
// that name counts before any record.
func (e *Env) findSource(ctx context.Context, c client.Client, from api.BackupReference, to string) (grant, error) {
	what := from.Namespace + "/" + from.Name
	var b api.Backup
	err := c.Get(ctx, client.ObjectKey{Namespace: from.Namespace, Name: from.Name}, &b)
	switch {
	case err == nil && (from.UID == "" || from.UID == b.UID):
		if b.DeletionTimestamp != nil {
			return grant{}, exit.Errorf(exit.Refused, "backup %s is being deleted with its snapshots; choose another (`kubectl cht list -n %s`)", what, from.Namespace)
		}
		if b.Status.Phase != api.PhaseCompleted {
			return grant{}, exit.Errorf(exit.Refused, "backup %s is %s, not Completed; wait for it, or choose another (`kubectl cht list -n %s`)", what, orAccepted(b.Status.Phase), from.Namespace)
		}
		if to == from.Namespace || allows(b.Spec.AllowedNamespaces, to) {
			return noGrant, nil
		}
		return grantOnBackup(c, &b, to), nil
	case err != nil && !apierrors.IsNotFound(err):
		return grant{}, exit.Explain("get backup "+what, err)
	}

	heads, err := e.kept(ctx, c, from.Namespace)
	store := e.records(c)
	if apierrors.IsForbidden(err) {
		if to == from.Namespace {
			// The controller looks for itself, and needs no grant here.
			e.note("there is no Backup %s, and you may not list records in %s; leaving it to the controller to find the record", what, e.SystemNamespace)
			return noGrant, nil
		}
		return grant{}, exit.Errorf(exit.Refused, "there is no Backup %s, and you may not look for its record in %s: %w; ask whoever administers cht-backup to run this command", what, e.SystemNamespace, err)
	} else if err != nil {
		return grant{}, exit.Explain("look for the record of backup "+what, err)
	}
	head, err := pick(heads, from)
	if err != nil {
		return grant{}, err
	}
	if to == from.Namespace || allows(head.AllowedNamespaces, to) {
		return noGrant, nil
	}
	return grantOnRecord(c, store, head, to), nil
}

// pick gives the one record that is meant.
func pick(heads []catalog.Head, from api.BackupReference) (catalog.Head, error) {
	named := slices.DeleteFunc(slices.Clone(heads), func(h catalog.Head) bool { return h.Namespace != from.Namespace || h.Name != from.Name })
	meant := slices.DeleteFunc(slices.Clone(named), func(h catalog.Head) bool { return from.UID != "" && h.UID != from.UID })
	what := from.Namespace + "/" + from.Name
	switch {
	case len(meant) == 1:
		return meant[0], nil
	case len(named) == 0:
		return catalog.Head{}, exit.Errorf(exit.Refused, "backup %s does not exist, and no record of it is kept; see what there is with `kubectl cht list -A`", what)
	case len(meant) == 0:
		return catalog.Head{}, exit.Errorf(exit.Refused, "backup %s has no record with UID %s; there is: %s", what, from.UID, uids(named))
	default:
		return catalog.Head{}, exit.Errorf(exit.Refused, "%d backups named %s are kept; choose one with --uid: %s", len(meant), what, uids(meant))
	}
}

func uids(heads []catalog.Head) string {
	var which []string
	for _, h := range heads {
		which = append(which, fmt.Sprintf("%s (cut %s)", h.UID, h.CutTime))
	}
	return strings.Join(which, ", ")
}

func allows(allowed []string, namespace string) bool {
	return slices.Contains(allowed, namespace) || slices.Contains(allowed, "*")
}

// grantOnBackup adds to the list, and to nothing but the list that was read: two
// who grant at once must not undo each other.
func grantOnBackup(c client.Client, b *api.Backup, to string) grant {
	// change patches the list, unless it is as it shall be.
	change := func(ctx context.Context, edit func([]string) []string, opts ...client.PatchOption) (changed bool, err error) {
		err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
			var now api.Backup
			if err := c.Get(ctx, client.ObjectKeyFromObject(b), &now); err != nil {
				return err
			}
			if now.UID != b.UID {
				return exit.Errorf(exit.Refused, "backup %s/%s was replaced by another of its name meanwhile; look again with `kubectl cht list -n %s`", b.Namespace, b.Name, b.Namespace)
			}
			list := edit(slices.Clone(now.Spec.AllowedNamespaces))
			if changed = !slices.Equal(list, now.Spec.AllowedNamespaces); !changed {
				return nil
			}
			base := now.DeepCopy()
			now.Spec.AllowedNamespaces = list
			return c.Patch(ctx, &now, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}), opts...)
		})
		return changed, err
	}
	gave := false
	return grant{
		give: func(ctx context.Context, dryRun bool) (err error) {
			add := func(list []string) []string {
				if allows(list, to) {
					return list
				}
				return append(list, to)
			}
			if dryRun {
				_, err = change(ctx, add, client.DryRunAll)
			} else {
				gave, err = change(ctx, add)
			}
			return exit.Explain(fmt.Sprintf("allow backup %s/%s to be restored into %s (spec.allowedNamespaces)", b.Namespace, b.Name, to), err)
		},
		take: func(ctx context.Context) error {
			if !gave {
				return nil
			}
			_, err := change(ctx, func(list []string) []string {
				return slices.DeleteFunc(list, func(n string) bool { return n == to })
			})
			return err
		},
	}
}

// grantOnRecord writes the list anew. A record has no other writer once its
// Backup is gone, so that what was read just before still holds.
func grantOnRecord(c client.Client, store catalog.Store, head catalog.Head, to string) grant {
	return grant{
		give: func(ctx context.Context, dryRun bool) error {
			store := store
			if dryRun {
				store.Client = client.NewDryRunClient(c)
			}
			err := store.Allow(ctx, head.Secret, append(slices.Clone(head.AllowedNamespaces), to))
			return exit.Explain(fmt.Sprintf("allow the record of backup %s/%s to be restored into %s", head.Namespace, head.Name, to), err)
		},
		take: func(ctx context.Context) error { return store.Allow(ctx, head.Secret, head.AllowedNamespaces) },
	}
}
