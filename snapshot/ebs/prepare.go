package ebs

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/cut"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
	"github.com/medic/cht-backup/snapshot/reason"
)

// preparation is one cut in the making.
type preparation struct {
	*Snapshotter
	backup  *api.Backup
	nodes   []cht.Node
	size    int
	targets []target
	groups  []*group
	cluster string
	attempt *attempt
	// giveBack returns the calls that were reserved.
	giveBack []func()
	held     func(*ec2.Options)
}

// target is one volume to cut.
type target struct {
	node   cht.Node
	volume api.EBSVolume
	// instance it is attached to, "" if to none or to several.
	instance string
}

// group are the volumes of one Region.
type group struct {
	region  string
	api     API
	targets []target
	// whole is the instance of which all of them are cut by one call, nil if each is cut
	// by a call of its own.
	whole *types.InstanceSpecification
}

// Prepare implements snapshot.Snapshotter: it looks at the volumes, tries whether EC2
// would let them be cut, and waits until it may make the calls. nodes may be a part of
// the backup's set.
func (s *Snapshotter) Prepare(ctx context.Context, b *api.Backup, nodes []cht.Node) (cut.Prepared, error) {
	return s.PrepareOf(ctx, b, nodes, len(nodes))
}

// PrepareOf is Prepare for some of the nodes of a set of that size; the others are cut
// in another way.
func (s *Snapshotter) PrepareOf(ctx context.Context, b *api.Backup, nodes []cht.Node, size int) (cut.Prepared, error) {
	p := &preparation{Snapshotter: s, backup: b, nodes: nodes, size: size}
	if err := p.prepare(ctx); err != nil {
		p.done()
		return cut.Prepared{}, err
	}
	var volumes []api.VolumeStatus
	for _, t := range p.targets {
		volumes = append(volumes, t.status())
	}
	return cut.Prepared{Volumes: volumes, Warm: p.warm, Make: p.make, Done: p.done}, nil
}

func (p *preparation) prepare(ctx context.Context) (err error) {
	if err := p.Cloud.Check(ctx); err != nil {
		return reason.Refuse(api.ReasonNoSnapshotClass, "EBS volumes cannot be cut: %w", err)
	}
	if p.cluster, err = p.Cluster(ctx); err != nil {
		return err
	}
	if p.groups, err = p.byRegion(ctx); err != nil {
		return err
	}
	for _, g := range p.groups {
		if err := p.look(ctx, g); err != nil {
			return err
		}
		if g.whole, err = p.wholeInstance(ctx, g); err != nil {
			return err
		}
		if err := p.rehearse(ctx, g); err != nil {
			return err
		}
		if err := p.reserve(ctx, g); err != nil {
			return err
		}
		p.targets = append(p.targets, g.targets...)
	}
	p.attempt = p.begin(p.backup.UID, p.backup.Status.Attempt)
	return nil
}

func (p *preparation) done() {
	for _, back := range p.giveBack {
		back()
	}
	p.giveBack = nil
}

// byRegion sorts the volumes by Region: that of their zone, of the node they are used
// on, or the one this process runs in.
func (p *preparation) byRegion(ctx context.Context) ([]*group, error) {
	groups, all := map[string]*group{}, []*group{}
	for _, n := range p.nodes {
		e := n.Claim.EBS
		if e == nil {
			return nil, reason.Refuse(api.ReasonNoSnapshotClass, "claim %s/%s is %s, which is no EBS volume that could be cut by method EBS", p.backup.Namespace, n.Claim.Name, n.Claim.Source)
		}
		region := cht.RegionOf(e.Zone)
		if region == "" && p.ZoneOf != nil {
			region = cht.RegionOf(p.ZoneOf(ctx, n.Pod.NodeName))
		}
		if region == "" {
			var err error
			if region, err = p.Cloud.Region(ctx); err != nil {
				return nil, reason.Refuse(api.ReasonNoSnapshotClass, "claim %s/%s is %s, and nothing says in which Region: %w", p.backup.Namespace, n.Claim.Name, n.Claim.Source, err)
			}
		}
		g := groups[region]
		if g == nil {
			client, err := p.Cloud.EC2(ctx, region)
			if err != nil {
				return nil, reason.Refuse(api.ReasonSnapshotFailed, "EC2 of %s: %w", region, err)
			}
			g = &group{region: region, api: client}
			groups[region], all = g, append(all, g)
		}
		g.targets = append(g.targets, target{node: n, volume: api.EBSVolume{VolumeID: e.VolumeID, Region: region, Zone: e.Zone}})
	}
	return all, nil
}

