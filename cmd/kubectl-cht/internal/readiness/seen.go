package readiness

import (
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	coordinationv1 "k8s.io/api/coordination/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/doctor"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/status"
	"github.com/medic/cht-backup/snapshot/checkup"
	"github.com/medic/cht-backup/snapshot/cht"
)

// The checks, as docs/doctor.md names them. Those of the controller's check-up that
// are told as they are keep their names of snapshot/checkup.
const (
	CheckServing            = "Serving"
	CheckVersion            = "Version"
	CheckCheckup            = "Checkup"
	CheckRights             = "YourRights"
	CheckInstance           = "Instance"
	CheckStorage            = "Storage"
	CheckSnapshotController = "SnapshotController"
	CheckDriver             = "Driver"
	CheckFreezer            = "Freezer"
	CheckIsolation          = "Isolation"
	CheckCatalog            = "Catalog"
	CheckClock              = "Clock"
	CheckSchedules          = "Schedules"
)

// Checks are the names of all, those of the controller's check-up and of package
// doctor included.
var Checks = []string{
	doctor.CheckController, CheckServing, CheckVersion, CheckCheckup, checkup.Permissions, checkup.NamespaceServed, CheckRights, CheckInstance, CheckStorage, checkup.SnapshotKinds, checkup.SnapshotClasses,
	CheckSnapshotController, CheckDriver, CheckFreezer, CheckIsolation, CheckCatalog, checkup.CatalogReachable, checkup.CatalogWritable, checkup.CatalogOutside, checkup.CatalogRecipients,
	CheckClock, CheckSchedules, doctor.CheckProgress, doctor.CheckLeftovers,
}

// Seen is what was seen of a cluster, beside what doctor.Look saw.
type Seen struct {
	doctor.Cluster
	// Version of the plugin.
	Version string
	// Status of the instances, as `kubectl cht status` judges it.
	Status *status.Report
	// Schedules that are not suspended, for what backups will be asked for.
	Schedules []api.BackupSchedule
	// Reports are the check-ups in the controller's namespace; Unread those that are
	// none, and why.
	Reports []checkup.Report
	Unread  []string
	// CRDVersion is the oldest version that the CRDs of cht-backup are annotated with,
	// "" where they are not.
	CRDVersion string
	// Serves are the Leases by which a controller with a list claims a namespace.
	Serves map[string]coordinationv1.Lease
	// SnapshotKinds: the API knows VolumeSnapshots. Classes are theirs.
	SnapshotKinds bool
	Classes       []snapv1.VolumeSnapshotClass
	// SnapshotLease is the snapshot-controller's, nil where it is not found.
	SnapshotLease *coordinationv1.Lease
	// Drivers are the CSI drivers by node.
	Drivers map[string][]string
	// Nodes that are ready, and when each renewed its Lease.
	Nodes map[string]time.Time
	// Skew of the API server's clock against this machine's, nil if it is not known.
	Skew *checkup.Skew
	// Denied are the rights that the user lacks, in words.
	Denied []string
	// Places are the namespaces with a CHT.
	Places []Place
}

// Place is a namespace with a CHT.
type Place struct {
	Namespace string
	// Instance, or why a backup would refuse it. Nil, nil: it could not be looked at.
	Instance *cht.Instance
	Refusal  error
	// Freezer tells whether the freezer pod would be admitted.
	Freezer Admission
}

// Admission is what is known of whether a pod would be admitted.
type Admission struct {
	Known   bool
	Refusal string
	// Source says who found out.
	Source string
}

// Kinds of what is looked at, as Unseen names them.
const (
	kindReports   = "the controller's check-up"
	kindSchedules = "schedules"
	kindCRDs      = "the versions of the CustomResourceDefinitions"
	kindServes    = "Leases of who serves the namespace"
	kindClasses   = "VolumeSnapshotClasses"
	kindCSINodes  = "CSI drivers of the nodes"
	kindNodes     = "nodes and their Leases"
	kindClock     = "the API server's clock"
	kindRights    = "your own rights"
	kindStatus    = "how well instances are backed up"
)

func instances(namespace string) string { return "the CHT of " + namespace }
func freezerIn(namespace string) string {
	return "whether a freezer would be admitted in " + namespace
}

// saw tells whether all of that could be looked at.
func (s *Seen) saw(kinds ...string) bool {
	for _, kind := range kinds {
		if _, missed := s.Unseen[kind]; missed {
			return false
		}
	}
	return true
}

// specs gives what backups of a namespace will be asked for: by its schedules, or
// what stands in a Backup by default.
func (s *Seen) specs(namespace string) (specs []api.BackupSpec) {
	for i := range s.Schedules {
		if s.Schedules[i].Namespace == namespace {
			specs = append(specs, s.Schedules[i].Spec.Template.Spec)
		}
	}
	if len(specs) == 0 {
		specs = append(specs, api.BackupSpec{Method: api.MethodAuto, Quiesce: api.QuiesceAuto})
	}
	return specs
}
