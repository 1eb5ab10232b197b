package after

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// sharing is one snapshot and who is to have it.
type sharing struct {
	snapshot
	accounts []string
}

// sharings are what is to be shared by now, and the copies that are not complete yet.
func sharings(b *api.Backup) (all []sharing, waits []string) {
	if with := b.Spec.EBS.ShareWith; len(with) > 0 {
		for _, s := range originals(b) {
			all = append(all, sharing{s, with})
		}
	}
	ready := copied(b)
	for _, c := range b.Spec.EBS.Copies {
		if len(c.ShareWith) == 0 {
			continue
		}
		if s := copyStatus(b, c.Name); s == nil || !s.Complete {
			waits = append(waits, c.Name)
			continue
		}
		for _, s := range ready {
			if s.copy == c.Name {
				all = append(all, sharing{s, c.ShareWith})
			}
		}
	}
	return all, waits
}

// share lets the accounts use the snapshots. EC2 takes it well when they may already,
// so that a call whose answer was lost is just made again.
func (j *job) share(ctx context.Context) (again time.Duration, err error) {
	all, waits := sharings(j.b)
	for _, s := range all {
		if j.shared[s.handle] {
			continue
		}
		what := fmt.Sprintf("share %s with %s", s, strings.Join(s.accounts, ", "))
		c, err := j.client(ctx, s.place, "ModifySnapshotAttribute", what)
		if err != nil {
			return 0, err
		}
		add := make([]types.CreateVolumePermission, 0, len(s.accounts))
		for i := range s.accounts {
			add = append(add, types.CreateVolumePermission{UserId: &s.accounts[i]})
		}
		_, err = c.ModifySnapshotAttribute(ctx, &ec2.ModifySnapshotAttributeInput{SnapshotId: &s.handle, Attribute: types.SnapshotAttributeNameCreateVolumePermission,
			CreateVolumePermission: &types.CreateVolumePermissionModifications{Add: add}})
		if err != nil {
			return 0, faultOf(err, s.place, "ModifySnapshotAttribute", what)
		}
		j.shared[s.handle] = true
	}
	if len(waits) > 0 {
		j.progress(api.ConditionShared, fmt.Sprintf("%d snapshots are shared; those of the copies %s will be once they are complete", len(all), strings.Join(waits, ", ")))
		return 0, nil // the copies come again by themselves
	}
	j.done(api.ConditionShared, fmt.Sprintf("%d snapshots are shared with the accounts asked for", len(all)))
	return 0, nil
}

// waitsForShare tells whether the originals wait to be shared with the account of a role,
// without which it can copy nothing.
func (j *job) waitsForShare(role string) (account string, waits bool) {
	// arn:aws:iam::123456789012:role/name
	parts := strings.Split(role, ":")
	if len(parts) < 5 || !slices.Contains(j.b.Spec.EBS.ShareWith, parts[4]) || isDone(j.b, api.ConditionShared) {
		return "", false
	}
	for _, s := range originals(j.b) {
		if !j.shared[s.handle] {
			return parts[4], true
		}
	}
	return "", false
}
