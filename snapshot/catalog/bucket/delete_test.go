package bucket

import (
	"context"
	"errors"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// dying is a store that dies after one deletion.
type dying struct {
	driver.Bucket
	deleted []string
}

func (d *dying) Delete(_ context.Context, key string, _ *driver.DeleteOptions) error {
	if len(d.deleted) > 0 {
		return errors.New("the network is down")
	}
	d.deleted = append(d.deleted, key)
	return nil
}

func (d *dying) ListPaged(_ context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	return &driver.ListPage{Objects: []*driver.ListObject{{Key: o.Prefix + recordFile}}}, nil
}

func (*dying) ErrorCode(error) gcerrors.ErrorCode { return gcerrors.Unknown }
func (*dying) Close() error                       { return nil }

// A record that is half removed must not be found: without its manifest it is not there,
// with it a restore would look for data that is gone.
func TestInterruptedDeletion(t *testing.T) {
	store := &dying{}
	b := &Bucket{blobs: blob.NewBucket(store), url: "mem://"}
	h := HeadOf(record(t, "cht", "b", "4c9d"))
	if err := b.Delete(t.Context(), h); err == nil {
		t.Error("no error although the record's data is still there")
	}
	if len(store.deleted) != 1 || store.deleted[0] != h.Key() {
		t.Errorf("deleted %v first, want the manifest %s", store.deleted, h.Key())
	}
}