// look reads what the volumes are, in one call.
func (p *preparation) look(ctx context.Context, g *group) error {
	ids := make([]string, len(g.targets))
	for i, t := range g.targets {
		ids[i] = t.volume.VolumeID
	}
	answer, err := g.api.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: ids})
	if code(err) == "InvalidVolume.NotFound" {
		return reason.Refuse(api.ReasonSnapshotFailed, "the account has no such volume in %s: %s; check the Region (AWS_REGION) and the account of the controller's role", g.region, said(err))
	} else if err != nil {
		return failure(fmt.Sprintf("look at the volumes %v in %s", ids, g.region), err)
	}
	found := map[string]types.Volume{}
	for _, v := range answer.Volumes {
		found[aws.ToString(v.VolumeId)] = v
	}
	for i := range g.targets {
		t := &g.targets[i]
		v, there := found[t.volume.VolumeID]
		if !there {
			return reason.Refuse(api.ReasonSnapshotFailed, "%s: volume %s of claim %s is not in %s; check the Region (AWS_REGION) and the account of the controller's role", t.node.Service, t.volume.VolumeID, t.node.Claim.Name, g.region)
		}
		if v.State != types.VolumeStateInUse && v.State != types.VolumeStateAvailable {
			return reason.Failed(api.ReasonSnapshotFailed, "%s: volume %s of claim %s is %q; only one in use can be cut", t.node.Service, t.volume.VolumeID, t.node.Claim.Name, v.State)
		}
		t.learn(v)
	}
	return nil
}

func (t *target) learn(v types.Volume) {
	e := &t.volume
	e.Zone, e.Type, e.SizeGiB = aws.ToString(v.AvailabilityZone), string(v.VolumeType), aws.ToInt32(v.Size)
	e.IOPS, e.ThroughputMiBps = v.Iops, v.Throughput
	e.Encrypted, e.KMSKeyID = aws.ToBool(v.Encrypted), aws.ToString(v.KmsKeyId)
	if len(v.Attachments) == 1 && v.Attachments[0].State == types.VolumeAttachmentStateAttached {
		t.instance = aws.ToString(v.Attachments[0].InstanceId)
	}
}

// rehearse asks EC2 whether it would cut volumes that this process has not cut yet. A
// permission that is missing shall not cost a freeze.
func (p *preparation) rehearse(ctx context.Context, g *group) error {
	calls, yes := p.calls(g, p.clock().Now()), true
	for _, c := range calls {
		known := true
		for _, t := range c.targets {
			_, cut := p.lastCut(t.volume.VolumeID)
			known = known && cut
		}
		if known {
			continue
		}
		var err error
		if c.whole != nil {
			c.whole.DryRun = &yes
			_, err = g.api.CreateSnapshots(ctx, c.whole)
		} else {
			c.one.DryRun = &yes
			_, err = g.api.CreateSnapshot(ctx, c.one)
		}
		if code(err) == "DryRunOperation" {
			continue
		} else if err == nil {
			return reason.Refuse(api.ReasonSnapshotFailed, "%s: EC2's endpoint does not know rehearsals (DryRun) and may have cut it; delete that snapshot, and see AWS_ENDPOINT_URL", c.what)
		}
		return failure(c.what, err)
	}
	return nil
}

// reserve waits for the calls of the cut: under the freeze nothing waits. One volume
// is not cut again before EC2 allows it.
func (p *preparation) reserve(ctx context.Context, g *group) error {
	for _, t := range g.targets {
		if at, ever := p.lastCut(t.volume.VolumeID); ever {
			if wait := at.Add(perVolume).Sub(p.clock().Now()); wait > 0 {
				if err := p.clock().Sleep(ctx, wait); err != nil {
					return err
				}
			}
		}
	}
	name, n := "CreateSnapshot", len(g.targets)
	if g.whole != nil {
		name, n = "CreateSnapshots", 1
	}
	back, err := p.Cloud.Rates().Take(ctx, g.region, name, n)
	if err != nil {
		return err
	}
	p.giveBack = append(p.giveBack, back)
	return nil
}

// warm gets the connections and the credentials of the cut ready, so that no handshake
// and no role is waited for under the freeze: as many calls at once as the cut makes.
func (p *preparation) warm(ctx context.Context) error {
	var err error
	if p.held, err = p.Cloud.Held(ctx); err != nil {
		return reason.Failed(api.ReasonSnapshotFailed, "get ready for the cut: %w", err)
	}
	errs := make([]error, len(p.groups))
	var all sync.WaitGroup
	for i, g := range p.groups {
		if g.whole != nil {
			all.Go(func() { errs[i] = p.lookAgain(ctx, g) })
			continue
		}
		each := make([]error, len(g.targets))
		all.Go(func() {
			var calls sync.WaitGroup
			for j, t := range g.targets {
				calls.Go(func() {
					_, each[j] = g.api.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{t.volume.VolumeID}})
				})
			}
			calls.Wait()
			for j, err := range each {
				if err != nil {
					errs[i] = failure("look at volume "+g.targets[j].volume.VolumeID, err)
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// status is what is known of a volume's cut before it is made.
func (t target) status() api.VolumeStatus {
	volume := t.volume
	return api.VolumeStatus{Node: t.node.Service, Claim: t.node.Claim.Name, Method: api.MethodEBS, Driver: cht.EBSDriver, EBS: &volume}
}

func (t target) member() tags.Member {
	n := t.node
	return tags.Member{Node: n.Service, NodeName: n.ErlangName, Claim: n.Claim.Name, DataSubPath: n.DataSubPath,
		ConfigSubPath: n.ConfigSubPath, ConfigOnVolume: n.ConfigOnVolume, FSType: n.Claim.FSType, Partition: n.Claim.Partition}
}
