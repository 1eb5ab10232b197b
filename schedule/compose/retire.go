package compose

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gocloud.dev/gcerrors"

	"github.com/medic/cht-backup/schedule/retention"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

// orphanAge is how old files without a record are that nobody will write one for.
const orphanAge = 24 * time.Hour

// Retire removes what a policy does not keep.
type Retire struct {
	Bucket     *bucket.Bucket
	Repository *repo.Repository
	// Namespace and Host are those of the records that are this machine's own.
	Namespace, Host string
	Policy          retention.Policy
	Zone            *time.Location
	Now             func() time.Time
	// Plan only tells what would be removed.
	Plan bool
	Say  func(format string, args ...any)
}

// Run removes records, then their files, and gives the decisions. The record goes first:
// one whose files are gone would promise what it does not hold.
func (r Retire) Run(ctx context.Context) ([]retention.Decision, error) {
	heads, backups, owners, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	plan := retention.Plan(r.Policy, r.Zone, r.Now(), backups)
	if r.Plan {
		return plan, nil
	}
	removed := map[string]bool{}
	for _, d := range plan {
		if d.Keep || d.State != retention.Good {
			continue
		}
		h := heads[d.Name]
		if err := r.Bucket.Delete(ctx, h); err != nil {
			if kept(err) {
				r.Say("backup %s stays, since the store keeps it: %v", h.Name, err)
				continue
			}
			return plan, err
		}
		delete(owners, string(h.UID))
		removed[string(h.UID)] = true
		r.Say("backup %s is removed: %s", h.Name, d.Reason())
	}
	if err := r.trees(ctx, owners, removed); err != nil {
		return plan, err
	}
	collected, err := r.Repository.Collect(ctx)
	if err != nil {
		return plan, fmt.Errorf("collect what no backup needs: %w", err)
	}
	if collected.Deleted > 0 {
		r.Say("%d packs (%d bytes) that no backup needs were deleted", collected.Deleted, collected.Bytes)
	}
	if collected.Kept > 0 {
		r.Say("%d packs that no backup needs stay: %s", collected.Kept, collected.Why)
	}
	return plan, nil
}

// look gives the records of the namespace, and whose files are still needed.
func (r Retire) look(ctx context.Context) (heads map[string]bucket.Head, backups []retention.Backup, owners map[string]bool, err error) {
	heads, owners = map[string]bucket.Head{}, map[string]bool{}
	_, err = r.Bucket.Heads(ctx, r.Namespace, func(h bucket.Head) error {
		owners[string(h.UID)] = true
		b := retention.Backup{Name: h.Name + " " + string(h.UID), Time: h.CutTime, State: retention.Good}
		m, err := r.Bucket.Manifest(ctx, h)
		switch {
		case bucket.Unanswered(err):
			return err // it may be the newest of all
		case err != nil:
			b.Foreign = "cannot be read"
		case m.Cluster != r.Host:
			b.Foreign = "of host " + m.Cluster
		case m.Nodes[0].Files == nil || m.Nodes[0].Files.Repository != r.Repository.ID():
			b.Foreign = "of another repository"
		}
		heads[b.Name], backups = h, append(backups, b)
		return nil
	})
	return heads, backups, owners, err
}

// trees deletes the files of backups that have no record: their own was removed just now,
// or they were killed before they wrote one.
func (r Retire) trees(ctx context.Context, needed, removed map[string]bool) error {
	all, err := r.Repository.Trees(ctx)
	if err != nil {
		return err
	}
	for _, t := range all {
		if needed[t.Owner] || !removed[t.Owner] && r.Now().Sub(t.Time) < orphanAge {
			continue
		}
		if err := r.Repository.DeleteTree(ctx, t.Name); errors.Is(err, repo.ErrKept) {
			r.Say("the files of %s stay: %v", t.Owner, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// kept tells whether a store refuses to delete, as one with object lock does.
func kept(err error) bool {
	code := gcerrors.Code(err)
	return code == gcerrors.PermissionDenied || code == gcerrors.FailedPrecondition || errors.Is(err, repo.ErrKept)
}
