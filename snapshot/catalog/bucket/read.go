package bucket

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"gocloud.dev/gcerrors"

	"github.com/medic/cht-backup/snapshot/catalog"
)

// Bounds of what is read, in bytes: far above what this program writes, and low
// enough that nobody fills a memory with them.
const (
	maxRoot     = 64 << 10
	maxManifest = 1 << 20
	maxPacked   = 64 << 20  // a record as it is stored
	maxPlain    = 256 << 20 // a record unpacked
	maxSealed   = 64 << 20
	maxCopy     = 1 << 20
)

// Refused tells of an object of the catalog that is not used, and why.
type Refused struct {
	// Catalog is its URL, Key the object.
	Catalog, Key string
	Err          error
}

func (r *Refused) Error() string { return fmt.Sprintf("%s: object %s: %v", r.Catalog, r.Key, r.Err) }

// Unwrap gives the reason.
func (r *Refused) Unwrap() error { return r.Err }

func (b *Bucket) refuse(key string, err error) error {
	return &Refused{Catalog: b.url, Key: key, Err: err}
}

// failed tells of a call that did not get through: tried again, it may.
func (b *Bucket) failed(what, key string, err error) error {
	return fmt.Errorf("%s: %s %s: %w", b.url, what, key, said(err))
}

// read gives an object of at most most bytes.
func (b *Bucket) read(ctx context.Context, key string, most int64) ([]byte, error) {
	r, err := b.blobs.NewReader(ctx, key, nil)
	if err != nil {
		return nil, b.failed("read", key, err)
	}
	defer func() { _ = r.Close() }()
	if r.Size() > most {
		return nil, b.refuse(key, fmt.Errorf("it has %d bytes; %d are the most", r.Size(), most))
	}
	text, err := io.ReadAll(io.LimitReader(r, most+1)) // whatever size was told
	if err != nil {
		return nil, b.failed("read", key, err)
	}
	if int64(len(text)) > most {
		return nil, b.refuse(key, fmt.Errorf("it has more than %d bytes", most))
	}
	return text, nil
}

// file reads a file of a record as its manifest tells of it.
func (b *Bucket) file(ctx context.Context, m Manifest, name string) ([]byte, error) {
	key := dataKey(m.UID, name)
	f, ok := m.file(name)
	if !ok {
		return nil, b.refuse(m.Head().Key(), fmt.Errorf("it names no file %s", name))
	}
	text, err := b.read(ctx, key, f.Bytes)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, b.refuse(key, errors.New("it is gone, though the manifest names it; the record cannot be used"))
	}
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); int64(len(text)) != f.Bytes || hex.EncodeToString(sum[:]) != f.SHA256 {
		return nil, b.refuse(key, errors.New("it is damaged: its size or its SHA-256 is not the manifest's"))
	}
	return text, nil
}

// Manifest reads the manifest of a record.
func (b *Bucket) Manifest(ctx context.Context, h Head) (Manifest, error) {
	text, err := b.read(ctx, h.Key(), maxManifest)
	if err != nil {
		return Manifest{}, err
	}
	m, err := decodeManifest(text)
	if err == nil && m.Head() != h {
		err = fmt.Errorf("it says that it is of %s", m.Head().Key())
	}
	if err != nil {
		return Manifest{}, b.refuse(h.Key(), err)
	}
	return m, nil
}

// Record reads a record as it lies open: without Secrets, and with placeholders for
// what else is sealed. Secrets.Into completes it.
func (b *Bucket) Record(ctx context.Context, h Head) (Manifest, catalog.Record, error) {
	m, err := b.Manifest(ctx, h)
	if err != nil {
		return m, catalog.Record{}, err
	}
	text, err := b.file(ctx, m, recordFile)
	if err != nil {
		return m, catalog.Record{}, err
	}
	r, err := decodeRecord(text, m)
	if err != nil {
		return m, catalog.Record{}, b.refuse(dataKey(m.UID, recordFile), err)
	}
	return m, r, nil
}

// decodeRecord unpacks a record and compares it with its manifest.
func decodeRecord(text []byte, m Manifest) (catalog.Record, error) {
	r, err := catalog.Decode(text, maxPlain)
	if err != nil {
		return r, err
	}
	if HeadOf(r) != m.Head() || r.Consistency != m.Consistency || len(r.Nodes) != len(m.Nodes) {
		return r, errors.New("it does not say of whom and when it is what its manifest says")
	}
	for i, raw := range r.Objects {
		o, err := catalog.CheckObject(raw, r.Namespace)
		if err != nil {
			return r, fmt.Errorf("object %d: %w", i, err)
		}
		if o.Kind == "Secret" || !o.Restored() {
			return r, fmt.Errorf("object %d: %s %s: objects of that kind have no place in it", i, o.Kind, o.Metadata.Name)
		}
	}
	return r, nil
}

// signature is what clouds put into the URLs that their errors quote.
var signature = regexp.MustCompile(`(?i)([?&](?:sig|se|sp|sv|[a-z-]*(?:signature|credential|security-token|accesskeyid))=)[^&\s"']+`)

// said makes one line without signatures of what a cloud's client said, which keeps
// its code.
func said(err error) error {
	return &saying{signature.ReplaceAllString(strings.Join(strings.Fields(err.Error()), " "), "${1}…"), err}
}

type saying struct {
	text string
	err  error
}

func (s *saying) Error() string { return s.text }
func (s *saying) Unwrap() error { return s.err }
