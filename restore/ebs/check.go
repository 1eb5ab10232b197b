package ebs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Usable finds out, before anything is made, whether volumes can be made of the
// snapshots. It gives all that is wrong, and what somebody should weigh.
func Usable(ctx context.Context, c EC2, orders []Order) (cautions []string, err error) {
	var wrong []error
	for _, o := range orders {
		s, err := snapshot(ctx, c, o)
		if err != nil {
			if Code(err) == "" && reason.Of(err) == nil {
				return nil, err // EC2 was not reached; asking again for each would only take longer
			}
			wrong = append(wrong, refusal(err))
			continue
		}
		if err := ready(o, s); err != nil {
			wrong = append(wrong, err)
		}
		if text := foreignKey(o, s); text != "" {
			cautions = append(cautions, text)
		}
	}
	return cautions, errors.Join(wrong...)
}

func snapshot(ctx context.Context, c EC2, o Order) (types.Snapshot, error) {
	out, err := c.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{o.Snapshot}})
	if err != nil {
		return types.Snapshot{}, fmt.Errorf("%s: look for snapshot %s in Region %s: %w", o.Node.Service, o.Snapshot, o.Region, err)
	}
	for _, s := range out.Snapshots {
		if s.SnapshotId != nil && *s.SnapshotId == o.Snapshot {
			return s, nil
		}
	}
	return types.Snapshot{}, reason.Refuse(api.ReasonSnapshotMissing, "%s: there is no snapshot %s in Region %s, or it is another account's that does not share it", o.Node.Service, o.Snapshot, o.Region)
}

// archiveDays is how long a temporary return from the archive tier shall last.
const archiveDays = 7

func ready(o Order, s types.Snapshot) error {
	switch {
	case s.StorageTier == types.StorageTierArchive && s.RestoreExpiryTime == nil:
		return reason.Refuse(api.ReasonSnapshotArchived, "%s: snapshot %s is in the archive tier, from which no volume can be made. Bring it back, which takes 24 to 72 hours, and restore then: aws ec2 restore-snapshot-tier --region %s --snapshot-id %s --temporary-restore-days %d",
			o.Node.Service, o.Snapshot, o.Region, o.Snapshot, archiveDays)
	case s.State == types.SnapshotStatePending:
		return reason.Refuse(api.ReasonBackupNotReady, "%s: snapshot %s is not complete yet (%s); restore once `aws ec2 describe-snapshots --region %s --snapshot-ids %s` says completed",
			o.Node.Service, o.Snapshot, value(s.Progress), o.Region, o.Snapshot)
	case s.State == types.SnapshotStateError:
		return reason.Refuse(api.ReasonSnapshotMissing, "%s: snapshot %s failed in EC2 and holds nothing (%s); restore another backup", o.Node.Service, o.Snapshot, value(s.StateMessage))
	case s.State == types.SnapshotStateRecoverable:
		return reason.Refuse(api.ReasonSnapshotMissing, "%s: snapshot %s was deleted and lies in the Recycle Bin; take it out: aws ec2 restore-snapshot-from-recycle-bin --region %s --snapshot-id %s", o.Node.Service, o.Snapshot, o.Region, o.Snapshot)
	case s.State == types.SnapshotStateRecovering:
		return reason.Refuse(api.ReasonBackupNotReady, "%s: snapshot %s is being taken out of the Recycle Bin; restore once that is done", o.Node.Service, o.Snapshot)
	}
	if s.VolumeSize != nil && o.Node.EBS == nil && o.GiB() < *s.VolumeSize {
		return reason.Refuse(api.ReasonClaimTooSmall, "%s: snapshot %s is of a volume of %d GiB, and claim %s would have %d", o.Node.Service, o.Snapshot, *s.VolumeSize, o.Node.Claim, o.GiB())
	}
	return nil
}

// foreignKey tells of a key of another account: EC2 checks only while it makes the
// volume whether it may be used.
func foreignKey(o Order, s types.Snapshot) string {
	if s.Encrypted == nil || !*s.Encrypted || s.KmsKeyId == nil || s.OwnerId == nil {
		return ""
	}
	key, err := arn.Parse(*s.KmsKeyId)
	here := ""
	if o.Node.EBS != nil {
		here = o.Node.EBS.Account
	}
	if err != nil || key.AccountID == *s.OwnerId && (here == "" || here == *s.OwnerId) {
		return ""
	}
	return fmt.Sprintf("snapshot %s of %s belongs to account %s and is encrypted with the key %s: the controller's role must be allowed kms:CreateGrant, Decrypt, DescribeKey, GenerateDataKeyWithoutPlaintext and ReEncrypt on it, in that key's policy too; EC2 tells only by taking the volume away again",
		o.Snapshot, o.Node.Service, *s.OwnerId, *s.KmsKeyId)
}

// Allowed asks EC2, without making anything, whether the volumes may be made.
func Allowed(ctx context.Context, c EC2, orders []Order) error {
	var wrong []error
	for _, o := range orders {
		in := o.input()
		in.DryRun = new(true)
		// A token is for one call, and this is another.
		in.ClientToken = nil
		_, err := c.CreateVolume(ctx, in)
		if Code(err) == "DryRunOperation" || err == nil {
			continue
		}
		err = fmt.Errorf("%s: ask whether a volume of snapshot %s may be made in %s: %w", o.Node.Service, o.Snapshot, o.Zone, err)
		if Code(err) == "" {
			return err
		}
		wrong = append(wrong, refusal(err))
		if strings.HasPrefix(Code(err), "Unauthorized") {
			break // the others are asked for in the same words
		}
	}
	return errors.Join(wrong...)
}

func value(s *string) string {
	if s == nil {
		return "no word of it"
	}
	return *s
}
