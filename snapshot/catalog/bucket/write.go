package bucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// Writer says who writes, and to whom Secrets are sealed.
type Writer struct {
	// Cluster is the cluster's name, Program the version of cht-backup.
	Cluster, Program string
	// Recipients are public keys of age's, age1…. Without one, Secrets are left out.
	Recipients []string
}

// errExists is the answer of a write that must not replace anything.
var errExists = errors.New("it is there already")

// Put writes a record. The manifest comes last and is never changed: a record that
// is there already and says the same is good, one that says something else is an
// error.
func (b *Bucket) Put(ctx context.Context, r catalog.Record, by Writer) (Manifest, error) {
	if err := b.found(ctx); err != nil {
		return Manifest{}, err
	}
	m := manifestOf(r, by.Cluster, by.Program)
	h := m.Head()
	if err := h.Check(); err != nil {
		return m, fmt.Errorf("%s: the record of %s/%s can have no key: %w", b.url, r.Namespace, r.Name, err)
	}
	open, kept, held, err := split(r)
	if err != nil {
		return m, err
	}
	packed, err := catalog.Encode(open)
	if err != nil {
		return m, err
	}
	if len(packed) > maxPacked {
		return m, b.refuse(dataKey(m.UID, recordFile), fmt.Errorf("the record has %d bytes; %d are the most", len(packed), maxPacked))
	}
	m.Files, m.Secrets.Held = []File{fileOf(recordFile, packed)}, held
	if there, err := b.there(ctx, m); there != nil || err != nil {
		if there != nil {
			m = *there
		}
		return m, err
	}
	m.Secrets.State = api.SecretsLeftOut
	var sealed []byte
	if len(by.Recipients) > 0 {
		recipients, err := Recipients(by.Recipients)
		if err != nil {
			return m, err
		}
		if sealed, err = seal(kept, recipients); err != nil {
			return m, err
		}
		m.Secrets.State = api.SecretsSealed
		m.Files = append(m.Files, fileOf(secretsFile, sealed))
		for _, key := range by.Recipients {
			m.Secrets.Recipients = append(m.Secrets.Recipients, strings.TrimSpace(key))
		}
	}
	text, err := encodeManifest(&m)
	if err != nil {
		return m, b.refuse(h.Key(), err)
	}
	// Without a manifest, what lies under the data is what an interrupted write left.
	if err := b.write(ctx, dataKey(m.UID, recordFile), packed, false); err != nil {
		return m, err
	}
	if len(sealed) > 0 {
		if err := b.write(ctx, dataKey(m.UID, secretsFile), sealed, false); err != nil {
			return m, err
		}
	}
	if err := b.write(ctx, h.Key(), text, true); err != nil {
		if !errors.Is(err, errExists) {
			return m, err
		}
		there, err := b.there(ctx, m)
		if there != nil {
			m = *there
		}
		return m, err
	}
	return m, nil
}

// there gives the manifest that is there already, if it is of the same record.
func (b *Bucket) there(ctx context.Context, m Manifest) (*Manifest, error) {
	there, err := b.Manifest(ctx, m.Head())
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mine, _ := m.file(recordFile)
	if theirs, _ := there.file(recordFile); theirs != mine {
		return nil, b.refuse(m.Head().Key(), errors.New("another record is there under the same key, and is not replaced. If it is no good, delete the object, and this one is written"))
	}
	return &there, nil
}

// encodeManifest also shortens what would make it too large to be read.
func encodeManifest(m *Manifest) ([]byte, error) {
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	if len(text) > maxManifest {
		for i := range m.Secrets.Held {
			m.Secrets.Held[i].Keys = nil
		}
		m.Images = nil
		if text, err = json.MarshalIndent(m, "", " "); err != nil {
			return nil, err
		}
	}
	if _, err := decodeManifest(text); err != nil { // what cannot be read is not written
		return nil, fmt.Errorf("its manifest could not be read again: %w", err)
	}
	return text, nil
}

func fileOf(name string, text []byte) File {
	sum := sha256.Sum256(text)
	return File{Name: name, Bytes: int64(len(text)), SHA256: hex.EncodeToString(sum[:])}
}

// Found makes the place a catalog if it is none yet, and refuses another product's.
func (b *Bucket) Found(ctx context.Context) error { return b.found(ctx) }

// found makes the place a catalog if it is none yet.
func (b *Bucket) found(ctx context.Context) error {
	err := b.checkRoot(ctx)
	if !errors.Is(err, ErrNoCatalog) {
		return err
	}
	text, err := json.Marshal(root{Product: product, Layout: LayoutVersion})
	if err != nil {
		return err
	}
	if err := b.write(ctx, rootKey, append(text, '\n'), true); err != nil && !errors.Is(err, errExists) {
		return err
	}
	return b.checkRoot(ctx)
}

// write writes one object; with once, only if none is there.
func (b *Bucket) write(ctx context.Context, key string, text []byte, once bool) error {
	if b.dir != "" {
		return b.writeFile(key, text, once)
	}
	kind := "application/octet-stream"
	if strings.HasSuffix(key, jsonEnd) {
		kind = "application/json"
	}
	err := b.put(ctx, key, text, &blob.WriterOptions{ContentType: kind, IfNotExist: once})
	switch {
	case once && slices.Contains([]gcerrors.ErrorCode{gcerrors.FailedPrecondition, gcerrors.AlreadyExists}, gcerrors.Code(err)):
		return b.refuse(key, errExists)
	case err != nil:
		return b.failed("write", key, err)
	}
	return nil
}

func (b *Bucket) put(ctx context.Context, key string, text []byte, opts *blob.WriterOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before Close, it takes a half written object back
	w, err := b.blobs.NewWriter(ctx, key, opts)
	if err != nil {
		return err
	}
	if _, err := bytes.NewReader(text).WriteTo(w); err != nil {
		cancel()
		return errors.Join(err, w.Close())
	}
	return w.Close()
}
