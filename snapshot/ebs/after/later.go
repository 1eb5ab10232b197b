package after

import (
	"context"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Wants implements snapshot.Later.
func (w *Worker) Wants(b *api.Backup) bool { return !w.Settled(b) }

// Tend implements snapshot.Later. It gives no error: what goes wrong stands in the
// conditions.
func (w *Worker) Tend(ctx context.Context, b *api.Backup) (again time.Duration, err error) {
	return w.Advance(ctx, b), nil
}

// Release implements snapshot.Later.
func (w *Worker) Release(ctx context.Context, b *api.Backup) (left int, again time.Duration, err error) {
	left, again = w.Remove(ctx, b)
	return left, again, nil
}
