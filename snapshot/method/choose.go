package method

import (
	"slices"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
)

// Choose says how a claim's volume is cut. Auto takes CSI where the claim's driver has
// a class, EBS for an EBS volume without one, and File for what has neither, where there
// is a catalog to copy the files into. What nobody can cut is left to CSI, which refuses
// it.
func Choose(spec *api.BackupSpec, claim cht.Claim, classes []snapv1.VolumeSnapshotClass, catalog bool) api.Method {
	switch spec.Method {
	case api.MethodCSI, api.MethodEBS, api.MethodFile:
		return spec.Method
	}
	named := spec.VolumeSnapshotClassName
	if named != nil && claim.Driver != "" && !slices.ContainsFunc(classes, func(c snapv1.VolumeSnapshotClass) bool { return c.Name == *named }) {
		return api.MethodCSI // a class that does not exist is a mistake, which CSI tells
	}
	for _, c := range classes {
		if claim.Driver != "" && c.Driver == claim.Driver && (named == nil || c.Name == *named) {
			return api.MethodCSI
		}
	}
	switch {
	case claim.EBS != nil:
		return api.MethodEBS
	case catalog:
		return api.MethodFile
	}
	return api.MethodCSI
}
