package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"gocloud.dev/blob"

	"github.com/medic/cht-backup/snapshot/catalog"
)

// Ignored are the keys below the heads that are none.
type Ignored struct {
	Count int
	// First is one of them, quoted and shortened, and why.
	First string
}

// String says so, "" for none.
func (i Ignored) String() string {
	if i.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%d objects below %s are no manifests of ours and are ignored, for example %s", i.Count, headsUnder, i.First)
}

func (i *Ignored) add(key string, err error) {
	if i.Count++; i.Count == 1 {
		if len(key) > 200 {
			key = key[:200] + "…"
		}
		i.First = fmt.Sprintf("%q: %v", key, err)
	}
}

// pageKeys are asked for at once; S3 gives no more.
const pageKeys = 1000

// Heads tells each of all records, or of those of one namespace, by their keys
// alone. Those of a namespace come in the order of their cuts. It ends with the
// first error that each returns.
func (b *Bucket) Heads(ctx context.Context, namespace string, each func(Head) error) (Ignored, error) {
	var ignored Ignored
	if err := b.checkRoot(ctx); err != nil {
		return ignored, err
	}
	under := headsUnder
	if namespace != "" {
		if err := catalog.CheckIdentity(namespace, "any", "any"); err != nil {
			return ignored, err
		}
		under += namespace + "/"
	}
	token := blob.FirstPageToken
	for len(token) > 0 {
		objects, next, err := b.blobs.ListPage(ctx, token, pageKeys, &blob.ListOptions{Prefix: under})
		if err != nil && !errors.Is(err, io.EOF) {
			return ignored, b.failed("list", under, err)
		}
		for _, o := range objects {
			if o.IsDir || strings.HasPrefix(path.Base(o.Key), unfinished) {
				continue
			}
			h, err := ParseKey(o.Key)
			if err != nil {
				ignored.add(o.Key, err)
				continue
			}
			if err := each(h); err != nil {
				return ignored, err
			}
		}
		token = next
	}
	return ignored, nil
}
