package after

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"k8s.io/apimachinery/pkg/api/meta"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// archivePoll is how often an archival under way is looked at: it takes hours.
const archivePoll = 15 * time.Minute

// holdsArchive tells why the originals must stay in the standard tier, and when that is
// to be looked at again; 0 for when something else changes.
func holdsArchive(b *api.Backup, now time.Time) (why string, again time.Duration) {
	at := b.Status.CutTime.Add(b.Spec.EBS.ArchiveAfter.Duration)
	switch fast := meta.FindStatusCondition(b.Status.Conditions, api.ConditionFastRestore); {
	case at.After(now):
		return "the snapshots go to the archive tier on " + at.UTC().Format(time.RFC3339), at.Sub(now)
	case !copiesComplete(b):
		return "the snapshots stay in the standard tier until all copies are complete", 0
	case b.Spec.EBS.FastRestore != nil && (fast == nil || fast.Reason != api.ReasonFastRestoreOff):
		return "the snapshots stay in the standard tier as long as they have fast snapshot restore", 0
	}
	return "", 0
}

// tiering is how far a snapshot is on its way to the archive.
type tiering int

const (
	standard tiering = iota
	archiving
	archived
	archivingFailed
)

func tieringOf(s types.SnapshotTierStatus) tiering {
	switch {
	case s.StorageTier == types.StorageTierArchive:
		return archived
	case s.LastTieringOperationStatus == types.TieringOperationStatusArchivalInProgress:
		return archiving
	case s.LastTieringOperationStatus == types.TieringOperationStatusArchivalFailed:
		return archivingFailed
	}
	return standard
}

// archive moves the originals to the archive tier when their time has come.
func (j *job) archive(ctx context.Context) (again time.Duration, err error) {
	if why, again := holdsArchive(j.b, j.now); why != "" {
		j.progress(api.ConditionArchived, why)
		return again, nil
	}
	all := originals(j.b)
	done := 0
	places, grouped := byPlace(all)
	for _, p := range places {
		what := "look at the tier of " + strings.Join(handles(grouped[p]), ", ")
		c, err := j.client(ctx, p, "DescribeSnapshotTierStatus", what)
		if err != nil {
			return 0, err
		}
		said, err := tiers(ctx, c, handles(grouped[p]))
		if err != nil {
			return 0, faultOf(err, p, "DescribeSnapshotTierStatus", what)
		}
		for _, s := range grouped[p] {
			is := tieringOf(said[s.handle])
			switch is {
			case archived:
				done++
				continue
			case archiving:
				continue
			case standard, archivingFailed:
			}
			what := "archive " + s.String()
			if _, err := c.ModifySnapshotTier(ctx, &ec2.ModifySnapshotTierInput{SnapshotId: &s.handle, StorageTier: types.TargetStorageTierArchive}); err != nil {
				return 0, faultOf(err, p, "ModifySnapshotTier", what)
			}
			if is == archivingFailed { // it goes on, and the failure is told
				return 0, &fault{kind: passing, text: fmt.Sprintf("%s in %s: EC2 had failed (%s) and was asked again", what, p, oneLine(aws.ToString(said[s.handle].LastTieringOperationStatusDetail)))}
			}
		}
	}
	if done < len(all) {
		j.progress(api.ConditionArchived, fmt.Sprintf("%d of %d snapshots are in the archive tier, the others are on their way", done, len(all)))
		return archivePoll, nil
	}
	j.done(api.ConditionArchived, fmt.Sprintf("%d snapshots are in the archive tier; a restore must get them out of it first, which takes up to 72 hours", len(all)))
	return 0, nil
}

func tiers(ctx context.Context, c EC2, ids []string) (map[string]types.SnapshotTierStatus, error) {
	name, said := "snapshot-id", map[string]types.SnapshotTierStatus{}
	for token := (*string)(nil); ; {
		out, err := c.DescribeSnapshotTierStatus(ctx, &ec2.DescribeSnapshotTierStatusInput{Filters: []types.Filter{{Name: &name, Values: ids}}, NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, s := range out.SnapshotTierStatuses {
			said[aws.ToString(s.SnapshotId)] = s
		}
		if token = out.NextToken; aws.ToString(token) == "" {
			return said, nil
		}
	}
}
