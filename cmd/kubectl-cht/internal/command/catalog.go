package command

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
)

// catalogVariable names the environment variable that stands in for --catalog.
const catalogVariable = "CHT_CATALOG"

func catalogCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "catalog", Short: "Backups kept outside the cluster: keys, list, show, import, restore",
		Long: `Work with the catalog, the bucket in which the records of backups outlive their
cluster. It is read with your own credentials for the bucket (AWS_PROFILE and the
like); no cluster is needed but for import and restore.

A backup in it is named URL/NAMESPACE/NAME, where URL is the catalog's: s3://BUCKET/
PREFIX, gs://…, azblob://… or file:///DIRECTORY. NAMESPACE/NAME alone is one of the
catalog in --catalog, in ` + catalogVariable + `, or in the controller's settings.

` + exit.Help,
		Example: `  kubectl cht catalog keygen -o cht-catalog.key
  kubectl cht catalog list s3://my-backups/cht -A -o wide
  kubectl cht catalog restore s3://my-backups/cht/medic --identity cht-catalog.key --to medic --go-live`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(keygenCommand(env), catalogListCommand(env), catalogShowCommand(env), catalogImportCommand(env), catalogRestoreCommand(env))
	return cmd
}

// elsewhere are the flags that say where backups outside the cluster are.
type elsewhere struct {
	catalog string
	// region is that of --from-tags.
	region string
}

func (f *elsewhere) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.catalog, "catalog", "", "URL of the catalog (default: "+catalogVariable+", else what the controller is set to)")
	flags.StringVar(&f.region, "from-tags", "", "Without a catalog: put backups together from the tags of the EBS snapshots in this AWS `REGION`")
}

// place gives the URL that an argument means: itself, or what it is in the catalog.
func (e *Env) place(ctx context.Context, flag, argument string) (string, error) {
	if offsite.IsURL(argument) {
		if flag != "" {
			return "", exit.Errorf(exit.Usage, "%s is a URL already; leave --catalog out, or give NAMESPACE/NAME", argument)
		}
		return argument, checkURL(argument)
	}
	base := flag
	if base == "" {
		base = os.Getenv(catalogVariable)
	}
	if base == "" {
		var err error
		if base, err = e.controllersCatalog(ctx); err != nil {
			return "", err
		}
	}
	if err := checkURL(base); err != nil {
		return "", err
	}
	u, err := url.Parse(base)
	if err != nil {
		return "", exit.Errorf(exit.Usage, "the catalog's URL is none")
	}
	if argument != "" {
		u = u.JoinPath(argument)
	}
	return u.String(), checkURL(u.String())
}

func checkURL(text string) error {
	if err := bucket.CheckURL(text); err != nil {
		return exit.Errorf(exit.Usage, "%w", err)
	}
	return nil
}

// controllersCatalog is the one that the controller writes to, if it can be asked.
func (e *Env) controllersCatalog(ctx context.Context) (string, error) {
	const next = "give --catalog URL, or set " + catalogVariable
	c, namespace, err := e.open()
	if err != nil {
		return "", exit.Errorf(exit.Usage, "which catalog is not known; %s", next)
	}
	e.locate(ctx, c, namespace)
	set, err := e.catalogSetting(ctx, c)
	if err != nil {
		return "", exit.Errorf(exit.Usage, "which catalog is not known, and the controller cannot be asked (%s); %s", oneLine(err), next)
	}
	if set == "" {
		return "", exit.Errorf(exit.Usage, "no controller in namespace %s is set to a catalog; %s", e.SystemNamespace, next)
	}
	return e.reachable(set)
}

// reachable refuses a directory of the controller's own pod.
func (e *Env) reachable(text string) (string, error) {
	if strings.HasPrefix(text, "file:") {
		return "", exit.Errorf(exit.Refused, "the controller's catalog is the directory %s of its own pod, which dies with the cluster and cannot be read from here; copy it out (`kubectl cp`), and give --catalog file:///DIRECTORY", text)
	}
	e.note("catalog: %s, as the controller in %s is set to", text, e.SystemNamespace)
	return text, nil
}

// findCatalog opens the catalog that a URL lies in.
func (e *Env) findCatalog(ctx context.Context, place string) (*bucket.Bucket, bucket.Scope, error) {
	b, scope, err := bucket.Find(ctx, place)
	return b, scope, explainBucket(ctx, "open the catalog", err)
}

// explainBucket gives an error of a bucket a code.
func explainBucket(ctx context.Context, doing string, err error) error {
	var refused *bucket.Refused
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return exit.Errorf(exit.Interrupted, "%s: interrupted", doing)
	case errors.Is(err, bucket.ErrNoCatalog), errors.As(err, &refused):
		return exit.Errorf(exit.Refused, "%s: %w", doing, err)
	default:
		return exit.Errorf(exit.Refused, "%s: %w; check the URL, and your credentials for the bucket", doing, err)
	}
}

// under gives the namespace that a listing is of, "" for all.
func (e *Env) under(scope bucket.Scope, all bool) (string, error) {
	switch {
	case all:
		return "", nil
	case scope.Namespace != "":
		return scope.Namespace, nil
	}
	namespace, err := e.Namespace()
	if err != nil {
		return "", kubeconfigError(err)
	}
	return namespace, nil
}

// splitName parses NAMESPACE or NAMESPACE/NAME.
func splitName(argument string) (namespace, name string, err error) {
	namespace, name, named := strings.Cut(argument, "/")
	if err := checkSource("the backup's namespace", namespace); err != nil {
		return "", "", err
	}
	if named {
		err = checkName("backup", name)
	}
	return namespace, name, err
}

var errNothing = fmt.Errorf("it names no namespace; give URL/NAMESPACE, or URL/NAMESPACE/NAME, as `kubectl cht catalog list -A` shows them")
