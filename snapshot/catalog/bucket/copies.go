package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/medic/cht-backup/snapshot/bounded"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// copyFormat is the version of the note of a copy.
const copyFormat = 1

// maxCopies of a record that are read.
const maxCopies = 100

// Copy tells of a complete copy of a record's snapshots elsewhere, so that a restore
// there finds them. It is written when the copy is complete, and never changed.
type Copy struct {
	Format int `json:"format"`
	// UID of the backup.
	UID types.UID `json:"uid"`
	// Name of the copy in the Backup's spec.
	Name string `json:"name"`
	// Region and Account (of AWS) it lies in.
	Region  string `json:"region"`
	Account string `json:"account,omitempty"`
	// CompletionTime is when it was seen to be complete.
	CompletionTime time.Time `json:"completionTime"`
	// Volumes are the snapshots, one for each CouchDB node.
	Volumes []CopiedVolume `json:"volumes"`
}

// CopiedVolume is one node's snapshot in a copy.
type CopiedVolume struct {
	// Node is the value of cht.service.
	Node   string `json:"node"`
	Handle string `json:"handle"`
	// KMSKeyID it is encrypted with, an ARN.
	KMSKeyID string `json:"kmsKeyID,omitempty"`
}

var serviceForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

func (c Copy) check() error {
	switch {
	case c.Format != copyFormat:
		return fmt.Errorf("it has format %d, this version reads %d; use a newer cht-backup", c.Format, copyFormat)
	case !catalog.IsCopyName(c.Name) || !catalog.IsRegion(c.Region) || !catalog.IsAccount(c.Account):
		return fmt.Errorf("its name %q, Region %q or account %q is none", clip(c.Name), clip(c.Region), clip(c.Account))
	case len(c.Volumes) == 0 || len(c.Volumes) > maxVolumes:
		return fmt.Errorf("it has %d volumes", len(c.Volumes))
	}
	seen := map[string]bool{}
	for _, v := range c.Volumes {
		if !serviceForm.MatchString(v.Node) || seen[v.Node] || !catalog.IsEBSSnapshot(v.Handle) || !shown(v.KMSKeyID, 2048) {
			return fmt.Errorf("volume of %q: %q is no snapshot, or it is there twice", clip(v.Node), clip(v.Handle))
		}
		seen[v.Node] = true
	}
	return catalog.CheckIdentity("any", "any", string(c.UID))
}

func copyKey(uid types.UID, name string) string { return dataKey(uid, copyBegin+name+jsonEnd) }

// PutCopy notes a complete copy. The same note again is good.
func (b *Bucket) PutCopy(ctx context.Context, c Copy) error {
	c.Format, c.CompletionTime = copyFormat, c.CompletionTime.UTC()
	key := copyKey(c.UID, c.Name)
	if err := c.check(); err != nil {
		return b.refuse(key, err)
	}
	if err := b.checkRoot(ctx); err != nil {
		return err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	err = b.write(ctx, key, text, true)
	if !errors.Is(err, errExists) {
		return err
	}
	there, err := b.copy(ctx, c.UID, c.Name)
	if err != nil {
		return err
	}
	there.CompletionTime = c.CompletionTime
	if again, err := json.Marshal(there); err != nil || string(again) != string(text) {
		return b.refuse(key, errors.New("another copy is noted under that name, and is not replaced"))
	}
	return nil
}

func (b *Bucket) copy(ctx context.Context, uid types.UID, name string) (Copy, error) {
	key := copyKey(uid, name)
	text, err := b.read(ctx, key, maxCopy)
	if err != nil {
		return Copy{}, err
	}
	c, err := decodeCopy(text)
	if err == nil && (c.UID != uid || c.Name != name) {
		err = errors.New("it says that it is of another")
	}
	if err != nil {
		return Copy{}, b.refuse(key, err)
	}
	return c, nil
}

func decodeCopy(text []byte) (Copy, error) {
	var c Copy
	if err := bounded.Text(text, 10, 10_000); err != nil {
		return c, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("decode: %w", err)
	}
	return c, c.check()
}

// Copies gives what is noted of a record's copies, in the order of their names. One
// that cannot be used is told in warnings.
func (b *Bucket) Copies(ctx context.Context, uid types.UID) (copies []Copy, warnings []error, err error) {
	if err := catalog.CheckIdentity("any", "any", string(uid)); err != nil {
		return nil, nil, err
	}
	under := dataKey(uid, copyBegin)
	objects, next, err := b.blobs.ListPage(ctx, blob.FirstPageToken, maxCopies, &blob.ListOptions{Prefix: under})
	if err != nil && !errors.Is(err, io.EOF) && gcerrors.Code(err) != gcerrors.NotFound {
		return nil, nil, b.failed("list", under, err)
	}
	if len(next) > 0 {
		warnings = append(warnings, fmt.Errorf("%s: more than %d copies are noted below %s; the others are not read", b.url, maxCopies, under))
	}
	for _, o := range objects {
		name, json := strings.CutSuffix(strings.TrimPrefix(o.Key, under), jsonEnd)
		if !json || !catalog.IsCopyName(name) {
			continue
		}
		c, err := b.copy(ctx, uid, name)
		var refused *Refused
		switch {
		case err == nil:
			copies = append(copies, c)
		case errors.As(err, &refused):
			warnings = append(warnings, err)
		default:
			return nil, nil, err
		}
	}
	return copies, warnings, nil
}
