package repositories

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/file"
	"github.com/medic/cht-backup/snapshot/file/keyring"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Catalog is where the repositories are: *offsite.Place.
type Catalog interface {
	// Shown is its URL without credentials.
	Shown() string
	// Objects gives the part of it that repositories lie in.
	Objects(ctx context.Context) (repo.Objects, error)
	// Found makes it a catalog if it is none yet, and refuses a place that is another's.
	Found(ctx context.Context) error
}

// Store gives repositories by the Secrets of their keys.
type Store struct {
	// Client asks the API server, no cache.
	Client client.Client
	// Namespace is the controller's.
	Namespace string
	Catalog   Catalog
	// Recipients are those that the keys are sealed to in the bucket; none for keys that
	// are lost with this cluster.
	Recipients []age.Recipient
	Options    repo.Options

	mu   sync.Mutex
	open map[string]*repo.Repository
}

// For implements file.Repositories.
func (s *Store) For(ctx context.Context, namespace string) (file.Repository, error) {
	secret, err := s.secretFor(ctx, namespace)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(secret)
	if err != nil {
		return nil, reason.Refuse(api.ReasonRepositoryKey, "%w; put the right Secret back, or delete it, and a new repository is begun", err)
	}
	objects, err := s.Catalog.Objects(ctx)
	if err != nil {
		return nil, err
	}
	id := secret.Labels[keyring.Label]
	if secret.Annotations[madeAnnotation] == "" {
		if err := s.Catalog.Found(ctx); err != nil {
			return nil, err
		}
		if err := repo.Create(ctx, objects, id, key, s.Recipients...); err != nil {
			return nil, fmt.Errorf("make repository %s in the catalog %s: %w", id, s.Catalog.Shown(), err)
		}
		if err := s.annotate(ctx, id, madeAnnotation, "true"); err != nil {
			return nil, err
		}
	}
	// Anew each time: that shows whether the bucket answers, before anybody is held.
	r, err := repo.Open(ctx, objects, id, key, s.Options)
	if errors.Is(err, repo.ErrNoRepository) { // somebody emptied the bucket
		if err = repo.Create(ctx, objects, id, key, s.Recipients...); err == nil {
			r, err = repo.Open(ctx, objects, id, key, s.Options)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := r.SealKey(ctx, s.Recipients...); err != nil { // new recipients; the same again is nothing
		return nil, fmt.Errorf("put the key of repository %s into the catalog, sealed to the recipients of today: %w", id, err)
	}
	return opened{r}, nil
}

// secretFor finds the Secret of the instance's repository in this catalog, or makes one.
// It is there before anything is in the bucket: what nobody has the key of is lost.
func (s *Store) secretFor(ctx context.Context, namespace string) (*corev1.Secret, error) {
	all, err := s.secrets(ctx, client.MatchingLabels{keyring.UseLabel: string(keyring.Write), api.SourceNamespaceLabel: namespace})
	if err != nil {
		return nil, err
	}
	if len(all) > 0 {
		return &all[0], nil
	}
	key, err := repo.NewKey()
	if err != nil {
		return nil, fmt.Errorf("make the key of a repository: %w", err)
	}
	secret := keyring.SecretOf(s.Namespace, repo.NewID(), key, keyring.Write, namespace, s.Catalog.Shown())
	if err := s.Client.Create(ctx, secret); err != nil {
		return nil, fmt.Errorf("keep the key of a new repository in secret %s/%s: %w", s.Namespace, secret.Name, err)
	}
	return secret, nil
}

// secrets gives those of this catalog, the oldest first.
func (s *Store) secrets(ctx context.Context, which client.MatchingLabels) ([]corev1.Secret, error) {
	var list corev1.SecretList
	if err := s.Client.List(ctx, &list, client.InNamespace(s.Namespace), which); err != nil {
		return nil, fmt.Errorf("list the keys of repositories in %s: %w", s.Namespace, err)
	}
	found := slices.DeleteFunc(list.Items, func(one corev1.Secret) bool {
		return one.Type != keyring.SecretType || one.Annotations[keyring.CatalogAnnotation] != s.Catalog.Shown() || repo.CheckID(one.Labels[keyring.Label]) != nil
	})
	slices.SortFunc(found, func(a, b corev1.Secret) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return found, nil
}

// Open implements file.Repositories.
func (s *Store) Open(ctx context.Context, id string) (file.Repository, error) {
	if err := repo.CheckID(id); err != nil {
		return nil, reason.Refuse(api.ReasonRepositoryDamaged, "%w", err)
	}
	var secret corev1.Secret
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: keyring.SecretName(id)}, &secret)
	if apierrors.IsNotFound(err) {
		return nil, reason.Refuse(api.ReasonRepositoryKey, "the key of repository %s is not in this cluster (secret %s/%s); kubectl cht restore --from URL --identity FILE reads it from the catalog, if it was sealed to a recipient there", id, s.Namespace, keyring.SecretName(id))
	} else if err != nil {
		return nil, fmt.Errorf("get secret %s/%s: %w", s.Namespace, keyring.SecretName(id), err)
	}
	key, err := keyOf(&secret)
	if err != nil {
		return nil, reason.Refuse(api.ReasonRepositoryKey, "%w", err)
	}
	if secret.Labels[keyring.UseLabel] == string(keyring.Read) && secret.Annotations[usedAnnotation] == "" {
		if err := s.annotate(ctx, id, usedAnnotation, "true"); err != nil {
			return nil, err
		}
	}
	objects, err := s.Catalog.Objects(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.opened(ctx, objects, id, key)
	switch {
	case errors.Is(err, repo.ErrNoRepository):
		return nil, reason.Refuse(api.ReasonNoCatalog, "repository %s is not in this controller's catalog %s: %w", id, s.Catalog.Shown(), err)
	case errors.Is(err, repo.ErrWrongKey):
		return nil, reason.Refuse(api.ReasonRepositoryKey, "secret %s/%s: %w", s.Namespace, secret.Name, err)
	case err != nil:
		return nil, err
	}
	return opened{r}, nil
}

// opened opens each once: what bounds its memory is its own.
func (s *Store) opened(ctx context.Context, objects repo.Objects, id string, key repo.Key) (*repo.Repository, error) {
	s.mu.Lock()
	r := s.open[id]
	s.mu.Unlock()
	if r != nil && r.HashKey() == key.HashKey() {
		return r, nil
	}
	r, err := repo.Open(ctx, objects, id, key, s.Options)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[string]*repo.Repository{}
	}
	s.open[id] = r
	return r, nil
}

// forget lets go of a repository whose key was taken back.
func (s *Store) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, id)
}

