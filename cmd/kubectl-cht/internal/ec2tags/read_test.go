package ec2tags

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// pages answers with one snapshot a page.
type pages struct {
	n     int
	err   error
	asked []*ec2.DescribeSnapshotsInput
}

func (p *pages) DescribeSnapshots(_ context.Context, in *ec2.DescribeSnapshotsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error) {
	p.asked = append(p.asked, in)
	if p.err != nil {
		return nil, p.err
	}
	i := len(p.asked)
	out := &ec2.DescribeSnapshotsOutput{Snapshots: []types.Snapshot{{SnapshotId: aws.String(fmt.Sprintf("snap-%08d", i)), State: types.SnapshotStateCompleted, VolumeSize: aws.Int32(7),
		Tags: []types.Tag{{Key: aws.String(tags.BackupUID), Value: aws.String("u")}, {Key: aws.String("odd")}}}}}
	if i < p.n {
		out.NextToken = aws.String(fmt.Sprint(i))
	}
	return out, nil
}

func TestRead(t *testing.T) {
	p := &pages{n: 3}
	got, err := read(t.Context(), p, "eu-west-1", "medic")
	if err != nil || len(got) != 3 || got[2].ID != "snap-00000003" || got[0].Region != "eu-west-1" || got[0].SizeGiB != 7 || got[0].State != "completed" || got[0].Tags[tags.BackupUID] != "u" {
		t.Errorf("%+v, %v", got, err)
	}
	if in := p.asked[0]; len(in.OwnerIds) != 1 || in.OwnerIds[0] != "self" || len(in.Filters) != 2 || *in.Filters[1].Name != "tag:"+tags.Namespace || in.Filters[1].Values[0] != "medic" {
		t.Errorf("asked %+v", in)
	}
	if _, err := read(t.Context(), &pages{n: 1, err: &smithy.GenericAPIError{Code: "UnauthorizedOperation", Message: "no"}}, "eu-west-1", ""); !errors.Is(err, ErrAccess) || !strings.Contains(err.Error(), "ec2:DescribeSnapshots") {
		t.Errorf("forbidden: %v", err)
	}
	if _, err := read(t.Context(), &pages{err: errors.New("dial tcp: refused")}, "eu-west-1", ""); err == nil || errors.Is(err, ErrAccess) || !strings.Contains(err.Error(), "get-caller-identity") {
		t.Errorf("no network: %v", err)
	}
	for _, region := range []string{"", "eu", "eu-west-1/../x", "http://x"} {
		if err := CheckRegion(region); err == nil {
			t.Errorf("%q is taken for a Region", region)
		}
	}
}
