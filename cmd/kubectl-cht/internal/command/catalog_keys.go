package command

import (
	"context"
	"errors"

	"filippo.io/age"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file/keyring"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

// unsealKeys opens the keys of the repositories that the record's files are in, here and
// nowhere else.
func (e *Env) unsealKeys(ctx context.Context, b *bucket.Bucket, kept *offsiteKept, identities []age.Identity) error {
	for _, n := range kept.record.Nodes {
		if n.File == nil || !n.File.Complete {
			continue
		}
		id := n.File.Repository
		if _, known := kept.keys[id]; known {
			continue
		}
		key, err := repo.UnsealKey(ctx, b.Objects(), id, identities...)
		if err != nil {
			// A controller that wrote the repository has its key.
			e.note("the key of repository %s, which holds the files of the backup, cannot be opened: %v", id, err)
			continue
		}
		if kept.keys == nil {
			kept.keys = map[string]repo.Key{}
		}
		kept.keys[id] = key
	}
	return nil
}

// giveKeys hands the keys to the controller, as Secrets in its namespace. One that is
// there stays.
func (e *Env) giveKeys(ctx context.Context, c client.Client, kept *offsiteKept, opts ...client.CreateOption) (made []client.Object, err error) {
	for id, key := range kept.keys {
		secret := keyring.SecretOf(e.SystemNamespace, id, key, keyring.Read, kept.record.Namespace, kept.source)
		err := c.Create(ctx, secret, opts...)
		if apierrors.IsAlreadyExists(err) {
			continue
		}
		if err != nil {
			return made, exit.Explain("give the controller the key of repository "+id+" (secret "+e.SystemNamespace+"/"+secret.Name+")", err)
		}
		made = append(made, secret)
	}
	return made, nil
}

// withKeys has a grant hand the keys over before it, and take them back after it.
func (e *Env) withKeys(c client.Client, kept *offsiteKept, g grant) grant {
	if len(kept.keys) == 0 {
		return g
	}
	var made []client.Object
	return grant{
		give: func(ctx context.Context, dryRun bool) error {
			if dryRun {
				if _, err := e.giveKeys(ctx, c, kept, client.DryRunAll); err != nil {
					return err
				}
				return g.give(ctx, true)
			}
			now, err := e.giveKeys(ctx, c, kept)
			if made = append(made, now...); err != nil {
				return err
			}
			return g.give(ctx, false)
		},
		take: func(ctx context.Context) error {
			err := g.take(ctx)
			for _, o := range made {
				if gone := c.Delete(ctx, o); client.IgnoreNotFound(gone) != nil {
					err = errors.Join(err, gone)
				}
			}
			return err
		},
	}
}
