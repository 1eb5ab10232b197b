package command

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

func repoCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "repo", Short: "Copies of files kept in a catalog: list, check, get",
		Long: `Look at the repositories in a catalog: where the File method keeps CouchDB's files,
compressed and sealed, each only once. There is one for each instance. Listing needs
your own credentials for the bucket alone; checking, and printing one database, need the
repository's key as well.

` + exit.Help,
		Example: `  kubectl cht repo list s3://my-backups/cht
  kubectl cht repo check s3://my-backups/cht/medic --identity cht-catalog.key --read-data
  kubectl cht repo get s3://my-backups/cht/medic medic --identity cht-catalog.key > docs.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(repoListCommand(env), repoCheckCommand(env), repoGetCommand(env))
	return cmd
}

func repoListCommand(env *Env) *cobra.Command {
	var catalog string
	var output format
	cmd := &cobra.Command{
		Use: "list [URL[/NAMESPACE]]", Aliases: []string{"ls"}, Short: "List the repositories of files in a catalog",
		Long: `List the repositories in a catalog with what can be seen without their keys: whose
backups they have, how many, how much is stored, and whether the key lies beside them,
sealed to the catalog's recipients. A key that is in its cluster alone is lost with it,
and with it the data.

` + exit.Help,
		Example: `  kubectl cht repo list
  kubectl cht repo list s3://my-backups/cht/medic -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			return env.listRepositories(cmd.Context(), catalog, append(args, "")[0], &output)
		},
	}
	addCatalogFlag(cmd, &catalog)
	output.add(cmd.Flags(), "json", "yaml")
	return cmd
}

func addCatalogFlag(cmd *cobra.Command, catalog *string) {
	cmd.Flags().StringVar(catalog, "catalog", "", "URL of the catalog (default: "+catalogVariable+", else what the controller is set to)")
}

// seen is a catalog's repositories.
type seen struct {
	bucket *bucket.Bucket
	heads  []bucket.Head
	list   offsite.Repositories
}

// repositories looks at those of a place, or of a namespace in it. The bucket is to be
// closed.
func (e *Env) repositories(ctx context.Context, catalog, argument string) (*seen, error) {
	place, err := e.place(ctx, catalog, argument)
	if err != nil {
		return nil, err
	}
	b, scope, err := e.findCatalog(ctx, place)
	if err != nil {
		return nil, err
	}
	s := &seen{bucket: b, list: offsite.Repositories{Version: 1, Source: b.URL(), Repositories: []offsite.Repository{}}}
	if s.heads, err = e.heads(ctx, b, ""); err == nil {
		err = e.look(ctx, s, scope.Namespace)
	}
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	return s, nil
}

func (e *Env) look(ctx context.Context, s *seen, namespace string) error {
	ids, err := repo.List(ctx, s.bucket.Objects())
	if err != nil {
		return explainBucket(ctx, "list the repositories", err)
	}
	for _, id := range ids {
		one, err := repo.Look(ctx, s.bucket.Objects(), id)
		if err != nil {
			return explainBucket(ctx, "look at repository "+id, err)
		}
		if r := offsite.OfRepository(one, s.heads); namespace == "" || slices.Contains(r.Namespaces, namespace) {
			s.list.Repositories = append(s.list.Repositories, r)
		}
	}
	return nil
}

func (e *Env) listRepositories(ctx context.Context, catalog, argument string, output *format) error {
	s, err := e.repositories(ctx, catalog, argument)
	if err != nil {
		return err
	}
	defer s.bucket.Close() //nolint:errcheck // only read
	if output.objects() {
		return e.printAny(s.list, output)
	}
	if len(s.list.Repositories) == 0 {
		e.note("no repositories of files: %s", s.list.Source)
		return nil
	}
	printer := printers.NewTablePrinter(printers.PrintOptions{})
	if err := printer.PrintObj(show.RepositoryTable(s.list.Repositories, e.Now()), e.Out); err != nil {
		return exit.Errorf(exit.Failed, "write the output: %w", err)
	}
	return nil
}
