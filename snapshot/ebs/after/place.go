package after

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Place is where snapshots lie: a Region, as seen by the controller's own account or,
// with a role, by another.
type Place struct{ Region, Role string }

func (p Place) String() string {
	if p.Role == "" {
		return p.Region
	}
	return p.Region + " as " + p.Role
}

// EC2 are the calls made; *ec2.Client has them.
type EC2 interface {
	DescribeSnapshots(context.Context, *ec2.DescribeSnapshotsInput, ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error)
	ModifySnapshotAttribute(context.Context, *ec2.ModifySnapshotAttributeInput, ...func(*ec2.Options)) (*ec2.ModifySnapshotAttributeOutput, error)
	CopySnapshot(context.Context, *ec2.CopySnapshotInput, ...func(*ec2.Options)) (*ec2.CopySnapshotOutput, error)
	DeleteSnapshot(context.Context, *ec2.DeleteSnapshotInput, ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error)
	LockSnapshot(context.Context, *ec2.LockSnapshotInput, ...func(*ec2.Options)) (*ec2.LockSnapshotOutput, error)
	DescribeLockedSnapshots(context.Context, *ec2.DescribeLockedSnapshotsInput, ...func(*ec2.Options)) (*ec2.DescribeLockedSnapshotsOutput, error)
	EnableFastSnapshotRestores(context.Context, *ec2.EnableFastSnapshotRestoresInput, ...func(*ec2.Options)) (*ec2.EnableFastSnapshotRestoresOutput, error)
	DisableFastSnapshotRestores(context.Context, *ec2.DisableFastSnapshotRestoresInput, ...func(*ec2.Options)) (*ec2.DisableFastSnapshotRestoresOutput, error)
	DescribeFastSnapshotRestores(context.Context, *ec2.DescribeFastSnapshotRestoresInput, ...func(*ec2.Options)) (*ec2.DescribeFastSnapshotRestoresOutput, error)
	ModifySnapshotTier(context.Context, *ec2.ModifySnapshotTierInput, ...func(*ec2.Options)) (*ec2.ModifySnapshotTierOutput, error)
	DescribeSnapshotTierStatus(context.Context, *ec2.DescribeSnapshotTierStatusInput, ...func(*ec2.Options)) (*ec2.DescribeSnapshotTierStatusOutput, error)
}

// Clients makes one client for each place, from the SDK's own chain of credentials,
// which is read when the first is asked for: a cluster outside of AWS never needs it.
type Clients struct {
	// Load reads the configuration; nil for the SDK's default.
	Load func(context.Context) (aws.Config, error)

	mutex   sync.Mutex
	base    *aws.Config
	clients map[Place]*ec2.Client
}

// sessionName is how the controller appears in another account's trail.
const sessionName = "cht-backup"

// For gives the client of a place.
func (c *Clients) For(ctx context.Context, p Place) (EC2, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if client := c.clients[p]; client != nil {
		return client, nil
	}
	if c.base == nil {
		load := c.Load
		if load == nil {
			load = func(ctx context.Context) (aws.Config, error) { return config.LoadDefaultConfig(ctx) }
		}
		base, err := load(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the AWS configuration: %w", err)
		}
		c.base = &base
	}
	settings := c.base.Copy()
	settings.Region = p.Region
	if p.Role != "" {
		settings.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(settings), p.Role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = sessionName
		}))
	}
	if c.clients == nil {
		c.clients = map[Place]*ec2.Client{}
	}
	client := ec2.NewFromConfig(settings)
	c.clients[p] = client
	return client, nil
}

// once keeps the SDK from sending a call again whose answer was lost: CopySnapshot has
// no token, so that the second would make a second copy.
func once(o *ec2.Options) { o.Retryer = aws.NopRetryer{} }
