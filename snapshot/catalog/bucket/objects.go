package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/medic/cht-backup/snapshot/file/repo"
)

// objectsUnder are the places that repositories of files have in a catalog's bucket.
var objectsUnder = []string{"v1/files/", "v1/repositories/"}

// maxObject bounds an object that is written, and what is read of one at once.
const maxObject = 256 << 20

// elementForm is what the parts of a key between slashes are made of.
var elementForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// Objects gives the part of the bucket in which repositories of files lie.
func (b *Bucket) Objects() repo.Objects { return objects{b} }

type objects struct{ b *Bucket }

// checkObject refuses a key that is none of a repository's: with one that has dots a
// directory could be left.
func checkObject(key string, prefix bool) error {
	if len(key) > longestKey {
		return fmt.Errorf("a key of %d bytes; %d are the most", len(key), longestKey)
	}
	for _, under := range objectsUnder {
		rest, ok := strings.CutPrefix(key, under)
		if !ok {
			continue
		}
		if prefix {
			rest = strings.TrimSuffix(rest, "/")
			if rest == "" {
				return nil
			}
		}
		for _, element := range strings.Split(rest, "/") {
			if !elementForm.MatchString(element) {
				return fmt.Errorf("%.200q is no key of a repository's object", key)
			}
		}
		return nil
	}
	return fmt.Errorf("%.200q is not below %s", key, strings.Join(objectsUnder, " or "))
}

func (o objects) Put(ctx context.Context, key string, data []byte) error {
	if err := checkObject(key, false); err != nil {
		return o.b.refuse(key, err)
	}
	if len(data) > maxObject {
		return o.b.refuse(key, fmt.Errorf("it has %d bytes; %d are the most", len(data), maxObject))
	}
	if o.b.dir != "" {
		if err := ctx.Err(); err != nil {
			return o.b.failed("write", key, err)
		}
		err := o.b.writeFile(key, data, true)
		if errors.Is(err, errExists) {
			return o.b.refuse(key, repo.ErrExists)
		}
		return err
	}
	// Sent in one piece, and not through a pipe that copies it.
	err := o.b.blobs.Upload(ctx, key, bytes.NewReader(data), &blob.WriterOptions{ContentType: "application/octet-stream", IfNotExist: true, MaxConcurrency: 1})
	switch code := gcerrors.Code(err); {
	case code == gcerrors.FailedPrecondition || code == gcerrors.AlreadyExists:
		return o.b.refuse(key, repo.ErrExists)
	case err != nil:
		return o.b.failed("write", key, err)
	}
	return nil
}

func (o objects) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := checkObject(key, false); err != nil {
		return nil, o.b.refuse(key, err)
	}
	if offset < 0 || length < 1 || length > maxObject {
		return nil, o.b.refuse(key, fmt.Errorf("%d bytes from %d on cannot be read at once", length, offset))
	}
	r, err := o.b.blobs.NewRangeReader(ctx, key, offset, length, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, o.b.refuse(key, repo.ErrNotFound)
	}
	if err != nil {
		if beyond(err) {
			return nil, nil
		}
		return nil, o.b.failed("read", key, err)
	}
	defer func() { _ = r.Close() }()
	// What was asked for, whatever the store sends; and no more memory than it sends.
	size := min(length, max(r.Size()-offset, 0))
	data := make([]byte, size)
	n, err := io.ReadFull(r, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // it ends there; the caller knows how much it must be
	}
	if err != nil {
		return nil, o.b.failed("read", key, err)
	}
	return data[:n], nil
}

// beyond tells whether a range begins after an object's end, for which S3 and Azure
// have a status.
func beyond(err error) bool {
	text := err.Error()
	return strings.Contains(text, "InvalidRange") || strings.Contains(text, "StatusCode: 416") || strings.Contains(text, "RESPONSE 416") || strings.Contains(text, "Error 416")
}

func (o objects) List(ctx context.Context, prefix string, each func(repo.Object) error) error {
	if err := checkObject(prefix, true); err != nil {
		return o.b.refuse(prefix, err)
	}
	if o.b.dir != "" {
		return o.b.listFiles(ctx, prefix, each)
	}
	for token := blob.FirstPageToken; len(token) > 0; {
		found, next, err := o.b.blobs.ListPage(ctx, token, pageKeys, &blob.ListOptions{Prefix: prefix})
		if err != nil && !errors.Is(err, io.EOF) {
			return o.b.failed("list", prefix, err)
		}
		for _, f := range found {
			if f.IsDir {
				continue
			}
			if err := each(repo.Object{Key: f.Key, Size: f.Size, Time: f.ModTime}); err != nil {
				return err
			}
		}
		token = next
	}
	return nil
}

func (o objects) Delete(ctx context.Context, key string) error {
	if err := checkObject(key, false); err != nil {
		return o.b.refuse(key, err)
	}
	err := o.b.drop(ctx, key)
	if err != nil && ctx.Err() == nil && refusal(err) {
		return fmt.Errorf("%w: %w", repo.ErrKept, err)
	}
	return err
}

// refusal tells whether a store will not delete an object now, and was not merely out of
// reach: S3 and GCS say that it is forbidden, Azure that it conflicts with a policy.
func refusal(err error) bool {
	if kept(err) {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "ObjectLocked") || strings.Contains(text, "BlobImmutable") || strings.Contains(text, "MethodNotAllowed")
}
