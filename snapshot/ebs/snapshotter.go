package ebs

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/medic/cht-backup/snapshot/ebs/account"
	"github.com/medic/cht-backup/snapshot/ebs/rate"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// API are the calls of EC2 that are made here.
type API interface {
	DescribeVolumes(context.Context, *ec2.DescribeVolumesInput, ...func(*ec2.Options)) (*ec2.DescribeVolumesOutput, error)
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	CreateSnapshot(context.Context, *ec2.CreateSnapshotInput, ...func(*ec2.Options)) (*ec2.CreateSnapshotOutput, error)
	CreateSnapshots(context.Context, *ec2.CreateSnapshotsInput, ...func(*ec2.Options)) (*ec2.CreateSnapshotsOutput, error)
	DescribeSnapshots(context.Context, *ec2.DescribeSnapshotsInput, ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error)
	DeleteSnapshot(context.Context, *ec2.DeleteSnapshotInput, ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error)
	CreateTags(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
}

// Cloud is where EC2 comes from.
type Cloud interface {
	// EC2 gives the client of a Region.
	EC2(ctx context.Context, region string) (API, error)
	// Region is where this process runs.
	Region(ctx context.Context) (string, error)
	// Check tells whether there are credentials.
	Check(ctx context.Context) error
	// Held gives the option for calls made under a freeze: once, with credentials that
	// are at hand.
	Held(ctx context.Context) (func(*ec2.Options), error)
	// Rates bound what changes something.
	Rates() *rate.Buckets
}

// On makes a Cloud of an AWS account.
func On(a *account.Account) Cloud { return onAccount{a} }

type onAccount struct{ *account.Account }

func (a onAccount) EC2(ctx context.Context, region string) (API, error) {
	return a.Account.EC2(ctx, region)
}

// Snapshotter cuts EBS volumes.
type Snapshotter struct {
	Cloud Cloud
	// Cluster names the cluster the backups are of.
	Cluster func(context.Context) (string, error)
	// ZoneOf gives the zone of a Kubernetes node, "" where it is not known. It is asked
	// for volumes that do not say theirs, and may be nil.
	ZoneOf func(ctx context.Context, node string) string
	// Clock is the time. Default: the real one.
	Clock rate.Clock

	mu sync.Mutex
	// attempts are those that were prepared by this process and not brought to an end.
	attempts map[types.UID]*attempt
	// volumes are those that this process has cut before.
	volumes map[string]time.Time
}

// attempt is what this process knows of one attempt and nobody else does.
type attempt struct {
	number int32
	// cutting: calls have been made.
	cutting bool
	// over is when the last of them was answered or given up.
	over time.Time
	// members are what the snapshots of a set that was cut by one call are still to be
	// told, by snapshot.
	members map[string]tags.Member
}

func (s *Snapshotter) clock() rate.Clock {
	if s.Clock == nil {
		return rate.Wall{}
	}
	return s.Clock
}

func (s *Snapshotter) begin(uid types.UID, number int32) *attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempts == nil {
		s.attempts = map[types.UID]*attempt{}
	}
	a := &attempt{number: number}
	s.attempts[uid] = a
	return a
}

// known gives what is known of an attempt. It is a copy; zero if nothing is.
func (s *Snapshotter) known(uid types.UID) (a attempt, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.attempts[uid]; p != nil {
		return *p, true
	}
	return a, false
}

func (s *Snapshotter) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.attempts, uid)
}

// lastCut is when this process last cut a volume.
func (s *Snapshotter) lastCut(volume string) (at time.Time, ever bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ever = s.volumes[volume]
	return at, ever
}

func (s *Snapshotter) noteCut(volume string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.volumes == nil {
		s.volumes = map[string]time.Time{}
	}
	s.volumes[volume] = at
}
