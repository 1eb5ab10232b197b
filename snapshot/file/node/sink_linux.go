package node

import (
	"context"
	"errors"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Filling is a volume that is being filled: a transfer.Sink. A file is written beside
// its place, each chunk compared with its ID, and put in its place when it is whole. A
// journal on the volume says what is complete and on disk, so that a filling that was
// interrupted goes on; Finish removes it.
type Filling struct{}

var _ transfer.Sink = (*Filling)(nil)

// Fill opens the directories of a volume, and makes those that are not there. tree names
// what it is filled with: a filling goes on only with the same.
func Fill(l Layout, tree string) (*Filling, error) { return nil, errors.ErrUnsupported }

// Begin implements transfer.Sink. It refuses a volume that has files of CouchDB which it
// did not put there, one that is too small, and paths that no backup ever has.
func (f *Filling) Begin(ctx context.Context, files []tree.Meta, key tree.HashKey) (done []int, err error) {
	return nil, errors.ErrUnsupported
}

// Put implements transfer.Sink.
func (f *Filling) Put(ctx context.Context, file int, next func() (transfer.Frame, error)) error {
	return errors.ErrUnsupported
}

// Finish implements transfer.Sink.
func (f *Filling) Finish(ctx context.Context) error { return errors.ErrUnsupported }

// Close lets the directories go. What was filled stays.
func (f *Filling) Close() error { return nil }
