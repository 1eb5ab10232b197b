package command

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// atOnce manifests are read at the same time.
const atOnce = 16

func catalogListCommand(env *Env) *cobra.Command {
	var where elsewhere
	var all bool
	var output format
	cmd := &cobra.Command{
		Use: "list [URL[/NAMESPACE]] [-n NAMESPACE | -A]", Aliases: []string{"ls"}, Short: "List the backups in a catalog, or those that tags of EBS snapshots tell of",
		Long: `List the backups in a catalog, straight from the bucket: no cluster is needed. The
names of its objects are enough; -o wide, json and yaml also read each backup's
manifest, and tell of those that are damaged.

With --from-tags REGION no catalog is needed either: sets of EBS snapshots are put
together from their tags, complete ones and broken ones with the reason.

` + exit.Help,
		Example: `  kubectl cht catalog list --catalog s3://my-backups/cht -A
  kubectl cht catalog list s3://my-backups/cht/medic -o wide
  kubectl cht catalog list --from-tags eu-west-1 -A`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			argument := ""
			if len(args) > 0 {
				argument = args[0]
			}
			if where.region != "" {
				return env.listTags(cmd.Context(), &where, argument, all, &output)
			}
			return env.listCatalog(cmd.Context(), &where, argument, all, &output)
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "List those of all namespaces")
	where.add(cmd.Flags())
	output.add(cmd.Flags(), "json", "yaml", "wide")
	return cmd
}

func (e *Env) listCatalog(ctx context.Context, where *elsewhere, argument string, all bool, output *format) error {
	place, err := e.place(ctx, where.catalog, argument)
	if err != nil {
		return err
	}
	b, scope, err := e.findCatalog(ctx, place)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // only read
	namespace, err := e.under(scope, all)
	if err != nil {
		return err
	}
	heads, err := e.heads(ctx, b, namespace)
	if err != nil {
		return err
	}
	listing := offsite.Listing{Version: 1, Source: b.URL(), Backups: []offsite.Backup{}}
	for _, h := range heads {
		if scope.Name == "" || scope.Name == h.Name {
			listing.Backups = append(listing.Backups, offsite.OfHead(h))
		}
	}
	if output.value != "" {
		if err := e.readManifests(ctx, b, listing.Backups); err != nil {
			return err
		}
	}
	offsite.Sort(listing.Backups)
	return e.printCatalog(listing, namespace, output)
}

// heads lists a catalog, and notes what in it is none of ours.
func (e *Env) heads(ctx context.Context, b *bucket.Bucket, namespace string) ([]bucket.Head, error) {
	var heads []bucket.Head
	ignored, err := b.Heads(ctx, namespace, func(h bucket.Head) error {
		heads = append(heads, h)
		return ctx.Err()
	})
	if text := ignored.String(); text != "" {
		e.note("%s", show.OneLine(text))
	}
	return heads, explainBucket(ctx, "list the catalog", err)
}

// readManifests fills in what the manifests tell, or why one is broken.
func (e *Env) readManifests(ctx context.Context, b *bucket.Bucket, backups []offsite.Backup) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range backups {
		group.Go(func() error {
			head, err := bucket.ParseKey(backups[i].Key)
			if err != nil {
				return err
			}
			m, err := b.Manifest(ctx, head)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				backups[i].Broken = []string{err.Error()}
			default:
				backups[i] = offsite.OfManifest(m)
			}
			return nil
		})
	}
	return explainBucket(ctx, "read the manifests", group.Wait())
}

func (e *Env) printCatalog(l offsite.Listing, namespace string, output *format) error {
	switch output.value {
	case "json":
		raw, err := json.MarshalIndent(l, "", "  ")
		return written(e.Out, append(raw, '\n'), err)
	case "yaml":
		raw, err := yaml.Marshal(l)
		return written(e.Out, raw, err)
	}
	if len(l.Backups) == 0 {
		of := "; see all with -A"
		if namespace == "" {
			of = ""
		} else {
			of = " of namespace " + namespace + of
		}
		e.note("no backups%s: %s", of, l.Source)
		return nil
	}
	printer := printers.NewTablePrinter(printers.PrintOptions{Wide: output.value == "wide"})
	if err := printer.PrintObj(show.CatalogTable(l, e.Now()), e.Out); err != nil {
		return exit.Errorf(exit.Failed, "write the output: %w", err)
	}
	return nil
}

func (e *Env) listTags(ctx context.Context, where *elsewhere, argument string, all bool, output *format) error {
	namespace := argument
	if argument == "" {
		var err error
		if namespace, err = e.under(bucket.Scope{}, all); err != nil {
			return err
		}
	} else if err := checkSource("the namespace", argument); err != nil {
		return err
	}
	sets, err := e.tagSets(ctx, where.region, namespace)
	if err != nil {
		return err
	}
	listing := offsite.Listing{Version: 1, Source: "tags of EBS snapshots in " + where.region, Backups: []offsite.Backup{}}
	for _, s := range sets {
		listing.Backups = append(listing.Backups, offsite.OfSet(s))
	}
	offsite.Sort(listing.Backups)
	return e.printCatalog(listing, namespace, output)
}

// tagSets puts the sets of a Region together, of one namespace or of all for "".
func (e *Env) tagSets(ctx context.Context, region, namespace string) ([]tags.Set, error) {
	if err := ec2Region(region); err != nil {
		return nil, err
	}
	snapshots, err := e.Snapshots(ctx, region, namespace)
	if ctx.Err() != nil {
		return nil, exit.Errorf(exit.Interrupted, "interrupted")
	}
	if err != nil {
		return nil, exit.Errorf(exit.Refused, "%w", err)
	}
	sets, strays := tags.Reassemble(snapshots)
	for _, s := range strays[:min(len(strays), 10)] {
		e.note("snapshot %s is of no set: %s", show.OneLine(s.Snapshot.ID), show.OneLine(s.Why))
	}
	if more := len(strays) - 10; more > 0 {
		e.note("and %d more snapshots are of no set", more)
	}
	kept := sets[:0]
	for _, s := range sets {
		if namespace == "" || s.Namespace == namespace {
			kept = append(kept, s)
		}
	}
	return kept, nil
}
