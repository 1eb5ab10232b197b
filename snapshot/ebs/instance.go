package ebs

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// mostExcluded is how many volumes of an instance one CreateSnapshots can leave out.
const mostExcluded = 40

// wholeInstance tells whether one call can cut all volumes of the group: when they
// are all on one instance, and its others can be left out. nil if it cannot.
func (p *preparation) wholeInstance(ctx context.Context, g *group) (*types.InstanceSpecification, error) {
	if len(g.targets) < 2 {
		return nil, nil //nolint:nilnil // nil is an answer
	}
	id := g.targets[0].instance
	for _, t := range g.targets {
		if t.instance == "" || t.instance != id {
			return nil, nil //nolint:nilnil // nil is an answer
		}
	}
	answer, err := g.api.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if code(err) == "UnauthorizedOperation" {
		return nil, nil //nolint:nilnil // one call for each volume does, too
	} else if err != nil {
		return nil, failure("look at instance "+id, err)
	}
	for _, r := range answer.Reservations {
		for i := range r.Instances {
			if aws.ToString(r.Instances[i].InstanceId) == id {
				return excluding(&r.Instances[i], g.targets), nil
			}
		}
	}
	return nil, nil //nolint:nilnil // nil is an answer
}

// excluding gives the volumes of the targets among those of an instance.
func excluding(i *types.Instance, targets []target) *types.InstanceSpecification {
	if i.RootDeviceName == nil {
		return nil // the root must be left out by another word than the others
	}
	spec := &types.InstanceSpecification{InstanceId: i.InstanceId, ExcludeBootVolume: aws.Bool(true)}
	wanted := 0
	for _, m := range i.BlockDeviceMappings {
		if m.Ebs == nil || m.Ebs.VolumeId == nil {
			continue
		}
		ours := slices.ContainsFunc(targets, func(t target) bool { return t.volume.VolumeID == *m.Ebs.VolumeId })
		root := aws.ToString(m.DeviceName) == *i.RootDeviceName
		switch {
		case ours && root:
			return nil
		case ours:
			wanted++
		case !root:
			spec.ExcludeDataVolumeIds = append(spec.ExcludeDataVolumeIds, *m.Ebs.VolumeId)
		}
	}
	if wanted != len(targets) || len(spec.ExcludeDataVolumeIds) > mostExcluded {
		return nil
	}
	slices.Sort(spec.ExcludeDataVolumeIds)
	return spec
}

// lookAgain is the last look at the instance before the cut: a volume that came to it
// meanwhile must be left out, too.
func (p *preparation) lookAgain(ctx context.Context, g *group) error {
	spec, err := p.wholeInstance(ctx, g)
	if err != nil {
		return err
	}
	if spec == nil {
		return reason.Failed(api.ReasonSnapshotFailed, "the volumes of %s have left instance %s, or it has too many others by now", p.backup.Namespace, aws.ToString(g.whole.InstanceId))
	}
	g.whole = spec
	return nil
}

// source is what a snapshot's description names.
func (g *group) source() string { return fmt.Sprint(aws.ToString(g.whole.InstanceId)) }
