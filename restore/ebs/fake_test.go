package ebs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// cloud is as much of EC2 as a restore asks.
type cloud struct {
	mu        sync.Mutex
	volumes   map[string]*types.Volume
	tokens    map[string]string
	snapshots []types.Snapshot
	// hidden volumes are made and not listed yet.
	hidden map[string]bool
	// fail gives the error of a call, by its name; "" of none.
	fail    func(call string) string
	deleted []string
	made    int
}

func newCloud() *cloud {
	return &cloud{volumes: map[string]*types.Volume{}, tokens: map[string]string{}, hidden: map[string]bool{}, fail: func(string) string { return "" }}
}

func (c *cloud) refuse(call string) error {
	if code := c.fail(call); code != "" {
		return &smithy.GenericAPIError{Code: code, Message: "as the test wants"}
	}
	return nil
}

func (c *cloud) CreateVolume(ctx context.Context, in *ec2.CreateVolumeInput, _ ...func(*ec2.Options)) (*ec2.CreateVolumeOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := errors.Join(ctx.Err(), c.refuse("CreateVolume")); err != nil {
		return nil, err
	}
	if in.DryRun != nil && *in.DryRun {
		return nil, &smithy.GenericAPIError{Code: "DryRunOperation", Message: "Request would have succeeded"}
	}
	id := c.tokens[*in.ClientToken]
	if id == "" {
		c.made++
		id = fmt.Sprintf("vol-%d", c.made)
		c.tokens[*in.ClientToken] = id
		c.volumes[id] = &types.Volume{VolumeId: &id, State: types.VolumeStateAvailable, Tags: in.TagSpecifications[0].Tags}
	}
	return &ec2.CreateVolumeOutput{VolumeId: &id}, nil
}

func (c *cloud) DescribeVolumes(_ context.Context, in *ec2.DescribeVolumesInput, _ ...func(*ec2.Options)) (*ec2.DescribeVolumesOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refuse("DescribeVolumes"); err != nil {
		return nil, err
	}
	var ids []string
	for id, v := range c.volumes {
		if !c.hidden[id] && slices.Contains(in.Filters[0].Values, tag(v.Tags, restoreTag)) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	out := &ec2.DescribeVolumesOutput{}
	for i, id := range ids {
		if in.NextToken != nil && *in.NextToken != id {
			continue
		}
		in = &ec2.DescribeVolumesInput{}
		out.Volumes = append(out.Volumes, *c.volumes[id])
		if i+1 < len(ids) {
			out.NextToken = &ids[i+1] // one a page
		}
		break
	}
	return out, nil
}

func (c *cloud) DeleteVolume(_ context.Context, in *ec2.DeleteVolumeInput, _ ...func(*ec2.Options)) (*ec2.DeleteVolumeOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refuse("DeleteVolume"); err != nil {
		return nil, err
	}
	c.deleted = append(c.deleted, *in.VolumeId)
	delete(c.volumes, *in.VolumeId)
	maps.DeleteFunc(c.tokens, func(_, id string) bool { return id == *in.VolumeId })
	return &ec2.DeleteVolumeOutput{}, nil
}

func (c *cloud) DescribeSnapshots(_ context.Context, in *ec2.DescribeSnapshotsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error) {
	if err := c.refuse("DescribeSnapshots"); err != nil {
		return nil, err
	}
	out := &ec2.DescribeSnapshotsOutput{}
	for _, s := range c.snapshots {
		if slices.Contains(in.SnapshotIds, *s.SnapshotId) {
			out.Snapshots = append(out.Snapshots, s)
		}
	}
	if len(out.Snapshots) == 0 {
		return nil, &smithy.GenericAPIError{Code: "InvalidSnapshot.NotFound", Message: "The snapshot '" + in.SnapshotIds[0] + "' does not exist."}
	}
	return out, nil
}

func node(n int, change ...func(*catalog.Node)) catalog.Node {
	name := fmt.Sprintf("couchdb-%d", n)
	one := catalog.Node{Service: name, Claim: name + "-claim0", CapacityBytes: 10 << 30, Method: api.MethodEBS, SnapshotHandle: fmt.Sprintf("snap-%d", n),
		EBS: &api.EBSVolume{VolumeID: "vol-src", Region: "eu-west-1", Zone: "eu-west-1a", Type: "gp3", SizeGiB: 10, IOPS: new(int32(4000)), ThroughputMiBps: new(int32(250))}}
	for _, f := range change {
		f(&one)
	}
	return one
}

func orders(change ...func(*api.Restore)) []Order {
	r := &api.Restore{ObjectMeta: metav1.ObjectMeta{Name: "back", Namespace: "clone", UID: "uid-1"}}
	for _, f := range change {
		f(r)
	}
	var all []Order
	for i := 1; i <= 3; i++ {
		n := node(i)
		all = append(all, Order{Restore: r, Node: n, Region: "eu-west-1", Zone: "eu-west-1b", Snapshot: n.SnapshotHandle, Volume: "cht-uid-1-" + n.Service, Bytes: n.CapacityBytes})
	}
	return all
}

func ids(t *testing.T, c EC2, known map[string]string) map[string]string {
	t.Helper()
	got, err := Make(t.Context(), c, orders(), known)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
