package ec2tags

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

const (
	pageSize = 1000
	// most snapshots that are read: 100,000 of ours are more than 30 sets a night for
	// three years, and fit into memory.
	most = 200_000
)

// CheckRegion refuses what is no Region.
func CheckRegion(region string) error {
	if !catalog.IsRegion(region) {
		return fmt.Errorf("%q is no AWS Region; give one such as eu-west-1", region)
	}
	return nil
}

// ErrAccess marks that AWS does not let the user read.
var ErrAccess = errors.New("AWS does not allow it")

// Read gives all snapshots of the caller's account in a Region that bear the tag of a
// backup, of one namespace if it is not "".
func Read(ctx context.Context, region, namespace string) ([]tags.Snapshot, error) {
	if err := CheckRegion(region); err != nil {
		return nil, err
	}
	settings, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return nil, fmt.Errorf("read the AWS settings: %w", err)
	}
	return read(ctx, ec2.NewFromConfig(settings), region, namespace)
}

func read(ctx context.Context, c ec2.DescribeSnapshotsAPIClient, region, namespace string) ([]tags.Snapshot, error) {
	filters := []types.Filter{{Name: aws.String("tag-key"), Values: []string{tags.BackupUID}}}
	if namespace != "" {
		filters = append(filters, types.Filter{Name: aws.String("tag:" + tags.Namespace), Values: []string{namespace}})
	}
	var all []tags.Snapshot
	pages := ec2.NewDescribeSnapshotsPaginator(c, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: filters, MaxResults: aws.Int32(pageSize)},
		func(o *ec2.DescribeSnapshotsPaginatorOptions) { o.StopOnDuplicateToken = true })
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, explain(region, err)
		}
		for i := range page.Snapshots {
			all = append(all, of(&page.Snapshots[i], region))
		}
		if len(all) > most {
			return nil, fmt.Errorf("more than %d snapshots in %s bear the tag %s; name the namespace", most, region, tags.BackupUID)
		}
	}
	return all, nil
}

func of(s *types.Snapshot, region string) tags.Snapshot {
	one := tags.Snapshot{ID: aws.ToString(s.SnapshotId), Region: region, Account: aws.ToString(s.OwnerId), VolumeID: aws.ToString(s.VolumeId),
		State: string(s.State), StateMessage: aws.ToString(s.StateMessage), StartTime: aws.ToTime(s.StartTime), SizeGiB: aws.ToInt32(s.VolumeSize),
		Encrypted: aws.ToBool(s.Encrypted), KMSKeyID: aws.ToString(s.KmsKeyId), Tier: string(s.StorageTier), Tags: map[string]string{}}
	for _, t := range s.Tags {
		one.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return one
}

// explain tells what to do. What AWS says of a signature is left out.
func explain(region string, err error) error {
	var said smithy.APIError
	if errors.As(err, &said) {
		switch said.ErrorCode() {
		case "UnauthorizedOperation", "AccessDenied", "AccessDeniedException":
			return fmt.Errorf("describe the snapshots of %s: %w: %s: you need the right ec2:DescribeSnapshots; see `aws sts get-caller-identity`", region, ErrAccess, said.ErrorCode())
		case "AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "RequestExpired":
			return fmt.Errorf("describe the snapshots of %s: %w: %s: log in anew (`aws sso login`), or check AWS_PROFILE", region, ErrAccess, said.ErrorCode())
		case "OptInRequired":
			return fmt.Errorf("describe the snapshots of %s: %w: the account has not opted in to that Region", region, ErrAccess)
		}
		return fmt.Errorf("describe the snapshots of %s: %s: %s", region, said.ErrorCode(), oneLine(said.ErrorMessage()))
	}
	return fmt.Errorf("describe the snapshots of %s: %w; is there a network, and are there AWS credentials (`aws sts get-caller-identity`)?", region, err)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
