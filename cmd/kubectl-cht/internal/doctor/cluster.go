package doctor

import (
	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Cluster is what was seen of a cluster.
type Cluster struct {
	// Namespace is the one that is looked at, "" for all; System is the controller's.
	Namespace, System string

	// Backups and Restores are the owners. They were listed after all else, so that
	// the owner of whatever was seen is among them if there is one.
	Backups  []api.Backup
	Restores []api.Restore

	// Snapshots, Pods, Claims and Volumes bear a label of ours. Contents are all, since
	// those of an older version bear none; TakenOver are the UIDs of the snapshots
	// without a label, which may have been ours.
	Snapshots []snapv1.VolumeSnapshot
	Contents  []snapv1.VolumeSnapshotContent
	TakenOver map[types.UID]bool
	Pods      []metav1.PartialObjectMetadata
	Claims    []metav1.PartialObjectMetadata
	Volumes   []corev1.PersistentVolume
	// Records are the Secrets of all records.
	Records []metav1.PartialObjectMetadata
	// Namespaces were made for a Restore.
	Namespaces []metav1.PartialObjectMetadata

	// InUse are the claims, as NAMESPACE/NAME, that a pod or workload names.
	InUse map[string]bool
	// Holds tells of a namespace that was made for a Restore what is in it that is not
	// of a restore, and what is in it at all; "" for nothing.
	Holds map[string]Holding

	Controllers []appsv1.Deployment
	Lease       *coordinationv1.Lease

	// Unseen tells for each kind that could not be looked at why not. What cannot be
	// judged without it is not judged.
	Unseen map[string]string
}

// Holding is what a namespace holds: an example.
type Holding struct{ Foreign, Any string }

// Kinds of what is looked at, as Unseen names them.
const (
	kindSnapshots   = "VolumeSnapshots"
	kindContents    = "VolumeSnapshotContents"
	kindRecords     = "records"
	kindPods        = "pods"
	kindClaims      = "claims"
	kindVolumes     = "volumes"
	kindNamespaces  = "namespaces"
	kindControllers = "Deployments of the controller"
)

func (c *Cluster) saw(kinds ...string) bool {
	for _, kind := range kinds {
		if _, missed := c.Unseen[kind]; missed {
			return false
		}
	}
	return true
}

// inScope tells whether something that belongs to a namespace is looked at.
func (c *Cluster) inScope(namespace string) bool {
	return c.Namespace == "" || c.Namespace == namespace
}
