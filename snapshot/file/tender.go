package file

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// tendEvery is how often a repository is looked after in which nothing was deleted.
	tendEvery = 24 * time.Hour
	// gather is how long after a deletion it is: a retention deletes several at once.
	gather = time.Minute
	// tendAgain is how soon it is again while something waits to be deleted.
	tendAgain = 15 * time.Minute
	// looked is how often it is looked which are due.
	looked = 30 * time.Second
	// orphaned is how old a tree is that nobody knows, before it is deleted.
	orphaned = 24 * time.Hour
)

// Tended are the repositories that this cluster writes to.
type Tended interface {
	// Due gives those that were not looked after since then, with the namespace that is
	// backed up into each.
	Due(ctx context.Context, since time.Time) (namespaces map[string]string, err error)
	Open(ctx context.Context, id string) (Repository, error)
	NoteTended(ctx context.Context, id string, at time.Time) error
}

// Tender looks after repositories: it deletes trees that nobody knows any more, and
// collects what no tree names. It goes on beside backups, and no failure of its is one of
// a backup.
type Tender struct {
	Repositories Tended
	// Known gives the UIDs of all backups of a namespace that a Backup, a record in the
	// cluster or one in the catalog speaks of. Only a whole answer is an answer.
	Known func(ctx context.Context, namespace string) (map[types.UID]bool, error)
	Now   func() time.Time

	mu sync.Mutex
	// asked are the repositories to be looked after, and from when on.
	asked map[string]time.Time
}

// Deleted notes that trees were deleted in a repository.
func (t *Tender) Deleted(id string) { t.ask(id, gather) }

func (t *Tender) ask(id string, in time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asked == nil {
		t.asked = map[string]time.Time{}
	}
	if _, there := t.asked[id]; !there {
		t.asked[id] = t.Now().Add(in)
	}
}

// NeedLeaderElection says that one of several controllers does it.
func (t *Tender) NeedLeaderElection() bool { return true }

// Start looks after them until ctx ends.
func (t *Tender) Start(ctx context.Context) error {
	ctx = log.IntoContext(ctx, log.FromContext(ctx).WithName("repositories"))
	wait.UntilWithContext(ctx, t.Once, looked)
	return nil
}

// Once looks after those that are due, one after the other.
func (t *Tender) Once(ctx context.Context) {
	daily, err := t.Repositories.Due(ctx, t.Now().Add(-tendEvery))
	if err != nil {
		log.FromContext(ctx).Error(err, "it is not known which repositories are to be looked after")
		return
	}
	for id, namespace := range daily {
		if err := t.sweep(ctx, id, namespace); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "trees that nobody knows are not deleted yet", "repository", id)
		}
		t.ask(id, 0)
		// Also where it failed: a bucket that is away is not asked each minute.
		if err := t.Repositories.NoteTended(ctx, id, t.Now()); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "a repository will be looked after again too soon", "repository", id)
		}
	}
	for _, id := range t.due() {
		t.collect(ctx, id)
	}
}

func (t *Tender) due() (ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, from := range t.asked {
		if !t.Now().Before(from) {
			ids = append(ids, id)
			delete(t.asked, id)
		}
	}
	return ids
}

func (t *Tender) collect(ctx context.Context, id string) {
	logger := log.FromContext(ctx).WithValues("repository", id)
	r, err := t.Repositories.Open(ctx, id)
	var c Collected
	if err == nil {
		c, err = r.Collect(ctx)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		logger.Error(err, "the repository is not cleaned up yet; trying again")
		t.ask(id, tendAgain)
	default:
		logger.Info("the repository is cleaned up", "deletedPacks", c.Deleted, "bytes", c.Bytes, "waiting", c.Waiting, "kept", c.Kept, "why", c.Why)
		if c.Waiting > 0 {
			t.ask(id, tendAgain)
		}
	}
}

// sweep deletes trees of backups that are known to nobody: of a copy that failed while
// the bucket was away, or of a record that was deleted here and in the catalog.
func (t *Tender) sweep(ctx context.Context, id, namespace string) error {
	r, err := t.Repositories.Open(ctx, id)
	if err != nil {
		return err
	}
	// The trees first: a backup that begins after that has none among them.
	trees, err := r.Trees(ctx)
	if err != nil {
		return err
	}
	known, err := t.Known(ctx, namespace)
	if err != nil {
		return err
	}
	var errs []error
	for _, one := range trees {
		if known[types.UID(one.Owner)] || t.Now().Sub(one.Time) < orphaned {
			continue
		}
		err := r.DeleteTree(ctx, one.Name)
		if err != nil {
			errs = append(errs, fmt.Errorf("delete tree %s: %w", one.Name, err))
			continue
		}
		log.FromContext(ctx).Info("a tree was deleted whose backup nobody knows", "repository", id, "tree", one.Name)
	}
	return errors.Join(errs...)
}
