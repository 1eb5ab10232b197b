package restore

import (
	"context"
	"errors"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/file/link"
	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
	"github.com/medic/cht-backup/snapshot/reason"
)

// damage gives its reason to the error of a repository that nothing can mend. All other
// errors of reading it may pass: the bucket was not reached.
func damage(err error) error {
	var bad *repo.Damaged
	switch {
	case err == nil || reason.Of(err) != nil:
		return err
	case errors.As(err, &bad), errors.Is(err, repo.ErrNotFound):
		return reason.Refuse(api.ReasonRepositoryDamaged, "%w; see what else is damaged with `kubectl cht repo check --read-data`, and restore another backup, or from the snapshots of this one if it has them (--data-from Snapshot)", err)
	}
	return err
}

// refusals gives their reason to the errors of a filler that answers: it would answer the
// same again. A connection that is lost is made anew.
type refusals struct{ transfer.Sink }

func (s refusals) Begin(ctx context.Context, files []tree.Meta, key tree.HashKey) ([]int, error) {
	done, err := s.Sink.Begin(ctx, files, key)
	return done, refused(ctx, err)
}

func (s refusals) Put(ctx context.Context, file int, next func() (transfer.Frame, error)) error {
	err := s.Sink.Put(ctx, file, next)
	return refused(ctx, err)
}

func (s refusals) Finish(ctx context.Context) error { return refused(ctx, s.Sink.Finish(ctx)) }

func refused(ctx context.Context, err error) error {
	var bad *repo.Damaged
	switch {
	case err == nil || ctx.Err() != nil || reason.Of(err) != nil || errors.Is(err, link.ErrLost) || errors.As(err, &bad):
		return err
	case errors.Is(err, node.ErrNoSpace):
		return reason.Refuse(api.ReasonFillFailed, "%w; restore into a larger claim (--claim-size), or another storage class", err)
	}
	return reason.Refuse(api.ReasonFillFailed, "%w", err)
}
