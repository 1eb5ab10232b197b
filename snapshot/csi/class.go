package csi

import (
	"slices"
	"strings"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

// defaultClass marks the class a driver's snapshots take when none is named.
const defaultClass = "snapshot.storage.kubernetes.io/is-default-class"

// ClassFor chooses the VolumeSnapshotClass for a claim: the named one, else the
// default of the claim's driver, else the driver's only one.
func ClassFor(namespace string, claim cht.Claim, named *string, classes []snapv1.VolumeSnapshotClass) (string, error) {
	if claim.Driver == "" {
		return "", reason.Refuse(api.ReasonNoSnapshotClass,
			"claim %s/%s is %s, which has no CSI snapshots; attach its storage through a PersistentVolume of a CSI driver that can snapshot (spec.csi with its volumeHandle), or move the data to one", namespace, claim.Name, claim.Source)
	}
	var ofDriver []string
	for _, class := range classes {
		if named != nil && class.Name == *named {
			if class.Driver != claim.Driver {
				return "", reason.Refuse(api.ReasonNoSnapshotClass, "VolumeSnapshotClass %s is of driver %s, but claim %s/%s is of %s; name a class of that driver",
					class.Name, class.Driver, namespace, claim.Name, claim.Driver)
			}
			return class.Name, nil
		}
		if class.Driver == claim.Driver {
			if named == nil && class.Annotations[defaultClass] == "true" {
				return class.Name, nil
			}
			ofDriver = append(ofDriver, class.Name)
		}
	}
	slices.Sort(ofDriver)
	switch {
	case named != nil:
		return "", reason.Refuse(api.ReasonNoSnapshotClass, "there is no VolumeSnapshotClass %s; of driver %s there are: %s", *named, claim.Driver, orNone(ofDriver))
	case len(ofDriver) == 1:
		return ofDriver[0], nil
	case len(ofDriver) == 0:
		return "", reason.Refuse(api.ReasonNoSnapshotClass,
			"driver %s of claim %s/%s has no VolumeSnapshotClass; create one (see the driver's documentation) or choose a storage class that can snapshot", claim.Driver, namespace, claim.Name)
	default:
		return "", reason.Refuse(api.ReasonNoSnapshotClass, "driver %s has several VolumeSnapshotClasses (%s) and none is marked %s; mark one, or set spec.volumeSnapshotClassName",
			claim.Driver, strings.Join(ofDriver, ", "), defaultClass)
	}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
