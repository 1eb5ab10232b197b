package bucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// probesUnder is where trials of writing go, one key a cluster and day.
const probesUnder = "v1/probe/"

// Tried is what a trial of writing showed.
type Tried struct {
	// Deletes: what was written could be deleted. Where it could not, Why says so: a
	// bucket that keeps everything for a time, or a right that lacks.
	Deletes bool
	Why     string
}

// Reach asks whether the catalog answers to whoever lists and reads it. A place where
// nothing was written yet is good.
func (b *Bucket) Reach(ctx context.Context) error {
	if err := b.checkRoot(ctx); err != nil && !errors.Is(err, ErrNoCatalog) {
		return err
	}
	if _, _, err := b.blobs.ListPage(ctx, blob.FirstPageToken, 1, &blob.ListOptions{Prefix: headsUnder}); err != nil && !errors.Is(err, io.EOF) {
		return b.failed("list", headsUnder, err)
	}
	return nil
}

// Try writes an object, reads it back and deletes it. Its key is of the day, so that
// a bucket that lets nothing be deleted or replaced keeps one of them a day, and no
// more; there, the one of today shows that it could be written.
func (b *Bucket) Try(ctx context.Context, cluster string, now time.Time) (Tried, error) {
	if err := b.found(ctx); err != nil {
		return Tried{}, err
	}
	now = now.UTC()
	key := probesUnder + cluster + "/" + now.Format("20060102") + jsonEnd
	text, err := json.Marshal(map[string]string{"product": product, "what": "a trial of writing; it can be deleted", "time": now.Format(time.RFC3339Nano)})
	if err != nil {
		return Tried{}, err
	}
	if err := b.write(ctx, key, text, false); err != nil {
		if !kept(err) {
			return Tried{}, err
		}
		if _, again := b.read(ctx, key, maxRoot); again != nil {
			return Tried{}, err // nothing was written today
		}
		return Tried{Why: err.Error()}, nil
	}
	got, err := b.read(ctx, key, maxRoot)
	if err != nil {
		return Tried{}, err
	}
	if !bytes.Equal(got, text) {
		return Tried{}, b.refuse(key, fmt.Errorf("it was written a moment ago, and what is read is something else; the store is not to be relied on, or another cluster is named %s, too", cluster))
	}
	if err := b.drop(ctx, key); err != nil {
		if ctx.Err() != nil {
			return Tried{}, err
		}
		return Tried{Why: err.Error()}, nil
	}
	return Tried{Deletes: true}, nil
}

// kept tells whether an object may be there that cannot be replaced.
func kept(err error) bool {
	return slices.Contains([]gcerrors.ErrorCode{gcerrors.PermissionDenied, gcerrors.FailedPrecondition, gcerrors.AlreadyExists}, gcerrors.Code(err))
}
