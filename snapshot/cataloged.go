package snapshot

import (
	"context"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Catalog keeps the records of completed backups outside the cluster. It changes, in a
// status, only Catalog and the condition Cataloged, and never waits for what is away.
type Catalog interface {
	// Wants tells, without asking anybody, whether the record of a completed backup is
	// still to be written: from the condition and status.catalog.url.
	Wants(b *api.Backup) bool
	// Keep writes the record, and tells when to come again, 0 for never.
	Keep(ctx context.Context, b *api.Backup) (again time.Duration)
	// CopyComplete notes a complete copy where a restore elsewhere finds it. It is
	// called once a copy is complete, and again until it has succeeded for all copies; it
	// takes being called for what is noted already.
	CopyComplete(ctx context.Context, b *api.Backup, c api.CopyStatus) error
	// Remove takes the record of a backup back that is deleted, before its snapshots go,
	// and tells when to come again, 0 when it is gone.
	Remove(ctx context.Context, b *api.Backup) (again time.Duration, err error)
}

// Wants tells whether the record of a completed backup is not in the catalog; nil where
// there is none.
func (r *Reconciler) Wants() func(*api.Backup) bool {
	if r.Catalog == nil {
		return nil
	}
	return r.Catalog.Wants
}

// removeFromCatalog takes the record of a backup that is deleted out of the catalog.
func (r *Reconciler) removeFromCatalog(ctx context.Context, b *api.Backup) (again time.Duration, err error) {
	if r.Catalog == nil {
		return 0, nil
	}
	return r.Catalog.Remove(ctx, b)
}

// passOver leaves a Backup alone that only shows a record of the catalog. One that
// says so elsewhere than where those are is told why nothing happens.
func (r *Reconciler) passOver(ctx context.Context, b *api.Backup) error {
	if b.Namespace == r.Records.Namespace || b.Status.Phase != "" {
		return nil
	}
	b.Status.Phase = api.PhaseFailed
	r.conclude(b, false, api.ReasonImported, "the label "+api.ImportedLabel+" marks Backups that only show a record of the catalog; nothing was done for this one. Create another without it")
	if err := r.save(ctx, b); err != nil {
		return err
	}
	r.tell(ctx, "", b)
	return nil
}
