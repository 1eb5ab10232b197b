package file

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
	"github.com/medic/cht-backup/snapshot/reason"
)

// guarded is a copier's source whose errors bear the reason of a copier that is lost:
// what it held is gone with it, so that no other try helps. Those of the repository,
// which come through it, stay what they are.
type guarded struct {
	transfer.Source
	service string
}

// Files implements transfer.Source.
func (g guarded) Files(ctx context.Context) ([]tree.Meta, error) {
	files, err := g.Source.Files(ctx)
	return files, g.mark(ctx, err)
}

// Match implements transfer.Source.
func (g guarded) Match(ctx context.Context, file int, known []tree.Piece) (int, error) {
	n, err := g.Source.Match(ctx, file, known)
	return n, g.mark(ctx, err)
}

// Read implements transfer.Source.
func (g guarded) Read(ctx context.Context, file int, from int64, yield func(transfer.Frame) error) error {
	var theirs error
	err := g.Source.Read(ctx, file, from, func(f transfer.Frame) error {
		theirs = yield(f)
		return theirs
	})
	if theirs != nil {
		return theirs
	}
	return g.mark(ctx, err)
}

func (g guarded) mark(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, transfer.ErrShort) {
		return err
	}
	return lost(g.service, err)
}

// lost is the error of a copier that does not have the files any more.
func lost(service string, err error) error {
	if reason.Of(err) != nil {
		return err
	}
	if errors.Is(err, node.ErrLetGo) {
		return reason.Refuse(api.ReasonCopierLost, "%s: its copier let the files go before they were copied, since CouchDB needed the space; make the volume larger, or let compactions run at another time: %w", service, err)
	}
	return reason.Refuse(api.ReasonCopierLost, "%s: the copier that held its files open is lost, and what it held with it: %w", service, err)
}

// counter counts what is new in the repository, in bytes as they are stored there.
type counter struct {
	Session
	sent atomic.Int64
}

// Put implements transfer.Writer.
func (c *counter) Put(ctx context.Context, f transfer.Frame) (tree.Chunk, error) {
	_, known := c.Find(f.ID)
	chunk, err := c.Session.Put(ctx, f)
	if err == nil && !known {
		c.sent.Add(chunk.Stored)
	}
	return chunk, err
}

func andMore(n int) string { return fmt.Sprintf("and %d more", n) }
