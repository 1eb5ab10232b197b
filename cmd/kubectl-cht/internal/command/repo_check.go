package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/snapshot/file/keyring"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

// checking are the flags of a check.
type checking struct {
	catalog, id string
	identity    identityFlag
	readData    bool
	output      format
}

func repoCheckCommand(env *Env) *cobra.Command {
	var c checking
	cmd := &cobra.Command{
		Use: "check [URL[/NAMESPACE]]", Short: "Look for damage in repositories of files",
		Long: `Read all trees of the repositories in a catalog, or of those with backups of a namespace,
and compare what they name with what is there. That finds what is missing, cut short or
not ours. With --read-data every chunk is read, unsealed and compared, too: that reads
all that is stored. What is damaged is told with the backups and files that need it.

The key is opened with --identity, if it was sealed to a recipient of the catalog; else
it is read from the Secret that the controller keeps. It is used here alone.

` + exit.Help,
		Example: `  kubectl cht repo check
  kubectl cht repo check s3://my-backups/cht/medic --identity cht-catalog.key --read-data`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.output.check(); err != nil {
				return err
			}
			return env.checkRepositories(cmd.Context(), &c, append(args, "")[0])
		},
	}
	addCatalogFlag(cmd, &c.catalog)
	c.identity.add(cmd.Flags())
	cmd.Flags().StringVar(&c.id, "repository", "", "ID of the only repository to check, as `ID` of `kubectl cht repo list`")
	cmd.Flags().BoolVar(&c.readData, "read-data", false, "Read and compare every chunk")
	c.output.add(cmd.Flags(), "json", "yaml")
	return cmd
}

func (e *Env) checkRepositories(ctx context.Context, c *checking, argument string) error {
	identities, err := c.identity.identities(e.In)
	if err != nil {
		return err
	}
	s, err := e.repositories(ctx, c.catalog, argument)
	if err != nil {
		return err
	}
	defer s.bucket.Close() //nolint:errcheck // only read
	checks := []offsite.RepositoryCheck{}
	bad := 0
	for _, one := range s.list.Repositories {
		if c.id != "" && one.ID != c.id {
			continue
		}
		key, err := e.repositoryKey(ctx, s, one.ID, identities)
		if err != nil {
			return err
		}
		r, err := repo.Open(ctx, s.bucket.Objects(), one.ID, key, repo.Options{})
		if err != nil {
			return explainBucket(ctx, "open repository "+one.ID, err)
		}
		report, err := r.Check(ctx, c.readData, e.telling(one.ID))
		if err != nil {
			return explainBucket(ctx, "check repository "+one.ID, err)
		}
		check := offsite.OfReport(one.ID, report, s.heads)
		bad += len(check.Damaged)
		checks = append(checks, check)
		if !c.output.objects() {
			if err := writeLines(e.Out, show.RepositoryCheck(check)); err != nil {
				return err
			}
		}
	}
	if len(checks) == 0 {
		return exit.Errorf(exit.Refused, "no such repository in %s; see what there is with `kubectl cht repo list`", s.list.Source)
	}
	if c.output.objects() {
		if err := e.printAny(checks, &c.output); err != nil {
			return err
		}
	}
	if bad > 0 {
		return exit.Errorf(exit.Trouble, "damaged objects in %s: %d", s.list.Source, bad)
	}
	return nil
}

// repositoryKey opens the key with an identity, or reads it from the cluster that writes.
func (e *Env) repositoryKey(ctx context.Context, s *seen, id string, identities []age.Identity) (repo.Key, error) {
	if len(identities) > 0 {
		key, err := repo.UnsealKey(ctx, s.bucket.Objects(), id, identities...)
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			return key, exit.Errorf(exit.Refused, "repository %s: none of the identities opens its key; give that of one of the catalog's recipients", id)
		}
		return key, explainBucket(ctx, "open the key of repository "+id, err)
	}
	const next = "give --identity FILE, or use the context of the cluster that writes the repository"
	c, namespace, err := e.open()
	if err != nil {
		return repo.Key{}, exit.Errorf(exit.Usage, "the key of repository %s is needed; %s", id, next)
	}
	e.locate(ctx, c, namespace)
	var secret corev1.Secret
	name := client.ObjectKey{Namespace: e.SystemNamespace, Name: keyring.SecretName(id)}
	if err := c.Get(ctx, name, &secret); apierrors.IsNotFound(err) {
		return repo.Key{}, exit.Errorf(exit.Refused, "the key of repository %s is not in this cluster (secret %s); %s", id, name, next)
	} else if err != nil {
		return repo.Key{}, exit.Explain(fmt.Sprintf("read the key of repository %s, secret %s", id, name), err)
	}
	key, err := repo.ParseKey(string(secret.Data[keyring.KeyData]))
	if err != nil {
		return key, exit.Errorf(exit.Refused, "secret %s: %w", name, err)
	}
	return key, nil
}

// telling says from time to time how far a check is.
func (e *Env) telling(id string) func(repo.Progress) {
	begun := e.Now()
	last := begun
	return func(p repo.Progress) {
		now := e.Now()
		if now.Sub(last) < 5*time.Second || p.Total == 0 {
			return
		}
		last = now
		text := fmt.Sprintf("repository %s: %d of %d objects", id, p.Objects, p.Total)
		if p.TotalBytes > 0 {
			text += fmt.Sprintf(", %d of %d MiB, %d MiB a second", p.Bytes>>20, p.TotalBytes>>20, int64(float64(p.Bytes>>20)/now.Sub(begun).Seconds()))
		}
		e.note("%s", text)
	}
}
