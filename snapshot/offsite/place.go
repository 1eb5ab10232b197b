package offsite

import (
	"context"
	"errors"
	"sync"
	"time"

	"gocloud.dev/gcerrors"

	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/metrics"
)

const (
	// within bounds one look at the bucket for one backup.
	within = time.Minute
	// atOnce bounds how many workers are with the bucket: each holds a record in memory,
	// and if the bucket hangs, the others go on.
	atOnce = 2
	// shortest and longest pause after the bucket could not be reached. It is one for
	// all: a thousand backups do not each find out anew.
	shortestPause = 5 * time.Second
	longestPause  = 5 * time.Minute
	// busy is how soon one comes again who found all places taken.
	busy = 3 * time.Second
)

// Place is where the catalog is. It is opened when it is first needed: what it takes
// may be away when the controller starts.
type Place struct {
	URL string
	Now func() time.Time

	lock   sync.Mutex
	opened *bucket.Bucket
	with   int // workers that are with it
	until  time.Time
	pause  time.Duration
}

// enter gives the catalog, or says how long to wait. leave must be called with what
// came of it, or back where the catalog was not asked.
func (p *Place) enter(ctx context.Context) (b *bucket.Bucket, wait time.Duration, err error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if left := p.until.Sub(p.Now()); left > 0 {
		return nil, left, nil
	}
	if p.with >= atOnce {
		return nil, busy, nil
	}
	if b, err = p.open(ctx); err != nil {
		metrics.CatalogAnswered(false)
		return nil, p.slow(), err
	}
	p.with++
	return b, 0, nil
}

// leave gives the place back, and tells how long to wait before the next try.
func (p *Place) leave(err error) (wait time.Duration) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.with--
	answered(err)
	if err == nil {
		p.pause, p.until = 0, time.Time{}
		return 0
	}
	var refused *bucket.Refused
	if errors.As(err, &refused) { // the bucket answers; this one record is what is wrong
		return longestPause
	}
	return p.slow()
}

// back gives the place back: what went wrong was not the catalog.
func (p *Place) back() {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.with--
}

// answered notes whether the bucket answered. One that refuses a record has; of a
// controller that is stopped nothing is known.
func answered(err error) {
	var refused *bucket.Refused
	if !errors.Is(err, context.Canceled) {
		metrics.CatalogAnswered(err == nil || errors.As(err, &refused))
	}
}

func (p *Place) slow() time.Duration {
	p.pause = min(max(2*p.pause, shortestPause), longestPause)
	p.until = p.Now().Add(p.pause)
	return p.pause
}

func (p *Place) open(ctx context.Context) (*bucket.Bucket, error) {
	if p.opened == nil {
		b, err := bucket.Open(ctx, p.URL)
		if err != nil {
			return nil, err
		}
		p.opened = b
	}
	return p.opened, nil
}

// shared gives the catalog to who only lists it, whatever others make of it.
func (p *Place) shared(ctx context.Context) (*bucket.Bucket, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.open(ctx)
}

// Objects gives the part of the catalog that repositories of files lie in.
func (p *Place) Objects(ctx context.Context) (repo.Objects, error) {
	b, err := p.shared(ctx)
	if err != nil {
		return nil, err
	}
	return b.Objects(), nil
}

// Heads tells of all records of a namespace in the catalog. Keys that are none of ours
// make the answer no whole one.
func (p *Place) Heads(ctx context.Context, namespace string, each func(bucket.Head) error) error {
	b, err := p.shared(ctx)
	if err != nil {
		return err
	}
	ignored, err := b.Heads(ctx, namespace, each)
	if err == nil && ignored.Count > 0 {
		err = errors.New(ignored.String())
	}
	return err
}

// Found makes the place a catalog if it is none yet, and refuses another product's.
func (p *Place) Found(ctx context.Context) error {
	b, err := p.shared(ctx)
	if err != nil {
		return err
	}
	return b.Found(ctx)
}

// shown is the URL for statuses.
func (p *Place) shown() string { return bucket.CleanURL(p.URL) }

// denied tells whether the bucket says that it is not allowed, now and later.
func denied(err error) bool { return gcerrors.Code(err) == gcerrors.PermissionDenied }

// Shown is the URL without credentials.
func (p *Place) Shown() string { return p.shown() }

// Reach asks whether the catalog answers. It waits for nobody, and what it finds has
// no one else wait.
func (p *Place) Reach(ctx context.Context) error {
	b, err := p.shared(ctx)
	if err != nil {
		return err
	}
	return b.Reach(ctx)
}

// Try writes an object there and deletes it again.
func (p *Place) Try(ctx context.Context, cluster string) (bucket.Tried, error) {
	b, err := p.shared(ctx)
	if err != nil {
		return bucket.Tried{}, err
	}
	return b.Try(ctx, cluster, p.Now())
}
