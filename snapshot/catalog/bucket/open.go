package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/gcsblob" // gs://
	_ "gocloud.dev/blob/s3blob"  // s3://
	"gocloud.dev/gcerrors"

	"github.com/medic/cht-backup/snapshot/bounded"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// LayoutVersion is the version of the layout that is written and read.
const LayoutVersion = 1

// product stands in the root object, so that another program's is known as such.
const product = "cht-backup"

// root is the object that makes a place a catalog.
type root struct {
	Product string `json:"product"`
	Layout  int    `json:"layout"`
}

// ErrNoCatalog is the answer when nothing of a catalog is at a place.
var ErrNoCatalog = errors.New("there is no catalog here")

// Bucket is a catalog.
type Bucket struct {
	blobs *blob.Bucket
	// url is the catalog's, to show.
	url string
	// dir is where the catalog is a directory, which is written to with more care
	// than the library takes.
	dir string
	// named are the directories in it whose names are on the disk, and those above them.
	named sync.Map
}

// Scope is which of a catalog's records a URL names: all, those of a namespace, or
// those of a name in it.
type Scope struct{ Namespace, Name string }

// URL is the catalog's, without credentials.
func (b *Bucket) URL() string { return b.url }

// Close lets go of the connections.
func (b *Bucket) Close() error { return b.blobs.Close() }

// On gives the catalog in a bucket that is open already, for tests.
func On(blobs *blob.Bucket, url string) *Bucket { return &Bucket{blobs: blobs, url: url} }

// Open opens a place for a catalog, be there one yet or not. It asks nobody.
func Open(ctx context.Context, rawURL string) (*Bucket, error) {
	p, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	return p.open(ctx, true)
}

func (p place) open(ctx context.Context, create bool) (*Bucket, error) {
	b := &Bucket{url: p.String()}
	if p.scheme == "file" {
		b.dir = "/" + p.path
		if _, err := os.Stat(b.dir); !create && err != nil {
			return nil, fmt.Errorf("%s: %w", b.url, err)
		}
		blobs, err := fileblob.OpenBucket(b.dir, &fileblob.Options{CreateDir: create, NoTempDir: true, Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o750})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.url, err)
		}
		b.blobs = blobs
		return b, nil
	}
	blobs, err := blob.OpenBucket(ctx, (&url.URL{Scheme: p.scheme, Host: p.bucket, RawQuery: p.query.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.url, said(err))
	}
	if p.path != "" {
		blobs = blob.PrefixedBucket(blobs, p.path+"/")
	}
	b.blobs = blobs
	return b, nil
}

// Find opens the catalog that a URL lies in: its own, or with NAMESPACE or
// NAMESPACE/NAME after it. It fails where there is none.
func Find(ctx context.Context, rawURL string) (*Bucket, Scope, error) {
	p, err := parse(rawURL)
	if err != nil {
		return nil, Scope{}, err
	}
	var denied error
	for up := range 3 {
		at, below, ok := p.cut(up)
		if !ok || at.scheme == "file" && at.path == "" {
			break
		}
		b, err := at.open(ctx, false)
		if errors.Is(err, os.ErrNotExist) {
			continue // a directory further up
		}
		if err != nil {
			return nil, Scope{}, err
		}
		err = b.checkRoot(ctx)
		if err == nil {
			scope := Scope{}
			if up > 0 {
				scope.Namespace = below[0]
			}
			if up > 1 {
				scope.Name = below[1]
			}
			if err := scope.check(); err != nil {
				_ = b.Close()
				return nil, Scope{}, fmt.Errorf("%s: %w", p, err)
			}
			return b, scope, nil
		}
		_ = b.Close()
		switch {
		case errors.Is(err, ErrNoCatalog):
		case gcerrors.Code(err) == gcerrors.PermissionDenied:
			// What S3 says of an object that is not there to those who may not list.
			denied = err
		default:
			return nil, Scope{}, err
		}
	}
	if denied != nil {
		return nil, Scope{}, denied
	}
	return nil, Scope{}, fmt.Errorf("%s: %w: neither it nor what is up to two steps above it has an object %s. Expected CATALOG-URL, CATALOG-URL/NAMESPACE or CATALOG-URL/NAMESPACE/NAME", p, ErrNoCatalog, rootKey)
}

func (s Scope) check() error {
	name, namespace := s.Name, s.Namespace
	if namespace == "" {
		return nil
	}
	if name == "" {
		name = "any"
	}
	return catalog.CheckIdentity(namespace, name, "any")
}

// checkRoot refuses a place that is not a catalog of this version.
func (b *Bucket) checkRoot(ctx context.Context) error {
	text, err := b.read(ctx, rootKey, maxRoot)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fmt.Errorf("%s: %w", b.url, ErrNoCatalog)
	}
	if err != nil {
		return err
	}
	var r root
	if err := bounded.Text(text, 10, 100); err != nil {
		return b.refuse(rootKey, err)
	}
	if err := json.Unmarshal(text, &r); err != nil || r.Product != product || r.Layout < 1 {
		return b.refuse(rootKey, errors.New("it is not a catalog of cht-backup's; choose another place"))
	}
	if r.Layout != LayoutVersion {
		return b.refuse(rootKey, fmt.Errorf("the catalog has layout %d, this version reads %d; use a newer cht-backup", r.Layout, LayoutVersion))
	}
	return nil
}
