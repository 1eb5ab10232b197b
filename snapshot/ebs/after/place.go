package after

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/medic/cht-backup/snapshot/ebs/account"
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

// Clients gives the client of each place: of the controller's own account, and of the
// accounts whose roles it takes.
type Clients struct {
	home *account.Account
	as   func(...func(*config.LoadOptions) error) *account.Account

	mutex sync.Mutex
	roles map[string]*account.Account
}

// On makes Clients of the controller's own account, and of what makes another account
// like it.
func On(home *account.Account, as func(...func(*config.LoadOptions) error) *account.Account) *Clients {
	return &Clients{home: home, as: as, roles: map[string]*account.Account{}}
}

// sessionName is how the controller appears in another account's trail.
const sessionName = "cht-backup"

// For gives the client of a place. It asks AWS for nothing yet.
func (c *Clients) For(ctx context.Context, p Place) (EC2, error) {
	a, err := c.account(ctx, p)
	if err != nil {
		return nil, err
	}
	return a.EC2(ctx, p.Region)
}

func (c *Clients) account(ctx context.Context, p Place) (*account.Account, error) {
	if p.Role == "" {
		return c.home, nil
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if a := c.roles[p.Role]; a != nil {
		return a, nil
	}
	settings, err := c.home.Config(ctx)
	if err != nil {
		return nil, err
	}
	if settings.Region == "" {
		settings.Region = p.Region
	}
	provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(settings), p.Role, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = sessionName })
	c.roles[p.Role] = c.as(config.WithCredentialsProvider(provider))
	return c.roles[p.Role], nil
}

// once keeps the SDK from sending a call again whose answer was lost: CopySnapshot has
// no token, so that the second would make a second copy.
func once(o *ec2.Options) { o.Retryer, o.RetryMaxAttempts = aws.NopRetryer{}, 0 }
