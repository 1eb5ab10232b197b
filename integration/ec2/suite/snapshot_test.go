package suite

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func tagSpec(kind types.ResourceType, tags ...string) []types.TagSpecification {
	if len(tags) == 0 {
		return nil // EC2 refuses a specification without tags
	}
	s := types.TagSpecification{ResourceType: kind}
	for i := 0; i < len(tags); i += 2 {
		s.Tags = append(s.Tags, types.Tag{Key: &tags[i], Value: &tags[i+1]})
	}
	return []types.TagSpecification{s}
}

func tagged(key, value string) types.Filter {
	return types.Filter{Name: aws.String("tag:" + key), Values: []string{value}}
}

// snap makes a snapshot of a new volume, with tags.
func snap(ctx context.Context, g *target, tags ...string) (*ec2.CreateSnapshotOutput, error) {
	vol, err := g.volume(ctx, ec2.CreateVolumeInput{})
	if err != nil {
		return nil, err
	}
	return g.ec2(east).CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: &vol, Description: aws.String("of " + vol), TagSpecifications: tagSpec("snapshot", tags...)})
}

// completed waits for a snapshot.
func completed(ctx context.Context, g *target, region, id string) (s types.Snapshot, err error) {
	return s, wait(ctx, func() (bool, error) {
		d, err := g.ec2(region).DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
		if err != nil {
			return false, err
		}
		s = d.Snapshots[0]
		return s.State == types.SnapshotStateCompleted, nil
	})
}

// snapped is completed of a new snapshot.
func snapped(ctx context.Context, g *target, tags ...string) (s types.Snapshot, err error) {
	made, err := snap(ctx, g, tags...)
	if err != nil {
		return s, err
	}
	return completed(ctx, g, east, *made.SnapshotId)
}

