package suite

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

var afterCases = []behaviour{
	{"a copy lies in the other Region, with its tags", func(ctx context.Context, g *target) error {
		s, err := snapped(ctx, g, "of", "the source")
		if err != nil {
			return err
		}
		made, err := g.ec2(west).CopySnapshot(ctx, &ec2.CopySnapshotInput{SourceRegion: aws.String(east), SourceSnapshotId: s.SnapshotId, TagSpecifications: tagSpec("snapshot", "a", "b")})
		if err != nil {
			return err
		}
		d, err := completed(ctx, g, west, *made.SnapshotId)
		if err == nil && (len(d.Tags) != 1 || *d.VolumeSize != 2 || *d.OwnerId != g.account) {
			err = fmt.Errorf("the copy is %+v", d)
		}
		return err
	}},
	{"a copy is encrypted with the key it is told", func(ctx context.Context, g *target) error {
		s, err := snapped(ctx, g)
		if err != nil {
			return err
		}
		key := "arn:aws:kms:" + west + ":" + g.account + ":key/1234"
		made, err := g.ec2(west).CopySnapshot(ctx, &ec2.CopySnapshotInput{SourceRegion: aws.String(east), SourceSnapshotId: s.SnapshotId, Encrypted: aws.Bool(true), KmsKeyId: &key})
		if err != nil {
			return err
		}
		d, err := completed(ctx, g, west, *made.SnapshotId)
		if err == nil && (!aws.ToBool(d.Encrypted) || aws.ToString(d.KmsKeyId) != key) {
			err = fmt.Errorf("encrypted %v with %s", aws.ToBool(d.Encrypted), aws.ToString(d.KmsKeyId))
		}
		return err
	}},
	{"no copy of a pending snapshot", func(ctx context.Context, g *target) error {
		s, err := snap(ctx, g)
		if err != nil {
			return err
		}
		_, err = g.ec2(west).CopySnapshot(ctx, &ec2.CopySnapshotInput{SourceRegion: aws.String(east), SourceSnapshotId: s.SnapshotId})
		return refused("a copy of it", err, "IncorrectState")
	}},
	{"a snapshot is shared with an account, and no longer", func(ctx context.Context, g *target) error {
		s, err := snapped(ctx, g)
		if err != nil {
			return err
		}
		e := g.ec2(east)
		users := func() (n int, err error) {
			d, err := e.DescribeSnapshotAttribute(ctx, &ec2.DescribeSnapshotAttributeInput{SnapshotId: s.SnapshotId, Attribute: types.SnapshotAttributeNameCreateVolumePermission})
			if err != nil {
				return 0, err
			}
			return len(d.CreateVolumePermissions), nil
		}
		to := []types.CreateVolumePermission{{UserId: aws.String(other)}}
		for want, m := range []types.CreateVolumePermissionModifications{{Remove: to}, {Add: to}} {
			if _, err := e.ModifySnapshotAttribute(ctx, &ec2.ModifySnapshotAttributeInput{SnapshotId: s.SnapshotId, Attribute: types.SnapshotAttributeNameCreateVolumePermission, CreateVolumePermission: &m}); err != nil {
				return err
			}
			if n, err := users(); err != nil || n != want {
				return errors.Join(err, fmt.Errorf("shared with %d, want %d", n, want))
			}
		}
		return nil
	}},
	{"what is encrypted with the default key is not shared", func(ctx context.Context, g *target) error {
		vol, err := g.volume(ctx, ec2.CreateVolumeInput{Encrypted: aws.Bool(true)})
		if err != nil {
			return err
		}
		s, err := g.ec2(east).CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: &vol})
		if err != nil {
			return err
		}
		_, err = g.ec2(east).ModifySnapshotAttribute(ctx, &ec2.ModifySnapshotAttributeInput{SnapshotId: s.SnapshotId, Attribute: types.SnapshotAttributeNameCreateVolumePermission,
			CreateVolumePermission: &types.CreateVolumePermissionModifications{Add: []types.CreateVolumePermission{{UserId: aws.String(other)}}}})
		return refused("sharing it", err, "OperationNotPermitted")
	}},
	{"a locked snapshot stays", func(ctx context.Context, g *target) error {
		s, err := snapped(ctx, g)
		if err != nil {
			return err
		}
		e := g.ec2(east)
		l, err := e.LockSnapshot(ctx, &ec2.LockSnapshotInput{SnapshotId: s.SnapshotId, LockMode: types.LockModeGovernance, LockDuration: aws.Int32(1)})
		if err != nil {
			return err
		}
		if l.LockState != types.LockStateGovernance || l.LockExpiresOn == nil {
			return fmt.Errorf("the lock is %+v", l)
		}
		if _, err := e.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: s.SnapshotId}); err == nil {
			return errors.New("it was deleted")
		}
		if _, err := e.UnlockSnapshot(ctx, &ec2.UnlockSnapshotInput{SnapshotId: s.SnapshotId}); err != nil {
			return err
		}
		_, err = e.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: s.SnapshotId})
		return must("delete it unlocked", err)
	}},
	{"fast snapshot restore is enabled in a zone", func(ctx context.Context, g *target) error {
		s, err := snapped(ctx, g)
		if err != nil {
			return err
		}
		e := g.ec2(east)
		on, err := e.EnableFastSnapshotRestores(ctx, &ec2.EnableFastSnapshotRestoresInput{SourceSnapshotIds: []string{*s.SnapshotId}, AvailabilityZones: []string{east + "a"}})
		if err != nil {
			return err
		}
		if len(on.Successful) != 1 || len(on.Unsuccessful) != 0 {
			return fmt.Errorf("enabled %+v", on)
		}
		return wait(ctx, func() (bool, error) {
			d, err := e.DescribeFastSnapshotRestores(ctx, &ec2.DescribeFastSnapshotRestoresInput{Filters: []types.Filter{{Name: aws.String("snapshot-id"), Values: []string{*s.SnapshotId}}}})
			return err == nil && len(d.FastSnapshotRestores) == 1 && d.FastSnapshotRestores[0].State == types.FastSnapshotRestoreStateCodeEnabled, err
		})
	}},
	{"a snapshot moves to the archive", func(ctx context.Context, g *target) error {
		s, err := snapped(ctx, g)
		if err != nil {
			return err
		}
		if _, err := g.ec2(east).ModifySnapshotTier(ctx, &ec2.ModifySnapshotTierInput{SnapshotId: s.SnapshotId, StorageTier: types.TargetStorageTierArchive}); err != nil {
			return err
		}
		return wait(ctx, func() (bool, error) {
			d, err := completed(ctx, g, east, *s.SnapshotId)
			return err == nil && d.StorageTier == types.StorageTierArchive, err
		})
	}},
	{"whether new volumes are encrypted is told", func(ctx context.Context, g *target) error {
		d, err := g.ec2(east).GetEbsEncryptionByDefault(ctx, &ec2.GetEbsEncryptionByDefaultInput{})
		if err == nil && (d.EbsEncryptionByDefault == nil || *d.EbsEncryptionByDefault) {
			err = fmt.Errorf("it is %v", d.EbsEncryptionByDefault)
		}
		return err
	}},
}
