package suite

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

var volumeCases = []behaviour{
	{"a volume tells what it is and where it is attached", func(ctx context.Context, g *target) error {
		vol, err := g.volume(ctx, ec2.CreateVolumeInput{VolumeType: "gp3", Iops: aws.Int32(4000), Throughput: aws.Int32(250)})
		if err != nil {
			return err
		}
		id, err := g.instance(ctx, vol)
		if err != nil {
			return err
		}
		d, err := g.ec2(east).DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{vol}})
		if err != nil {
			return err
		}
		v := d.Volumes[0]
		if v.State != types.VolumeStateInUse || v.VolumeType != "gp3" || aws.ToInt32(v.Iops) != 4000 || aws.ToInt32(v.Throughput) != 250 || *v.AvailabilityZone != east+"a" || *v.Size != 2 {
			return fmt.Errorf("it is %+v", v)
		}
		if len(v.Attachments) != 1 || *v.Attachments[0].InstanceId != id || v.Attachments[0].State != types.VolumeAttachmentStateAttached {
			return fmt.Errorf("attached %+v", v.Attachments)
		}
		_, err = g.ec2(east).DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: &vol})
		return refused("deleting what is attached", err, "VolumeInUse")
	}},
	{"an instance tells its volumes and which is its root", func(ctx context.Context, g *target) error {
		vol, err := g.volume(ctx, ec2.CreateVolumeInput{})
		if err != nil {
			return err
		}
		id, err := g.instance(ctx, vol)
		if err != nil {
			return err
		}
		d, err := g.ec2(east).DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		if err != nil {
			return err
		}
		i, found, root := d.Reservations[0].Instances[0], false, false
		for _, m := range i.BlockDeviceMappings {
			found = found || *m.Ebs.VolumeId == vol
			root = root || *m.DeviceName == aws.ToString(i.RootDeviceName)
		}
		if !found || !root || len(i.BlockDeviceMappings) != 2 || *i.Placement.AvailabilityZone != east+"a" {
			return fmt.Errorf("the instance is %+v, root %s", i.BlockDeviceMappings, aws.ToString(i.RootDeviceName))
		}
		return nil
	}},
	{"a volume is made from a snapshot, with tags", func(ctx context.Context, g *target) error {
		s, err := snapped(ctx, g)
		if err != nil {
			return err
		}
		vol, err := g.volume(ctx, ec2.CreateVolumeInput{SnapshotId: s.SnapshotId, AvailabilityZone: aws.String(east + "b"), TagSpecifications: tagSpec("volume", "a", "b")})
		if err != nil {
			return err
		}
		d, err := g.ec2(east).DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{vol}})
		if err != nil {
			return err
		}
		if v := d.Volumes[0]; *v.Size != 2 || aws.ToString(v.SnapshotId) != *s.SnapshotId || *v.AvailabilityZone != east+"b" || len(v.Tags) != 1 {
			return fmt.Errorf("made %+v", v)
		}
		_, err = g.ec2(east).DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: &vol})
		if err != nil {
			return err
		}
		_, err = g.ec2(east).DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{vol}})
		return refused("one that was deleted", err, "InvalidVolume.NotFound")
	}},
	{"a volume's initialization rate is told", func(ctx context.Context, g *target) error {
		s, err := snapped(ctx, g)
		if err != nil {
			return err
		}
		v, err := g.ec2(east).CreateVolume(ctx, &ec2.CreateVolumeInput{SnapshotId: s.SnapshotId, AvailabilityZone: aws.String(east + "b"), VolumeType: "gp3", VolumeInitializationRate: aws.Int32(150)})
		if err == nil && aws.ToInt32(v.VolumeInitializationRate) != 150 {
			err = fmt.Errorf("the rate is %d", aws.ToInt32(v.VolumeInitializationRate))
		}
		return err
	}},
	{"a client token makes one volume", func(ctx context.Context, g *target) error {
		in := ec2.CreateVolumeInput{Size: aws.Int32(2), AvailabilityZone: aws.String(east + "b"), VolumeType: "gp3", ClientToken: aws.String("once")}
		a, err := g.ec2(east).CreateVolume(ctx, &in)
		if err != nil {
			return err
		}
		b, err := g.ec2(east).CreateVolume(ctx, &in)
		if err != nil {
			return err
		}
		if *a.VolumeId != *b.VolumeId {
			return fmt.Errorf("made %s and %s", *a.VolumeId, *b.VolumeId)
		}
		in.Size = aws.Int32(3)
		_, err = g.ec2(east).CreateVolume(ctx, &in)
		return refused("the token for another volume", err, "IdempotentParameterMismatch")
	}},
	{"no volume of a pending snapshot", func(ctx context.Context, g *target) error {
		s, err := snap(ctx, g)
		if err != nil {
			return err
		}
		_, err = g.ec2(east).CreateVolume(ctx, &ec2.CreateVolumeInput{SnapshotId: s.SnapshotId, AvailabilityZone: aws.String(east + "b")})
		return refused("a volume of it", err, "IncorrectState")
	}},
	{"no volume smaller than its snapshot", func(ctx context.Context, g *target) error {
		s, err := snapped(ctx, g)
		if err != nil {
			return err
		}
		_, err = g.ec2(east).CreateVolume(ctx, &ec2.CreateVolumeInput{SnapshotId: s.SnapshotId, Size: aws.Int32(1), AvailabilityZone: aws.String(east + "b")})
		return refused("1 GiB of 2", err, "InvalidParameterValue")
	}},
	{"zones are of their Region", func(ctx context.Context, g *target) error {
		d, err := g.ec2(west).DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{})
		if err != nil {
			return err
		}
		for _, z := range d.AvailabilityZones {
			if *z.RegionName != west || (*z.ZoneName)[:len(west)] != west || z.State != types.AvailabilityZoneStateAvailable {
				return fmt.Errorf("a zone is %+v", z)
			}
		}
		_, err = g.ec2(west).CreateVolume(ctx, &ec2.CreateVolumeInput{Size: aws.Int32(1), AvailabilityZone: aws.String(east + "a")})
		return refused("a volume in another Region's zone", err, "InvalidZone.NotFound")
	}},
	{"who calls, and a role of another account", func(ctx context.Context, g *target) error {
		who, err := g.sts().GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return err
		}
		if *who.Account != g.account {
			return fmt.Errorf("the account is %s", *who.Account)
		}
		r, err := g.sts().AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + other + ":role/copies"), RoleSessionName: aws.String("s1")})
		if err != nil {
			return err
		}
		e := g.as(east, *r.Credentials.AccessKeyId, *r.Credentials.SessionToken)
		v, err := e.CreateVolume(ctx, &ec2.CreateVolumeInput{Size: aws.Int32(1), AvailabilityZone: aws.String(east + "a")})
		if err != nil {
			return err
		}
		s, err := e.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: v.VolumeId})
		if err != nil && g.cloud != nil { // it is being made
			err = wait(ctx, func() (bool, error) {
				s, err = e.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: v.VolumeId})
				return err == nil, nil
			})
		}
		if err == nil && *s.OwnerId != other {
			err = fmt.Errorf("the role's snapshot is owned by %s", *s.OwnerId)
		}
		return err
	}},
}
