package ebs

import (
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Cluster is what a cluster has that volumes can be made with.
type Cluster struct {
	// Driver: the EBS CSI driver. Kinds: VolumeSnapshot and VolumeSnapshotContent.
	Driver, Kinds bool
	// Classless names the claims for which no storage class of the driver was found.
	Classless []string
}

// Provision says who makes the volumes: the driver, or EC2 as the controller asks it.
// Where nobody can, the error tells all that is missing.
func Provision(asked *api.EBSRestore, nodes []catalog.Node, has Cluster) (api.EBSProvision, error) {
	how := api.ProvisionAuto
	if asked != nil && asked.Provision != "" {
		how = asked.Provision
	}
	if !has.Driver {
		return how, reason.Refuse(api.ReasonDriverMissing, "the EBS CSI driver (%s) is not installed in this cluster, and nothing else attaches EBS volumes; install it (on EKS: the add-on aws-ebs-csi-driver)", Driver)
	}
	var against []string
	if !has.Kinds {
		against = append(against, "this cluster has no VolumeSnapshot kinds; install the CSI external-snapshotter")
	}
	if len(has.Classless) > 0 {
		against = append(against, "there is no storage class of driver "+Driver+" for claim "+strings.Join(has.Classless, ", ")+"; create one, or name one with --storage-class (spec.remap.storageClassName)")
	}
	if only := onlyStatic(asked); len(only) > 0 {
		against = append(against, "its storage class decides on "+strings.Join(only, ", ")+"; leave that out of spec.ebs")
	}
	if slices.ContainsFunc(nodes, func(n catalog.Node) bool { return n.Partition != "" }) {
		against = append(against, "the data lies on a partition, which only a PersistentVolume made by hand can say")
	}
	switch {
	case how == api.ProvisionStatic || how == api.ProvisionAuto && len(against) > 0:
		return api.ProvisionStatic, nil
	case len(against) > 0:
		return how, reason.Refuse(api.ReasonDriverMissing, "spec.ebs.provision is Driver, but %s; or choose Static", strings.Join(against, "; "))
	}
	return api.ProvisionDriver, nil
}

// onlyStatic are the wishes that a claim cannot tell the driver.
func onlyStatic(asked *api.EBSRestore) []string {
	if asked == nil {
		return nil
	}
	var names []string
	for _, one := range []struct {
		name  string
		given bool
	}{
		{"zone", asked.Zone != ""}, {"volumeType", asked.VolumeType != ""}, {"iops", asked.IOPS != nil}, {"throughputMiBps", asked.ThroughputMiBps != nil},
		{"initializationRateMiBps", asked.InitializationRateMiBps != nil}, {"kmsKeyID", asked.KMSKeyID != ""},
	} {
		if one.given {
			names = append(names, one.name)
		}
	}
	return names
}

// Class gives the storage class of a claim: the one asked for, the source's if it is
// the driver's here, the default one, the only one. An in-tree class of the source
// (kubernetes.io/aws-ebs) makes no volumes any more. nil where there is none to
// choose; an error where the one asked for will not do.
func Class(name string, asked bool, fallback *storagev1.StorageClass, classes []storagev1.StorageClass) (*storagev1.StorageClass, error) {
	var of []storagev1.StorageClass
	var names []string
	for _, c := range classes {
		if c.Provisioner == Driver {
			of, names = append(of, c), append(names, c.Name)
		}
	}
	i := slices.IndexFunc(of, func(c storagev1.StorageClass) bool { return c.Name == name })
	switch {
	case i >= 0:
		return &of[i], nil
	case asked:
		slices.Sort(names)
		have := strings.Join(names, ", ")
		if have == "" {
			have = "none"
		}
		return nil, reason.Refuse(api.ReasonStorageClassMissing, "storage class %s (spec.remap.storageClassName) is not one of driver %s in this cluster; there are: %s", name, Driver, have)
	case fallback != nil && fallback.Provisioner == Driver:
		return fallback, nil
	case len(of) == 1:
		return &of[0], nil
	}
	return nil, nil
}
