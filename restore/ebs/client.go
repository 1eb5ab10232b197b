package ebs

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/medic/cht-backup/snapshot/cht"
)

// Driver is the EBS CSI driver. Since Kubernetes 1.27 nothing else attaches EBS
// volumes, those of in-tree PersistentVolumes included.
const Driver = cht.EBSDriver

// EC2 is what a restore asks of EC2. The chart's policy files/iam/restore.json allows
// these calls and no others.
type EC2 interface {
	CreateVolume(context.Context, *ec2.CreateVolumeInput, ...func(*ec2.Options)) (*ec2.CreateVolumeOutput, error)
	DescribeVolumes(context.Context, *ec2.DescribeVolumesInput, ...func(*ec2.Options)) (*ec2.DescribeVolumesOutput, error)
	DeleteVolume(context.Context, *ec2.DeleteVolumeInput, ...func(*ec2.Options)) (*ec2.DeleteVolumeOutput, error)
	DescribeSnapshots(context.Context, *ec2.DescribeSnapshotsInput, ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error)
}

// Clients gives the client of a Region.
type Clients func(ctx context.Context, region string) (EC2, error)
