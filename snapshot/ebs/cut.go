package ebs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/ebs/rate"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
	"github.com/medic/cht-backup/snapshot/reason"
)

// call is one request of a cut: for one volume, or for all of one instance.
type call struct {
	what    string
	targets []target
	one     *ec2.CreateSnapshotInput
	whole   *ec2.CreateSnapshotsInput
}

// calls makes the requests of a group, for a cut that begins at that time.
func (p *preparation) calls(g *group, began time.Time) []call {
	b := p.backup
	attempt := strconv.Itoa(int(b.Status.Attempt))
	common := tags.Common{UID: string(b.UID), Backup: b.Name, Namespace: b.Namespace, Cluster: p.cluster,
		CutTime: began.UTC().Truncate(time.Microsecond), Size: p.size, Attempt: b.Status.Attempt}
	specify := func(sets ...map[string]string) []types.TagSpecification {
		sets = append([]map[string]string{{tags.Name: b.Namespace + "/" + b.Name}}, sets...)
		return []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: tagList(sets...)}}
	}
	var custom map[string]string
	if b.Spec.EBS != nil {
		custom = b.Spec.EBS.Tags
	}
	if g.whole != nil {
		return []call{{what: fmt.Sprintf("cut the volumes of %s on instance %s", b.Namespace, g.source()), targets: g.targets, whole: &ec2.CreateSnapshotsInput{
			InstanceSpecification: g.whole, Description: aws.String(description(b, attempt, g.source())), TagSpecifications: specify(custom, common.Encode())}}}
	}
	var all []call
	for _, t := range g.targets {
		id := t.volume.VolumeID
		all = append(all, call{what: fmt.Sprintf("%s: cut volume %s of claim %s", t.node.Service, id, t.node.Claim.Name), targets: []target{t}, one: &ec2.CreateSnapshotInput{
			VolumeId: aws.String(id), Description: aws.String(description(b, attempt, id)), TagSpecifications: specify(custom, common.Encode(), t.member().Encode())}})
	}
	return all
}

// make cuts all volumes at once. A volume's point in time lies between the request and
// its answer; what was written before the request is in it. The answer means that the
// point is past, so writes may go on. EC2 tells the start by the second only, so the
// time that is written down is that of the answer, by this clock.
//
// The first error ends it: writes shall not wait for what will be thrown away. What
// the others have made by then is found by its tags.
func (p *preparation) make(ctx context.Context) ([]api.VolumeStatus, error) {
	p.change(func(a *attempt) { a.cutting = true })
	defer p.change(func(a *attempt) { a.over = p.clock().Now() })
	p.giveBack = nil // spent
	held, cancel := context.WithCancel(rate.Paid(ctx))
	defer cancel()
	began := p.clock().Now()
	var mu sync.Mutex
	var first error
	cuts := map[string]api.VolumeStatus{}
	var all sync.WaitGroup
	for _, g := range p.groups {
		for _, c := range p.calls(g, began) {
			all.Go(func() {
				made, err := p.call(held, g, c)
				mu.Lock()
				defer mu.Unlock()
				if err != nil && first == nil {
					first = err
					cancel()
				}
				maps.Copy(cuts, made)
			})
		}
	}
	all.Wait()
	if first != nil {
		return nil, causeOr(ctx, first)
	}
	volumes := make([]api.VolumeStatus, 0, len(cuts))
	for _, t := range p.targets {
		volumes = append(volumes, cuts[t.node.Service])
	}
	return volumes, nil
}

// change alters what is known of this attempt.
func (p *preparation) change(how func(*attempt)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	how(p.attempt)
}

// call makes one request, once, and gives what it cut by node.
func (p *preparation) call(ctx context.Context, g *group, c call) (map[string]api.VolumeStatus, error) {
	for _, t := range c.targets {
		p.noteCut(t.volume.VolumeID, p.clock().Now())
	}
	var made []types.SnapshotInfo
	var err error
	name := "CreateSnapshot"
	if c.whole != nil {
		name = "CreateSnapshots"
		var answer *ec2.CreateSnapshotsOutput
		if answer, err = g.api.CreateSnapshots(ctx, c.whole, p.options()...); err == nil {
			made = answer.Snapshots
		}
	} else {
		var answer *ec2.CreateSnapshotOutput
		if answer, err = g.api.CreateSnapshot(ctx, c.one, p.options()...); err == nil {
			made = []types.SnapshotInfo{{SnapshotId: answer.SnapshotId, VolumeId: answer.VolumeId, OwnerId: answer.OwnerId, Progress: answer.Progress, VolumeSize: answer.VolumeSize}}
		}
	}
	at := metav1.NewMicroTime(p.clock().Now())
	if wait, yes := Throttled(err); yes && wait == afterRequests {
		p.Cloud.Rates().Drain(g.region, name) // others use the account, too
	}
	if err != nil {
		return nil, failure(c.what, err)
	}
	cuts := map[string]api.VolumeStatus{}
	for _, s := range made {
		i := slices.IndexFunc(c.targets, func(t target) bool { return t.volume.VolumeID == aws.ToString(s.VolumeId) })
		if i < 0 || aws.ToString(s.SnapshotId) == "" {
			return nil, reason.Failed(api.ReasonSnapshotFailed, "%s: EC2 also cut volume %s (snapshot %s), which was attached the moment before", c.what, aws.ToString(s.VolumeId), aws.ToString(s.SnapshotId))
		}
		v := c.targets[i].status()
		v.Handle, v.CutTime, v.Progress, v.EBS.Account = aws.ToString(s.SnapshotId), &at, aws.ToString(s.Progress), aws.ToString(s.OwnerId)
		v.RestoreSize = gibibytes(v.EBS.SizeGiB)
		cuts[v.Node] = v
	}
	if len(cuts) != len(c.targets) {
		return nil, reason.Failed(api.ReasonSnapshotFailed, "%s: EC2 cut %d of %d volumes", c.what, len(cuts), len(c.targets))
	}
	if c.whole != nil {
		p.change(func(a *attempt) {
			if a.members == nil {
				a.members = map[string]tags.Member{}
			}
			for _, t := range c.targets {
				a.members[cuts[t.node.Service].Handle] = t.member()
			}
		})
	}
	return cuts, nil
}

func (p *preparation) options() []func(*ec2.Options) {
	if p.held == nil {
		return nil
	}
	return []func(*ec2.Options){p.held}
}

func gibibytes(n int32) *resource.Quantity {
	return resource.NewQuantity(int64(n)<<30, resource.BinarySI)
}
