package ebs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Mark implements snapshot.Snapshotter. The set is good, so its snapshots are told
// that they are complete; those that one call made of an instance are told whose they
// are, which that call cannot say for each.
func (s *Snapshotter) Mark(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error {
	a, _ := s.known(b.UID)
	for region, some := range byRegion(volumes) {
		if err := s.mark(ctx, region, some, a.members); err != nil {
			return err
		}
	}
	s.forget(b.UID)
	return nil
}

func (s *Snapshotter) mark(ctx context.Context, region string, volumes []*api.VolumeStatus, members map[string]tags.Member) error {
	client, err := s.Cloud.EC2(ctx, region)
	if err != nil {
		return fmt.Errorf("EC2 of %s: %w", region, err)
	}
	complete := map[string]string{tags.Complete: "true"}
	var alike []string
	for _, v := range volumes {
		m, alone := members[v.Handle]
		if !alone {
			alike = append(alike, v.Handle)
			continue
		}
		if err := tag(ctx, client, []string{v.Handle}, m.Encode(), complete); err != nil {
			return err
		}
	}
	if len(alike) == 0 {
		return nil
	}
	return tag(ctx, client, alike, complete)
}

func tag(ctx context.Context, client API, ids []string, sets ...map[string]string) error {
	if _, err := client.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: tagList(sets...)}); err != nil {
		return fmt.Errorf("tag snapshots %v: %w", ids, err)
	}
	return nil
}

// Keep implements snapshot.Snapshotter. EBS snapshots outlive whatever happens to the
// cluster; so it looks that they are there, whose they are, and that they are marked.
func (s *Snapshotter) Keep(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error {
	a, _ := s.known(b.UID)
	for region, some := range byRegion(volumes) {
		client, err := s.Cloud.EC2(ctx, region)
		if err != nil {
			return fmt.Errorf("EC2 of %s: %w", region, err)
		}
		found, err := describe(ctx, client, handles(some))
		if err != nil {
			return err
		}
		var unmarked []*api.VolumeStatus
		for _, v := range some {
			snapshot, there := found[v.Handle]
			if !there {
				return reason.Refuse(api.ReasonSnapshotFailed, "%s: snapshot %s is not in %s any more; somebody deleted it", v.Node, v.Handle, region)
			}
			if !owned(&snapshot, b, []string{v.EBS.VolumeID}) {
				return reason.Refuse(api.ReasonSnapshotFailed, "%s: snapshot %s (%s) was not made for this backup", v.Node, v.Handle, aws.ToString(snapshot.Description))
			}
			t := tagsOf(snapshot.Tags)
			_, told := a.members[v.Handle]
			if t[tags.Node] == "" && !told {
				return reason.Refuse(api.ReasonSnapshotFailed, "%s: snapshot %s lacks the tag %s, and the controller that knew its value was restarted; take another backup", v.Node, v.Handle, tags.Node)
			}
			if t[tags.Complete] != "true" || t[tags.Node] == "" {
				unmarked = append(unmarked, v)
			}
		}
		if len(unmarked) > 0 {
			if err := s.mark(ctx, region, unmarked, a.members); err != nil {
				return err
			}
		}
	}
	return nil
}
