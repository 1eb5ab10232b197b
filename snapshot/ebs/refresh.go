package ebs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

const (
	// seenWithin is how long EC2 may take until a new snapshot is seen by all of it.
	seenWithin = 5 * time.Minute
	// perLook is how many snapshots one call asks for.
	perLook = 200
)

// Refresh implements snapshot.Snapshotter: one call for all volumes of a Region. What
// EC2 could not make is lost: the cut is past, so what fails now fails for good.
func (s *Snapshotter) Refresh(ctx context.Context, _ *api.Backup, volumes ...*api.VolumeStatus) error {
	for region, some := range byRegion(volumes) {
		client, err := s.Cloud.EC2(ctx, region)
		if err != nil {
			return fmt.Errorf("EC2 of %s: %w", region, err)
		}
		found, err := describe(ctx, client, handles(some))
		if err != nil {
			return err
		}
		for _, v := range some {
			snapshot, there := found[v.Handle]
			if !there {
				if v.CutTime != nil && s.clock().Now().Sub(v.CutTime.Time) < seenWithin {
					continue // it is new
				}
				return reason.Refuse(api.ReasonSnapshotFailed, "%s: snapshot %s is not in %s any more; somebody deleted it", v.Node, v.Handle, region)
			}
			if err := learn(v, &snapshot); err != nil {
				return err
			}
		}
	}
	return nil
}

// learn copies into v what EC2 says by now.
func learn(v *api.VolumeStatus, s *types.Snapshot) error {
	v.Ready, v.Progress = s.State == types.SnapshotStateCompleted, aws.ToString(s.Progress)
	if v.Ready {
		v.Progress = "100%"
	}
	if v.EBS != nil && v.EBS.Account == "" {
		v.EBS.Account = aws.ToString(s.OwnerId)
	}
	switch s.State {
	case types.SnapshotStateError:
		return reason.Refuse(api.ReasonSnapshotFailed, "%s: EC2 could not make snapshot %s of %s: %s", v.Node, v.Handle, aws.ToString(s.VolumeId), orUnsaid(aws.ToString(s.StateMessage)))
	case types.SnapshotStateRecoverable, types.SnapshotStateRecovering:
		return reason.Refuse(api.ReasonSnapshotFailed, "%s: somebody deleted snapshot %s; it is in the Recycle Bin", v.Node, v.Handle)
	}
	return nil
}

func orUnsaid(message string) string {
	if message == "" {
		return "it does not say why"
	}
	return message
}

// byRegion sorts the volumes that have a snapshot in EC2.
func byRegion(volumes []*api.VolumeStatus) map[string][]*api.VolumeStatus {
	all := map[string][]*api.VolumeStatus{}
	for _, v := range volumes {
		if v.EBS != nil && v.Handle != "" {
			all[v.EBS.Region] = append(all[v.EBS.Region], v)
		}
	}
	return all
}

func handles(volumes []*api.VolumeStatus) []string {
	var ids []string
	for _, v := range volumes {
		ids = append(ids, v.Handle)
	}
	return ids
}

// describe reads snapshots by their ids. Those that do not exist are missing in the
// answer; EC2 itself fails for all if one is gone.
func describe(ctx context.Context, client API, ids []string) (map[string]types.Snapshot, error) {
	found := map[string]types.Snapshot{}
	for some := range slices.Chunk(ids, perLook) {
		err := pages(ctx, client, ec2.DescribeSnapshotsInput{SnapshotIds: some}, func(s types.Snapshot) { found[aws.ToString(s.SnapshotId)] = s })
		if missing(err) && len(some) > 1 {
			for _, id := range some {
				one, err := describe(ctx, client, []string{id})
				if err != nil {
					return nil, err
				}
				for id, s := range one {
					found[id] = s
				}
			}
		} else if err != nil && !missing(err) {
			return nil, fmt.Errorf("look at snapshots %v: %w", some, err)
		}
	}
	return found, nil
}

func missing(err error) bool {
	c := code(err)
	return c == "InvalidSnapshot.NotFound" || c == "InvalidSnapshotID.Malformed"
}

// pages reads all pages of an answer.
func pages(ctx context.Context, client API, in ec2.DescribeSnapshotsInput, each func(types.Snapshot)) error {
	for {
		answer, err := client.DescribeSnapshots(ctx, &in)
		if err != nil {
			return err
		}
		for _, s := range answer.Snapshots {
			each(s)
		}
		if in.NextToken = answer.NextToken; aws.ToString(in.NextToken) == "" {
			return nil
		}
	}
}
