package command

import (
	"context"
	"errors"
	"strings"

	"filippo.io/age"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

// offsiteKept is one backup outside the cluster, read and checked.
type offsiteKept struct {
	// source is the catalog's URL, or says whose tags were read.
	source string
	// manifest and copies are empty for one that was put together from tags.
	manifest bucket.Manifest
	copies   []bucket.Copy
	record   catalog.Record
	// opened tells that the sealed Secrets are in the record.
	opened bool
	// keys are those of the repositories of its files, as far as the identity opens them;
	// sealed says why others are not there.
	keys   map[string]repo.Key
	sealed []string
}

// readKept reads the backup that a URL means from its catalog, and opens its Secrets
// if there is an identity.
func (e *Env) readKept(ctx context.Context, place string, which *choice, identity *identityFlag, uid string) (offsiteKept, error) {
	identities, err := identity.identities(e.In)
	if err != nil {
		return offsiteKept{}, err
	}
	b, scope, err := e.findCatalog(ctx, place)
	if err != nil {
		return offsiteKept{}, err
	}
	defer b.Close() //nolint:errcheck // only read
	want, err := which.wanted(scope.Namespace, scope.Name, uid)
	if err != nil {
		return offsiteKept{}, err
	}
	head, err := e.chooseHead(ctx, b, want)
	if err != nil {
		return offsiteKept{}, err
	}
	kept := offsiteKept{source: b.URL()}
	if kept.manifest, kept.record, err = b.Record(ctx, head); err != nil {
		return kept, explainBucket(ctx, "read the record", err)
	}
	var warnings []error
	if kept.copies, warnings, err = b.Copies(ctx, head.UID); err != nil {
		return kept, explainBucket(ctx, "look for copies of the snapshots", err)
	}
	for _, w := range warnings {
		e.note("%s", show.OneLine(w.Error()))
	}
	kept.record = offsite.WithCopies(kept.record, kept.copies)
	if len(identities) == 0 {
		return kept, nil
	}
	if err := e.unsealKeys(ctx, b, &kept, identities); err != nil {
		return kept, err
	}
	return kept, e.unseal(ctx, b, &kept, identities)
}

// unseal opens the sealed Secrets, here and nowhere else.
func (e *Env) unseal(ctx context.Context, b *bucket.Bucket, kept *offsiteKept, identities []age.Identity) error {
	secrets, err := b.Secrets(ctx, kept.manifest, identities...)
	var wrong *age.NoIdentityMatchError
	switch {
	case errors.Is(err, bucket.ErrLeftOut):
		e.note("the identity is not needed: the Secrets were left out of this record, since no recipient was configured")
		return nil
	case errors.As(err, &wrong):
		return exit.Errorf(exit.Refused, "the identity does not open the Secrets of this record, which are sealed to %s; give the one that belongs to one of these", strings.Join(kept.manifest.Secrets.Recipients, ", "))
	case err != nil:
		return explainBucket(ctx, "open the Secrets", err)
	}
	record, err := secrets.Into(kept.record)
	if err != nil {
		return exit.Errorf(exit.Refused, "%s: the sealed Secrets do not go with the record: %w", kept.source, err)
	}
	kept.record, kept.opened = record, true
	return nil
}

// readSet makes the record of a set of snapshots from its tags alone.
func (e *Env) readSet(ctx context.Context, region, argument string, which *choice, uid string) (offsiteKept, error) {
	namespace, name, err := splitName(argument)
	if err != nil {
		return offsiteKept{}, err
	}
	want, err := which.wanted(namespace, name, uid)
	if err != nil {
		return offsiteKept{}, err
	}
	set, err := e.chooseSet(ctx, region, want)
	if err != nil {
		return offsiteKept{}, err
	}
	record, err := offsite.RecordOf(set, nil)
	if err != nil {
		return offsiteKept{}, exit.Errorf(exit.Refused, "tags in %s: backup %s/%s: %w", region, set.Namespace, set.Backup, err)
	}
	return offsiteKept{source: "tags of EBS snapshots in " + region, record: record}, nil
}
