package command

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/preflight"
)

// offsiteFlags are those of a restore of what is kept outside the cluster.
type offsiteFlags struct {
	where elsewhere
	which choice
	with  completing
	moved movedFlags
}

func (f *offsiteFlags) add(flags *pflag.FlagSet) {
	f.which.add(flags)
	f.with.add(flags)
	f.moved.add(flags)
	flags.StringVar(&f.where.region, "from-tags", "", "Without a catalog: put the backup together from the tags of the EBS snapshots in this AWS `REGION`; needs --objects")
}

// offsiteNames are the flags that mean nothing for a backup of this cluster.
var offsiteNames = []string{"as-of", "cluster", "identity", "objects", "credentials-from", "accept-missing", "values", "write-values"}

// isOffsite tells whether the source lies outside the cluster.
func (f *restoreFlags) isOffsite() bool { return offsite.IsURL(f.from) || f.offsite.where.region != "" }

// checkOffsite refuses flags that do not go together, before anything is read.
func (f *restoreFlags) checkOffsite() error {
	if !f.isOffsite() {
		for _, name := range offsiteNames {
			if f.given(name) {
				return exit.Errorf(exit.Usage, "--%s is for a backup outside the cluster; give its URL with --from, or leave --%s out", name, name)
			}
		}
		return nil
	}
	if f.offsite.with.identity.file == "-" && (f.remaps.file == "-" || f.asks()) {
		return exit.Errorf(exit.Usage, "--identity - takes stdin, which is needed for something else too; put the identity into a file, or give --yes or --remap FILE")
	}
	if f.given("to") {
		if err := checkNamespace("--to", f.to); err != nil {
			return err
		}
	}
	return f.conflicts()
}

// fetch reads the backup that is meant from outside the cluster, and puts its name
// into the flags.
func (e *Env) fetch(ctx context.Context, f *restoreFlags) (*offsiteKept, error) {
	kept, err := e.readOffsite(ctx, &f.offsite.where, &f.offsite.which, &f.offsite.with, f.uid, f.from)
	if err != nil {
		return nil, err
	}
	if err := e.move(f, &kept); err != nil {
		return nil, err
	}
	f.from, f.uid = kept.record.Namespace+"/"+kept.record.Name, string(kept.record.UID)
	return &kept, nil
}

// sourceOf names the backup as the controller will, or refuses. One from outside the
// cluster will be imported, once the cluster has been found to lack nothing.
func (e *Env) sourceOf(ctx context.Context, c client.WithWatch, f *restoreFlags, kept *offsiteKept, restore *api.Restore) (grant, error) {
	if kept == nil {
		return e.findSource(ctx, c, restore.Spec.Source, restore.Namespace)
	}
	e.locate(ctx, c, restore.Namespace) // who restores is who must have the record
	if err := e.preflight(ctx, c, f, kept, restore); err != nil {
		return grant{}, err
	}
	live, err := isLive(ctx, c, kept.record)
	if err != nil {
		return grant{}, err
	}
	if live {
		e.note("backup %s is in this cluster itself, and taken from there", f.from)
		return e.findSource(ctx, c, restore.Spec.Source, restore.Namespace)
	}
	if err := e.mergeCredentials(ctx, c, &f.offsite.with, kept); err != nil {
		return grant{}, err
	}
	if err := e.suffices(ctx, c, &f.offsite.with, kept, restore.Namespace); err != nil {
		return grant{}, err
	}
	needed := needsFiles(kept.record, restore.Spec.DataFrom)
	if needed {
		if err := e.readsFiles(ctx, c, kept); err != nil {
			return grant{}, err
		}
	}
	kept.record.ImportedFrom = kept.source
	return both(e.grantKeys(c, kept, needed), e.grantByImport(c, kept.record, restore.Namespace)), nil
}

// preflight refuses a cluster that lacks something, and tells all of it at once.
func (e *Env) preflight(ctx context.Context, c client.Client, f *restoreFlags, kept *offsiteKept, restore *api.Restore) error {
	needs := preflight.Of(kept.record, restore.Spec.Remap, restore.Spec.DataFrom)
	needs.Namespace, needs.Create, needs.Running = restore.Namespace, f.createNamespace && !f.running(), f.running()
	if e.Version != "dev" {
		needs.Version = e.Version
	}
	seen, err := preflight.Look(ctx, c, e.SystemNamespace, restore.Namespace)
	if err != nil {
		return exit.Explain("see what the cluster has", err)
	}
	if seen.Held, err = findCHT(ctx, c, restore.Namespace); apierrors.IsForbidden(err) {
		seen.Unseen = append(seen.Unseen, preflight.SeeNamespace)
	} else if err != nil {
		return exit.Explain("look for a CHT in namespace "+restore.Namespace, err)
	}
	problems, notes := preflight.Judge(needs, seen)
	for _, n := range notes {
		e.note("%s", n)
	}
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return exit.Errorf(exit.Refused, "%s. Nothing was made", problems[0])
	}
	var lines []string
	for _, p := range problems {
		lines = append(lines, "  - "+p.String())
	}
	return exit.Errorf(exit.Refused, "this cluster lacks %d things for the restore of backup %s; nothing was made:\n%s", len(problems), f.from, strings.Join(lines, "\n"))
}

func catalogRestoreCommand(env *Env) *cobra.Command {
	f := &restoreFlags{}
	cmd := &cobra.Command{
		Use:   "restore URL/NAMESPACE[/NAME] --to NAMESPACE",
		Short: "Import a backup and restore it: the same as kubectl cht restore --from URL",
		Long: `Import a backup from outside the cluster and restore it, as
` + "`kubectl cht restore --from URL`" + ` does: with the same flags, checks and exit codes. Nothing
is made in a cluster that lacks something it needs.

` + exit.Help,
		Example: `  kubectl cht catalog restore s3://my-backups/cht/medic --identity cht-catalog.key --to medic --go-live
  kubectl cht catalog restore medic/nightly --catalog file:///mnt/copy/cht --to medic-clone`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.from = args[0]
			if f.offsite.where.region == "" {
				place, err := env.place(cmd.Context(), f.offsite.where.catalog, args[0])
				if err != nil {
					return err
				}
				f.from, f.offsite.where.catalog = place, ""
			}
			return env.runRestore(cmd.Context(), f)
		},
	}
	f.flags(cmd.Flags())
	cmd.Flags().StringVar(&f.offsite.where.catalog, "catalog", "", "URL of the catalog, where the argument has none (default: "+catalogVariable+", else what the controller is set to)")
	return cmd
}
