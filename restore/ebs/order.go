package ebs

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Tags of a volume that say whose it is. What they say is believed only together.
const (
	restoreTag = tags.Prefix + "restore-uid"
	nodeTag    = tags.Node
)

// Order is one volume to be made.
type Order struct {
	Restore *api.Restore
	Node    catalog.Node // with the claim that the volume is for
	// Region, Zone and Snapshot as they were chosen.
	Region, Zone, Snapshot string
	// Volume is the name of the PersistentVolume it gets.
	Volume string
	// Bytes is the least size.
	Bytes int64
	// Cluster is what the cloud's own tags call the cluster; "" puts none on.
	Cluster string
}

const gib = 1 << 30

// GiB is the size of the volume: at least what is asked for, and what the snapshot
// holds.
func (o Order) GiB() int32 {
	size := int32((o.Bytes + gib - 1) / gib)
	if o.Node.EBS != nil {
		size = max(size, o.Node.EBS.SizeGiB)
	}
	return max(size, 1)
}

// token makes a repeated call find the volume that the first one made.
func (o Order) token() string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(string(o.Restore.UID)+"/"+o.Node.Service)))
}

// tags are those by which the volume is found, those that the CSI driver and in-tree
// clusters put on theirs, without which the driver's policy does not let it attach
// and delete the volume, and those of the cluster.
func (o Order) tags() []types.Tag {
	all := map[string]string{
		"Name":     o.Volume,
		restoreTag: string(o.Restore.UID), nodeTag: o.Node.Service,
		tags.Prefix + "restore": o.Restore.Name, tags.Namespace: o.Restore.Namespace, tags.Claim: o.Node.Claim,
		"kubernetes.io/created-for/pvc/name": o.Node.Claim, "kubernetes.io/created-for/pvc/namespace": o.Restore.Namespace, "kubernetes.io/created-for/pv/name": o.Volume,
		"CSIVolumeName": o.Volume, Driver + "/cluster": "true",
	}
	if o.Cluster != "" {
		all["KubernetesCluster"], all["kubernetes.io/cluster/"+o.Cluster] = o.Cluster, "owned"
	}
	var list []types.Tag
	for _, k := range slices.Sorted(maps.Keys(all)) {
		list = append(list, types.Tag{Key: new(k), Value: new(all[k])})
	}
	return list
}

// What of provisioned performance each type takes, as EC2 refuses the rest.
var (
	takesIOPS       = []types.VolumeType{types.VolumeTypeGp3, types.VolumeTypeIo1, types.VolumeTypeIo2}
	takesThroughput = []types.VolumeType{types.VolumeTypeGp3}
)

// shape gives type, IOPS and throughput: as asked for, else as the source's; those of
// the source only with its type.
func shape(asked *api.EBSRestore, was *api.EBSVolume) (kind types.VolumeType, iops, throughput *int32) {
	kind = types.VolumeTypeGp3 // EC2's own default is the older and dearer gp2
	if was != nil && was.Type != "" {
		kind = types.VolumeType(was.Type)
	}
	same := was != nil
	if asked != nil {
		if asked.VolumeType != "" {
			same = same && was.Type == asked.VolumeType
			kind = types.VolumeType(asked.VolumeType)
		}
		iops, throughput = asked.IOPS, asked.ThroughputMiBps
	}
	if iops == nil && same && slices.Contains(takesIOPS, kind) {
		iops = was.IOPS
	}
	if throughput == nil && same && slices.Contains(takesThroughput, kind) {
		throughput = was.ThroughputMiBps
	}
	return kind, iops, throughput
}

// Invalid refuses what EC2 would only refuse once it is asked for the volume.
func Invalid(asked *api.EBSRestore, node catalog.Node) error {
	kind, iops, throughput := shape(asked, node.EBS)
	switch {
	case iops != nil && !slices.Contains(takesIOPS, kind):
		return reason.Refuse(api.ReasonRemapInvalid, "spec.ebs.iops: a volume of type %s, as that of %s would be, takes none; leave it out, or set volumeType to gp3, io1 or io2", kind, node.Service)
	case throughput != nil && !slices.Contains(takesThroughput, kind):
		return reason.Refuse(api.ReasonRemapInvalid, "spec.ebs.throughputMiBps: a volume of type %s, as that of %s would be, takes none; leave it out, or set volumeType to gp3", kind, node.Service)
	case iops == nil && (kind == types.VolumeTypeIo1 || kind == types.VolumeTypeIo2):
		return reason.Refuse(api.ReasonRemapInvalid, "a volume of type %s, as that of %s would be, needs spec.ebs.iops", kind, node.Service)
	}
	return nil
}

// input is the call that makes the volume. It is the same whenever it is repeated,
// or EC2 would refuse its token.
func (o Order) input() *ec2.CreateVolumeInput {
	kind, iops, throughput := shape(o.Restore.Spec.EBS, o.Node.EBS)
	in := &ec2.CreateVolumeInput{
		AvailabilityZone: &o.Zone, SnapshotId: &o.Snapshot, Size: new(o.GiB()), VolumeType: kind, Iops: iops, Throughput: throughput, ClientToken: new(o.token()),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVolume, Tags: o.tags()}},
	}
	if asked := o.Restore.Spec.EBS; asked != nil {
		in.VolumeInitializationRate = asked.InitializationRateMiBps
		if asked.KMSKeyID != "" {
			in.KmsKeyId, in.Encrypted = &asked.KMSKeyID, new(true)
		}
	}
	return in
}