var snapshotCases = []behaviour{
	{"a snapshot is answered with all that is written down", func(ctx context.Context, g *target) error {
		s, err := snap(ctx, g, "k", "v", "empty", "")
		if err != nil {
			return err
		}
		if aws.ToString(s.OwnerId) != g.account || aws.ToInt32(s.VolumeSize) != 2 || aws.ToString(s.Description) != "of "+*s.VolumeId || s.StartTime == nil || len(s.Tags) != 2 || aws.ToBool(s.Encrypted) {
			return fmt.Errorf("the answer is %+v", s)
		}
		d, err := completed(ctx, g, east, *s.SnapshotId)
		if err == nil && (aws.ToString(d.Progress) != "100%" || aws.ToString(d.VolumeId) != *s.VolumeId || len(d.Tags) != 2) {
			err = fmt.Errorf("in the end it is %+v", d)
		}
		return err
	}},
	{"a snapshot is pending first", func(ctx context.Context, g *target) error {
		s, err := snap(ctx, g)
		if err != nil {
			return err
		}
		d, err := g.ec2(east).DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{*s.SnapshotId}})
		if err == nil && (s.State != types.SnapshotStatePending || d.Snapshots[0].State != types.SnapshotStatePending) {
			err = fmt.Errorf("it is %s, then %s", s.State, d.Snapshots[0].State)
		}
		return err
	}},
	{"a volume keeps its encryption in the snapshot", func(ctx context.Context, g *target) error {
		vol, err := g.volume(ctx, ec2.CreateVolumeInput{Encrypted: aws.Bool(true)})
		if err != nil {
			return err
		}
		v, err := g.ec2(east).DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{vol}})
		if err != nil {
			return err
		}
		s, err := g.ec2(east).CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: &vol})
		if err != nil {
			return err
		}
		d, err := completed(ctx, g, east, *s.SnapshotId)
		if err == nil && (!aws.ToBool(d.Encrypted) || aws.ToString(d.KmsKeyId) != aws.ToString(v.Volumes[0].KmsKeyId) || d.KmsKeyId == nil) {
			err = fmt.Errorf("encrypted %v with %s, the volume with %s", aws.ToBool(d.Encrypted), aws.ToString(d.KmsKeyId), aws.ToString(v.Volumes[0].KmsKeyId))
		}
		return err
	}},
	{"a rehearsal makes nothing", func(ctx context.Context, g *target) error {
		vol, err := g.volume(ctx, ec2.CreateVolumeInput{})
		if err != nil {
			return err
		}
		_, err = g.ec2(east).CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: &vol, DryRun: aws.Bool(true), TagSpecifications: tagSpec("snapshot", "a", "b")})
		if err := refused("a rehearsal", err, "DryRunOperation"); err != nil {
			return err
		}
		d, err := g.ec2(east).DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{{Name: aws.String("volume-id"), Values: []string{vol}}}})
		if err == nil && len(d.Snapshots) > 0 {
			err = fmt.Errorf("it made %s", *d.Snapshots[0].SnapshotId)
		}
		return err
	}},
	{"what is missing is said to be", func(ctx context.Context, g *target) error {
		e := g.ec2(east)
		s, err := snap(ctx, g)
		if err != nil {
			return err
		}
		_, err = e.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{*s.SnapshotId, "snap-0123456789abcdef0"}})
		if err := refused("one of two that is missing", err, "InvalidSnapshot.NotFound"); err != nil {
			return err
		}
		if _, err := e.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: s.SnapshotId}); err != nil {
			return err
		}
		_, err = e.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: s.SnapshotId})
		if err := refused("deleting twice", err, "InvalidSnapshot.NotFound"); err != nil {
			return err
		}
		_, err = e.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: aws.String("vol-0123456789abcdef0")})
		if err := refused("a snapshot of no volume", err, "InvalidVolume.NotFound"); err != nil {
			return err
		}
		_, err = e.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{*s.SnapshotId}, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
		return refused("tags on no snapshot", err, "InvalidSnapshot.NotFound")
	}},
	{"tags come later, for several at once, over those before", func(ctx context.Context, g *target) error {
		e := g.ec2(east)
		a, err := snap(ctx, g, "k", "old")
		if err != nil {
			return err
		}
		b, err := snap(ctx, g)
		if err != nil {
			return err
		}
		set := *a.SnapshotId // a value nobody else has
		if _, err := e.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{*a.SnapshotId, *b.SnapshotId}, Tags: []types.Tag{{Key: aws.String("k"), Value: &set}}}); err != nil {
			return err
		}
		d, err := e.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{tagged("k", set)}})
		if err == nil && (len(d.Snapshots) != 2 || len(d.Snapshots[0].Tags) != 1) {
			err = fmt.Errorf("found %+v", d.Snapshots)
		}
		return err
	}},
	{"a set is found by its tag, page by page", func(ctx context.Context, g *target) error {
		var set string
		for range 7 {
			s, err := snap(ctx, g)
			if err != nil {
				return err
			}
			if set == "" {
				set = *s.SnapshotId
			}
			if _, err := g.ec2(east).CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{*s.SnapshotId}, Tags: []types.Tag{{Key: aws.String("set"), Value: &set}}}); err != nil {
				return err
			}
		}
		seen := map[string]bool{}
		for p := ec2.NewDescribeSnapshotsPaginator(g.ec2(east), &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, MaxResults: aws.Int32(5), Filters: []types.Filter{tagged("set", set)}}); p.HasMorePages(); {
			d, err := p.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, s := range d.Snapshots {
				if seen[*s.SnapshotId] {
					return fmt.Errorf("%s twice", *s.SnapshotId)
				}
				seen[*s.SnapshotId] = true
			}
		}
		if len(seen) != 7 {
			return fmt.Errorf("found %d of 7", len(seen))
		}
		return nil
	}},
	{"a page has no more than was asked for", func(ctx context.Context, g *target) error {
		for range 6 {
			if _, err := snap(ctx, g); err != nil {
				return err
			}
		}
		d, err := g.ec2(east).DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, MaxResults: aws.Int32(5)})
		if err == nil && (len(d.Snapshots) != 5 || d.NextToken == nil) {
			err = fmt.Errorf("%d on a page of 5, token %q", len(d.Snapshots), aws.ToString(d.NextToken))
		}
		return err
	}},
	{"one call cuts an instance's volumes but those left out", func(ctx context.Context, g *target) error {
		var volumes []string
		for range 3 {
			v, err := g.volume(ctx, ec2.CreateVolumeInput{})
			if err != nil {
				return err
			}
			volumes = append(volumes, v)
		}
		id, err := g.instance(ctx, volumes...)
		if err != nil {
			return err
		}
		made, err := g.ec2(east).CreateSnapshots(ctx, &ec2.CreateSnapshotsInput{
			InstanceSpecification: &types.InstanceSpecification{InstanceId: &id, ExcludeBootVolume: aws.Bool(true), ExcludeDataVolumeIds: volumes[2:]}, TagSpecifications: tagSpec("snapshot", "a", "b")})
		if err != nil {
			return err
		}
		var of []string
		for _, s := range made.Snapshots {
			if len(s.Tags) != 1 || aws.ToString(s.OwnerId) != g.account {
				return fmt.Errorf("made %+v", s)
			}
			of = append(of, *s.VolumeId)
		}
		if got, want := strings.Join(of, " "), strings.Join(volumes[:2], " "); got != want {
			return fmt.Errorf("made of %s, want %s", got, want)
		}
		return nil
	}},
	{"a specification of no tags is refused", func(ctx context.Context, g *target) error {
		vol, err := g.volume(ctx, ec2.CreateVolumeInput{})
		if err != nil {
			return err
		}
		_, err = g.ec2(east).CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: &vol, TagSpecifications: []types.TagSpecification{{ResourceType: "snapshot"}}})
		return refused("a snapshot", err, "InvalidParameterValue")
	}},
	{"a volume is not cut twice within 15 s", func(ctx context.Context, g *target) error {
		s, err := snap(ctx, g)
		if err != nil {
			return err
		}
		_, err = g.ec2(east).CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: s.VolumeId})
		return refused("a second cut", err, "SnapshotCreationPerVolumeRateExceeded")
	}},
}
