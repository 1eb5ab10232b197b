package bucket

import (
	"context"
	"fmt"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Delete removes a record, the manifest first: what is half removed is not there.
// One that is gone already is good.
func (b *Bucket) Delete(ctx context.Context, h Head) error {
	if err := h.Check(); err != nil {
		return fmt.Errorf("%s: %s: %w", b.url, h.Key(), err)
	}
	if err := b.drop(ctx, h.Key()); err != nil {
		return err
	}
	under := dataKey(h.UID, "")
	var keys []string
	for token := blob.FirstPageToken; len(token) > 0; {
		objects, next, err := b.blobs.ListPage(ctx, token, pageKeys, &blob.ListOptions{Prefix: under})
		if err != nil {
			return b.failed("list", under, err)
		}
		for _, o := range objects {
			keys = append(keys, o.Key)
		}
		token = next
	}
	for _, key := range keys {
		if err := b.drop(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bucket) drop(ctx context.Context, key string) error {
	if err := b.blobs.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return b.failed("delete", key, err)
	}
	return nil
}