// Due implements file.Tended.
func (s *Store) Due(ctx context.Context, since time.Time) (map[string]string, error) {
	secrets, err := s.secrets(ctx, client.MatchingLabels{keyring.UseLabel: string(keyring.Write)})
	if err != nil {
		return nil, err
	}
	due := map[string]string{}
	for i := range secrets {
		if secrets[i].Annotations[madeAnnotation] != "" && tended(&secrets[i]).Before(since) {
			due[secrets[i].Labels[keyring.Label]] = secrets[i].Labels[api.SourceNamespaceLabel]
		}
	}
	return due, nil
}

// NoteTended notes when a repository was looked after.
func (s *Store) NoteTended(ctx context.Context, id string, at time.Time) error {
	return s.annotate(ctx, id, tendedAnnotation, at.UTC().Format(time.RFC3339))
}

func (s *Store) annotate(ctx context.Context, id, key, value string) error {
	var secret corev1.Secret
	name := client.ObjectKey{Namespace: s.Namespace, Name: keyring.SecretName(id)}
	if err := s.Client.Get(ctx, name, &secret); err != nil {
		return fmt.Errorf("get secret %s: %w", name, err)
	}
	base := secret.DeepCopy()
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[key] = value
	if err := s.Client.Patch(ctx, &secret, client.MergeFrom(base)); err != nil {
		return fmt.Errorf("note %s on secret %s: %w", key, name, err)
	}
	return nil
}

// opened is a repository as backups see it.
type opened struct{ *repo.Repository }

// Begin implements file.Repository.
func (o opened) Begin(ctx context.Context, writer string, nodes, bases []string) (file.Session, error) {
	return o.Repository.Begin(ctx, writer, nodes, bases)
}

// Trees implements file.Repository.
func (o opened) Trees(ctx context.Context) ([]file.Tree, error) {
	names, err := o.Repository.Trees(ctx)
	trees := make([]file.Tree, len(names))
	for i, n := range names {
		trees[i] = file.Tree(n)
	}
	return trees, err
}

// DeleteTree implements file.Repository.
func (o opened) DeleteTree(ctx context.Context, name string) error {
	err := o.Repository.DeleteTree(ctx, name)
	if errors.Is(err, repo.ErrKept) {
		return fmt.Errorf("%w: %w", file.ErrKept, err)
	}
	return err
}

// Collect implements file.Repository.
func (o opened) Collect(ctx context.Context) (file.Collected, error) {
	c, err := o.Repository.Collect(ctx)
	return file.Collected{Deleted: c.Deleted, Bytes: c.Bytes, Waiting: c.Waiting, Kept: c.Kept, Why: c.Why}, err
}
