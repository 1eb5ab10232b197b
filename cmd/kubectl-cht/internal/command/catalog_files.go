package command

import (
	"context"
	"errors"
	"slices"

	"filippo.io/age"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file/keyring"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

// The files of a backup are read from the catalog by the controller, with the key of
// their repository: a Secret in its namespace. The key lies in the catalog, sealed as the
// instance's Secrets are, and is opened on this machine.

const dataFromUsage = "What the volumes are made of: Snapshot, File (the copy in the catalog), or Auto, the snapshot where a volume can be made of it here, else the files"

var dataSources = []string{string(api.DataAuto), string(api.DataSnapshot), string(api.DataFile)}

// repositoriesOf names the repositories in which a record has whole copies of files.
func repositoriesOf(record catalog.Record) (ids []string) {
	for _, node := range record.Nodes {
		if f := node.File; f != nil && f.Complete && !slices.Contains(ids, f.Repository) {
			ids = append(ids, f.Repository)
		}
	}
	return ids
}

// needsFiles tells whether a restore can be made from the files alone.
func needsFiles(record catalog.Record, from api.DataFrom) bool {
	return from == api.DataFile || slices.ContainsFunc(record.Nodes, func(n catalog.Node) bool { return n.Method == api.MethodFile })
}

// unsealKeys opens the keys of a record's repositories. Where it has snapshots too, one
// that cannot be opened is no reason not to restore.
func (e *Env) unsealKeys(ctx context.Context, b *bucket.Bucket, kept *offsiteKept, identities []age.Identity) error {
	for _, id := range repositoriesOf(kept.record) {
		key, err := repo.UnsealKey(ctx, b.Objects(), id, identities...)
		switch {
		case err == nil:
			if kept.keys == nil {
				kept.keys = map[string]repo.Key{}
			}
			kept.keys[id] = key
		case ctx.Err() != nil:
			return explainBucket(ctx, "open the key of repository "+id, err)
		default:
			kept.sealed = append(kept.sealed, oneLine(err))
		}
	}
	return nil
}

// grantKeys gives the controller the keys of the repositories that the files of a backup
// are in. Those that it did not have are taken back when the restore does not begin.
func (e *Env) grantKeys(c client.Client, kept *offsiteKept, needed bool) grant {
	var made []*corev1.Secret
	return grant{
		give: func(ctx context.Context, dryRun bool) error {
			to := c
			if dryRun {
				to = client.NewDryRunClient(c)
			}
			for _, id := range repositoriesOf(kept.record) {
				secret, err := e.giveKey(ctx, to, kept, id, needed)
				if err != nil {
					return err
				}
				if secret != nil && !dryRun {
					made = append(made, secret)
				}
			}
			return nil
		},
		take: func(ctx context.Context) error {
			for _, secret := range made {
				uid := secret.UID
				if err := c.Delete(ctx, secret, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
					return exit.Explain("delete secret "+secret.Namespace+"/"+secret.Name, err)
				}
			}
			return nil
		},
	}
}

// giveKey makes the Secret of one key, and gives it if it was not there.
func (e *Env) giveKey(ctx context.Context, c client.Client, kept *offsiteKept, id string, needed bool) (*corev1.Secret, error) {
	key, opened := kept.keys[id]
	name := client.ObjectKey{Namespace: e.SystemNamespace, Name: keyring.SecretName(id)}
	var there corev1.Secret
	err := c.Get(ctx, name, &there)
	switch {
	case err == nil && opened:
		if have, err := repo.ParseKey(string(there.Data[keyring.KeyData])); err != nil || !have.Is(key) {
			return nil, exit.Errorf(exit.Refused, "secret %s holds another key of repository %s than the catalog; if nothing in this cluster is backed up into that repository, delete the secret, and restore again", name, id)
		}
		return nil, nil
	case err == nil:
		return nil, nil // the controller knows it
	case !apierrors.IsNotFound(err) && (opened || needed):
		return nil, exit.Explain("look for secret "+name.String(), err)
	case !opened && needed && len(kept.sealed) > 0:
		return nil, exit.Errorf(exit.Refused, "the identity does not open the key of repository %s, without which the files of the backup cannot be read: %s", id, kept.sealed[0])
	case !opened && needed:
		return nil, exit.Errorf(exit.Refused, "the files of the backup are sealed, and this cluster does not have the key of their repository %s; give the age identity that opens it with --identity FILE", id)
	case !opened:
		return nil, nil // there are snapshots
	}
	secret := keyring.SecretOf(e.SystemNamespace, id, key, keyring.Read, kept.record.Namespace, kept.source)
	if err := c.Create(ctx, secret); err != nil {
		return nil, exit.Explain("give the controller the key of repository "+id, err)
	}
	return secret, nil
}

// both gives one grant after the other, and takes both.
func both(first, second grant) grant {
	return grant{
		give: func(ctx context.Context, dryRun bool) error {
			if err := first.give(ctx, dryRun); err != nil {
				return err
			}
			return second.give(ctx, dryRun)
		},
		take: func(ctx context.Context) error {
			return errors.Join(second.take(ctx), first.take(ctx))
		},
	}
}

// readsFiles refuses where the controller is set to no catalog: it is who reads the
// files. Whether the one that it is set to is the right one it finds out itself.
func (e *Env) readsFiles(ctx context.Context, c client.Client, kept *offsiteKept) error {
	set, err := e.catalogSetting(ctx, c)
	switch {
	case err != nil: // the controller will say it
	case set == "":
		return exit.Errorf(exit.Refused, "the files of the backup are in the catalog %s, from which the controller reads them, and the one in namespace %s is set to no catalog; set value controller.catalog.url of its chart to that, with credentials that may read it, and restore again. Nothing was made",
			kept.source, e.SystemNamespace)
	case set != kept.source:
		e.note("the controller reads the files from its own catalog, %s: it must be the one at %s", set, kept.source)
	}
	return nil
}

// catalogSetting is the catalog that the controller is set to, "" for none.
func (e *Env) catalogSetting(ctx context.Context, c client.Client) (string, error) {
	var list appsv1.DeploymentList
	if err := c.List(ctx, &list, client.InNamespace(e.SystemNamespace), client.MatchingLabels{"app.kubernetes.io/name": "cht-backup"}); err != nil {
		return "", err
	}
	var unknown error
	for _, d := range list.Items {
		for _, container := range d.Spec.Template.Spec.Containers {
			for _, v := range container.Env {
				if v.Name == "CHT_BACKUP_CATALOG_URL" && v.Value != "" {
					return v.Value, nil
				}
			}
		}
		var settings corev1.ConfigMap
		if err := c.Get(ctx, client.ObjectKeyFromObject(&d), &settings); err != nil {
			unknown = err
			continue
		}
		var config struct {
			URL string `json:"catalog-url"`
		}
		if err := yaml.Unmarshal([]byte(settings.Data["config.yaml"]), &config); err != nil {
			unknown = err
		} else if config.URL != "" {
			return config.URL, nil
		}
	}
	return "", unknown
}
