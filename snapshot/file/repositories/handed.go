package repositories

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/file/keyring"
	"github.com/medic/cht-backup/snapshot/paged"
)

const (
	// handedLook is how often it is looked whether keys are needed yet.
	handedLook = 10 * time.Second
	// unused is how long a key waits for its first restore: it may have come with a
	// record that was imported on its own.
	unused = 7 * 24 * time.Hour
	// usedAnnotation notes that a restore has read with the key: that restore may end,
	// and be deleted, before anybody looks.
	usedAnnotation = prefix + "repository-read"
)

// Handed takes back keys that were handed to this cluster to restore with, once no
// restore reads with them any more. Whoever may read the Secrets of the controller's
// namespace could read another cluster's backups with them for ever.
type Handed struct {
	Store   *Store
	Records catalog.Store
	Now     func() time.Time

	// unneeded are the keys that the last look found to be so. One goes when two looks
	// have: whoever restores with a key that is there already creates his Restore only
	// after he has seen it.
	unneeded map[types.UID]bool
}

// NeedLeaderElection says that one of several controllers does it.
func (h *Handed) NeedLeaderElection() bool { return true }

// Start looks after the keys until ctx ends.
func (h *Handed) Start(ctx context.Context) error {
	ctx = log.IntoContext(ctx, log.FromContext(ctx).WithName("keys"))
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := h.Once(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "keys that were handed over to restore with are not all taken back yet")
		}
	}, handedLook)
	return nil
}

// Once takes back those that are not needed now.
func (h *Handed) Once(ctx context.Context) error {
	var keys corev1.SecretList
	if err := h.Store.Client.List(ctx, &keys, client.InNamespace(h.Store.Namespace), client.MatchingLabels{keyring.UseLabel: string(keyring.Read)}); err != nil {
		return fmt.Errorf("list the keys in %s that were handed over: %w", h.Store.Namespace, err)
	}
	keys.Items = slices.DeleteFunc(keys.Items, func(s corev1.Secret) bool { return s.Type != keyring.SecretType })
	before := h.unneeded
	h.unneeded = map[types.UID]bool{}
	if len(keys.Items) == 0 {
		return nil
	}
	uses, err := h.uses(ctx, oldest(keys.Items))
	if err != nil {
		return err
	}
	var errs []error
	for i := range keys.Items {
		errs = append(errs, h.settle(ctx, &keys.Items[i], uses, before[keys.Items[i].UID]))
	}
	return errors.Join(errs...)
}

// use is a restore, as far as keys are concerned.
type use struct {
	created time.Time
	ended   bool
	// repositories that its backup's files are in. Not known is any.
	repositories []string
	unknown      bool
}

// verdict is what becomes of a key.
type verdict int

const (
	keep verdict = iota
	takeBack
)

// judge decides about the key of a repository that was handed over at some time.
func judge(id string, handed time.Time, wasUsed bool, uses []use, now time.Time) verdict {
	for _, u := range uses {
		reads := slices.Contains(u.repositories, id)
		switch {
		case !u.ended && (u.unknown || reads):
			return keep
		case reads && !u.created.Before(handed): // it was handed over for this one
			wasUsed = true
		}
	}
	if wasUsed || now.Sub(handed) > unused {
		return takeBack
	}
	return keep
}

// uses are the restores that read with a key, or did since the oldest was handed over.
func (h *Handed) uses(ctx context.Context, since time.Time) ([]use, error) {
	var uses []use
	known := map[string][]string{}
	for page, err := range paged.Pages(ctx, h.Store.Client, &api.RestoreList{}) {
		if err != nil {
			return nil, fmt.Errorf("list restores, to see which keys they read with: %w", err)
		}
		for i := range page.Items {
			r := &page.Items[i]
			u := use{created: r.CreationTimestamp.Time, ended: ended(r.Status.Phase), unknown: r.Status.Record == ""}
			if u.ended && (u.unknown || u.created.Before(since)) {
				continue
			}
			if !u.unknown {
				if u.repositories, err = h.repositoriesOf(ctx, r.Status.Record, known); err != nil {
					return nil, err
				}
			}
			uses = append(uses, u)
		}
	}
	return uses, nil
}

func ended(p api.Phase) bool {
	return p == api.PhaseCompleted || p == api.PhaseFailed || p == api.PhaseExpired
}

// repositoriesOf reads which repositories a record names. One that is gone, or that
// nobody can use, names none: no restore can go on with it.
func (h *Handed) repositoriesOf(ctx context.Context, record string, known map[string][]string) ([]string, error) {
	if ids, is := known[record]; is {
		return ids, nil
	}
	r, err := h.Records.Get(ctx, record)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) && !errors.Is(err, catalog.ErrInvalid) {
		return nil, err
	}
	var ids []string
	for _, node := range r.Nodes {
		if node.File != nil {
			ids = append(ids, node.File.Repository)
		}
	}
	known[record] = ids
	return ids, nil
}

// settle does what is judged of one key. again: it was found unneeded before.
func (h *Handed) settle(ctx context.Context, secret *corev1.Secret, uses []use, again bool) error {
	id := secret.Labels[keyring.Label]
	if judge(id, secret.CreationTimestamp.Time, secret.Annotations[usedAnnotation] != "", uses, h.Now()) == keep {
		return nil
	}
	if h.unneeded[secret.UID] = true; !again {
		return nil
	}
	// As it was when it was decided upon.
	err := h.Store.Client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete secret %s/%s, a key that no restore needs any more: %w", secret.Namespace, secret.Name, err)
	}
	h.Store.forget(id)
	log.FromContext(ctx).Info("the key of a repository was taken back, which no restore reads with any more", "repository", id, "secret", secret.Name)
	return nil
}

func oldest(secrets []corev1.Secret) time.Time {
	return slices.MinFunc(secrets, func(a, b corev1.Secret) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) }).CreationTimestamp.Time
}
