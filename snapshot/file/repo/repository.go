package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"filippo.io/age"
	"golang.org/x/sync/semaphore"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Options of a repository.
type Options struct {
	// Budget bounds what is held in memory of packs on their way, in bytes: of one session
	// those that are filled and uploaded, of all reading that which is read ahead. 0 for
	// 48 MiB. The client of S3 has a copy of what it sends besides.
	Budget int64
	// Parallel is how many requests are made at once; 0 for 3.
	Parallel int
	// PackSize is how large a pack becomes, in bytes; 0 for 15 MiB: from 16 MiB on, the
	// client of S3 sends in parts, for which it has buffers of its own.
	PackSize int64
	// MaxAge is how old a pack may be whose chunks a new backup uses, too; 0 for any age.
	// Where objects are locked for a fixed time, what a backup needs is locked for that
	// time less this.
	MaxAge time.Duration
	// Spare is how old a pack must be, before it is deleted; 0 for any age.
	// What an interrupted session has sent is there for so long, for the next to use.
	Spare time.Duration
	// Unsealed writes chunks that are not sealed, and reads such. For benchmarks alone.
	Unsealed bool
	// Now is the clock; nil for the machine's.
	Now func() time.Time
	// Pause is the time before the first retry of a request, which doubles; 0 for 500 ms.
	Pause time.Duration
}

const (
	defaultBudget   = 48 << 20
	defaultParallel = 3
	defaultPack     = 15 << 20
	defaultPause    = 500 * time.Millisecond
)

func (o Options) complete() Options {
	if o.Budget <= 0 {
		o.Budget = defaultBudget
	}
	if o.Parallel < 1 {
		o.Parallel = defaultParallel
	}
	if o.PackSize <= 0 {
		o.PackSize = min(defaultPack, max(o.Budget/3, 1<<20))
	}
	o.Budget = max(o.Budget, 2*o.PackSize)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pause <= 0 {
		o.Pause = defaultPause
	}
	return o
}

// Repository is one instance's files in a bucket.
type Repository struct {
	objects Objects
	id      string
	key     Key
	options Options
	// ahead bounds what is read ahead, in bytes.
	ahead *semaphore.Weighted
	// sealedNothing is how long no bytes are when they are sealed.
	sealedNothing int
}

var _ transfer.Reader = (*Repository)(nil)

// ID of the repository.
func (r *Repository) ID() string { return r.id }

// HashKey is the key of the chunks' IDs.
func (r *Repository) HashKey() tree.HashKey { return r.key.hash }

func under(id, kind string) string { return filesUnder + id + "/" + kind }

func (r *Repository) at(kind, name string) string { return under(r.id, kind) + name }

// ErrNoRepository is the answer where there is none of that ID.
var ErrNoRepository = errors.New("there is no such repository")

// ErrWrongKey is the answer when a key is not the repository's.
var ErrWrongKey = errors.New("the key is not this repository's, or its root was changed")

// Create makes a repository. Without recipients its key is lost with who keeps it. The
// same again is good.
func Create(ctx context.Context, objects Objects, id string, key Key, recipients ...age.Recipient) error {
	if err := CheckID(id); err != nil {
		return err
	}
	if key.identity == nil {
		return fmt.Errorf("repository %s: it has no key", id)
	}
	r := &Repository{objects: objects, id: id, key: key, options: Options{}.complete()}
	if len(recipients) > 0 {
		if err := r.SealKey(ctx, recipients...); err != nil {
			return err
		}
	}
	return r.putRoot(ctx)
}

// Open opens a repository, and fails if there is none or the key is another's.
func Open(ctx context.Context, objects Objects, id string, key Key, options Options) (*Repository, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	if key.identity == nil {
		return nil, fmt.Errorf("repository %s: it has no key", id)
	}
	o := options.complete()
	r := &Repository{objects: objects, id: id, key: key, options: o, ahead: newAhead(o)}
	var nothing bytes.Buffer
	if err := sealInto(&nothing, key.identity.Recipient(), nil); err != nil {
		return nil, err
	}
	r.sealedNothing = nothing.Len()
	if err := r.checkRoot(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func newAhead(o Options) *semaphore.Weighted { return semaphore.NewWeighted(o.Budget) }
