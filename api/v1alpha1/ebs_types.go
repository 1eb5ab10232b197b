package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Method says how a volume is cut.
// +kubebuilder:validation:Enum=Auto;CSI;EBS;File
type Method string

// The methods.
const (
	// MethodAuto takes CSI for each volume whose driver has a VolumeSnapshotClass, else
	// EBS for an EBS volume, else File where there is a catalog.
	MethodAuto Method = "Auto"
	// MethodCSI makes VolumeSnapshots.
	MethodCSI Method = "CSI"
	// MethodEBS calls EC2 itself: for in-tree volumes, and for clusters without the
	// snapshot controller.
	MethodEBS Method = "EBS"
	// MethodFile copies CouchDB's files, which only grow, as long as they were at the
	// cut, into the catalog's repository. It needs no snapshots of the storage.
	MethodFile Method = "File"
)

// EBSVolume is what is known of the EBS volume that was cut: enough to make another
// like it.
type EBSVolume struct {
	// VolumeID is the volume, vol-….
	VolumeID string `json:"volumeID"`
	// Region it lies in, for example eu-west-1.
	Region string `json:"region"`
	// Zone it lies in: an availability zone's name, for example eu-west-1b.
	Zone string `json:"zone,omitempty"`
	// Account is the AWS account that owns the snapshot.
	Account string `json:"account,omitempty"`
	// Type is the volume's type, for example gp3.
	Type string `json:"type,omitempty"`
	// SizeGiB is its size in GiB.
	SizeGiB int32 `json:"sizeGiB,omitempty"`
	// IOPS that it is provisioned with, where its type has that.
	IOPS *int32 `json:"iops,omitempty"`
	// ThroughputMiBps that it is provisioned with, in MiB a second, where its type has that.
	ThroughputMiBps *int32 `json:"throughputMiBps,omitempty"`
	// Encrypted: the volume is, and so is every snapshot of it.
	Encrypted bool `json:"encrypted,omitempty"`
	// KMSKeyID is the ARN of the key it is encrypted with; a snapshot keeps it.
	KMSKeyID string `json:"kmsKeyID,omitempty"`
}

// EBSPolicy is what is done with EBS snapshots once they are complete. None of it
// can fail the backup: each has a condition of its own.
type EBSPolicy struct {
	// Tags are put on every snapshot and copy, for example for cost allocation.
	// +kubebuilder:validation:MaxProperties=20
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 127 && !k.startsWith('aws:') && !k.startsWith('communityhealthtoolkit.org/') && size(self[k]) <= 255)",message="a tag's key has at most 127 characters and does not begin with aws: or communityhealthtoolkit.org/, its value has at most 255"
	Tags map[string]string `json:"tags,omitempty"`
	// ShareWith are AWS accounts that may use the snapshots. One that is encrypted with
	// the account's default key cannot be shared.
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:Pattern=`^[0-9]{12}$`
	// +listType=set
	ShareWith []string `json:"shareWith,omitempty"`
	// Copies are the Regions and accounts that get a copy.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=name
	Copies []EBSCopy `json:"copies,omitempty"`
	// Lock keeps the snapshots from being deleted by anyone.
	Lock *EBSLock `json:"lock,omitempty"`
	// FastRestore makes volumes from the newest backups' snapshots fast from the start.
	// It is billed by the hour, zone and snapshot.
	FastRestore *EBSFastRestore `json:"fastRestore,omitempty"`
	// ArchiveAfter moves the snapshots to the archive tier this long after the cut.
	// There they are stored whole for at least 90 days, and a restore waits for up to
	// 72 hours.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('24h') && duration(self) <= duration('87600h')",message="archiveAfter must lie between 24h and 87600h"
	ArchiveAfter *metav1.Duration `json:"archiveAfter,omitempty"`
}

// EBSCopy is one Region, perhaps of another account, that gets a copy.
type EBSCopy struct {
	// Name tells copies apart in the status.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// Region the copy lies in.
	// +kubebuilder:validation:Pattern=`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`
	Region string `json:"region"`
	// RoleARN is the role to take for the copy, one of the other account. It must be
	// allowed to read the snapshots: name that account in shareWith.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$`
	RoleARN string `json:"roleARN,omitempty"`
	// KMSKeyID encrypts the copy: a key of that Region, as id, alias or ARN. Default:
	// the Region's default key, if the snapshot or the account's setting asks for one.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:MinLength=1
	KMSKeyID string `json:"kmsKeyID,omitempty"`
	// ShareWith are AWS accounts that may use the copy.
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:Pattern=`^[0-9]{12}$`
	// +listType=set
	ShareWith []string `json:"shareWith,omitempty"`
	// CompletionMinutes asks for a time-based copy, which is billed: 15 to 2880, in
	// steps of 15.
	// +kubebuilder:validation:Minimum=15
	// +kubebuilder:validation:Maximum=2880
	// +kubebuilder:validation:MultipleOf=15
	CompletionMinutes *int32 `json:"completionMinutes,omitempty"`
}

// EBSLock is a lock on snapshots.
type EBSLock struct {
	// Mode: Governance, which those with the permission can lift, or Compliance, which
	// nobody can once the cool-off is over.
	// +kubebuilder:validation:Enum=Governance;Compliance
	Mode EBSLockMode `json:"mode"`
	// Days it lasts, from when it is set. Retention waits for its end.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=36500
	Days int32 `json:"days"`
	// CoolOffHours is how long a Compliance lock can still be lifted; 0 for not at all.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=72
	// +kubebuilder:default=24
	CoolOffHours *int32 `json:"coolOffHours,omitempty"`
}

// EBSLockMode says who can lift a lock.
type EBSLockMode string

// The modes of a lock.
const (
	// LockGovernance: those with the permission can lift it.
	LockGovernance EBSLockMode = "Governance"
	// LockCompliance: nobody can once the cool-off is over, nor shorten it.
	LockCompliance EBSLockMode = "Compliance"
)

// EBSFastRestore says which snapshots are kept ready for fast restores.
type EBSFastRestore struct {
	// Newest is how many of the newest good backups of the same schedule, or of the
	// namespace where there is none, have it.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=5
	// +kubebuilder:default=1
	Newest int32 `json:"newest,omitempty"`
	// Zones to enable it in. Default: the zone of each volume.
	// +kubebuilder:validation:MaxItems=6
	// +listType=set
	Zones []string `json:"zones,omitempty"`
}

// CopyStatus is how far one copy is.
type CopyStatus struct {
	// Name of the copy, as in spec.ebs.copies.
	Name string `json:"name"`
	// Region it lies in.
	Region string `json:"region"`
	// Account that owns it.
	Account string `json:"account,omitempty"`
	// Complete says that every volume's copy can be restored from.
	Complete bool `json:"complete,omitempty"`
	// CompletionTime is when that was seen.
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// Volumes are the copied snapshots.
	// +listType=map
	// +listMapKey=node
	Volumes []CopiedVolume `json:"volumes,omitempty"`
	// Message says why it is not complete.
	Message string `json:"message,omitempty"`
}

// CopiedVolume is one volume's snapshot in a copy.
type CopiedVolume struct {
	// Node is the value of the pod's cht.service label.
	Node string `json:"node"`
	// Handle is the copy, snap-….
	Handle string `json:"handle,omitempty"`
	// Ready says that volumes can be made from it.
	Ready bool `json:"ready,omitempty"`
	// Progress as EC2 tells it, for example 87%.
	Progress string `json:"progress,omitempty"`
	// KMSKeyID it is encrypted with, an ARN.
	KMSKeyID string `json:"kmsKeyID,omitempty"`
}

// CatalogStatus tells of the backup's record in the bucket.
type CatalogStatus struct {
	// URL of the catalog, without credentials.
	URL string `json:"url,omitempty"`
	// Key is the object that makes the record complete.
	Key string `json:"key,omitempty"`
	// Time it was written.
	Time *metav1.Time `json:"time,omitempty"`
	// Secrets: Sealed to the configured recipients, or LeftOut.
	// +kubebuilder:validation:Enum=Sealed;LeftOut
	Secrets CatalogSecrets `json:"secrets,omitempty"`
}

// CatalogSecrets says what became of the instance's Secrets in the bucket.
type CatalogSecrets string

// What may become of them.
const (
	// SecretsSealed: they are there, sealed to the configured recipients.
	SecretsSealed CatalogSecrets = "Sealed"
	// SecretsLeftOut: they are not there; a restore needs them from elsewhere.
	SecretsLeftOut CatalogSecrets = "LeftOut"
)

// ImportedFrom tells where a Backup that only shows a record of the catalog was
// taken.
type ImportedFrom struct {
	// Catalog is the catalog's URL, without credentials.
	Catalog string `json:"catalog"`
	// Key is the record's object in it.
	Key string `json:"key"`
	// Cluster is the name of the cluster that took it.
	Cluster string `json:"cluster,omitempty"`
	// Backup is what it was there.
	Backup BackupReference `json:"backup"`
}

// EBSRestore says how EBS volumes are made from snapshots.
type EBSRestore struct {
	// Provision: Driver imports the snapshots through the EBS CSI driver, Static makes
	// the volumes with EC2 itself and PersistentVolumes for them. Auto takes Driver
	// where the cluster has the driver and the snapshot kinds.
	// +kubebuilder:validation:Enum=Auto;Driver;Static
	// +kubebuilder:default=Auto
	Provision EBSProvision `json:"provision,omitempty"`
	// Region of the snapshots, to take a copy. Default: the Region the cluster is in
	// if there are complete ones, else the source's.
	// +kubebuilder:validation:Pattern=`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`
	Region string `json:"region,omitempty"`
	// Zone of the volumes. Default: one where the pods can run.
	// +kubebuilder:validation:MaxLength=63
	Zone string `json:"zone,omitempty"`
	// VolumeType of the volumes. Default: as the source's.
	// +kubebuilder:validation:Enum=gp2;gp3;io1;io2;st1;sc1;standard
	VolumeType string `json:"volumeType,omitempty"`
	// IOPS of the volumes, for types that have it. Default: as the source's.
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=256000
	IOPS *int32 `json:"iops,omitempty"`
	// ThroughputMiBps of the volumes, in MiB a second, for gp3. Default: as the source's.
	// +kubebuilder:validation:Minimum=125
	// +kubebuilder:validation:Maximum=2000
	ThroughputMiBps *int32 `json:"throughputMiBps,omitempty"`
	// InitializationRateMiBps loads the volumes' blocks from the snapshot at this rate,
	// which is billed; without it each block is loaded when it is first read.
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=300
	InitializationRateMiBps *int32 `json:"initializationRateMiBps,omitempty"`
	// KMSKeyID encrypts the volumes. Default: the snapshot's key.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:MinLength=1
	KMSKeyID string `json:"kmsKeyID,omitempty"`
}

// RestoredEBS tells how one volume is made of an EBS snapshot. It is written down
// before anything is made, so that what was made is found again.
type RestoredEBS struct {
	// Provision is who makes the volume: Driver or Static.
	Provision EBSProvision `json:"provision"`
	// Region of the snapshot and of the volume.
	Region string `json:"region"`
	// Snapshot it is made of, snap-….
	Snapshot string `json:"snapshot"`
	// StorageClass of the claim; empty for none.
	StorageClass string `json:"storageClass,omitempty"`
	// Zone of a Static volume.
	Zone string `json:"zone,omitempty"`
	// VolumeID of a Static volume, vol-….
	VolumeID string `json:"volumeID,omitempty"`
}

// EBSProvision says who makes the volumes.
type EBSProvision string

// Who may make them.
const (
	// ProvisionAuto takes Driver where it can, else Static.
	ProvisionAuto EBSProvision = "Auto"
	// ProvisionDriver: the EBS CSI driver, from an imported VolumeSnapshotContent.
	ProvisionDriver EBSProvision = "Driver"
	// ProvisionStatic: the controller with EC2 itself, and a PersistentVolume for each.
	ProvisionStatic EBSProvision = "Static"
)

// Conditions of what is done for a Backup after the cut. Each is absent where nothing
// of the kind is asked for.
const (
	// ConditionCataloged: its record stands in the bucket.
	ConditionCataloged = "Cataloged"
	// ConditionShared: the accounts asked for may use the snapshots.
	ConditionShared = "Shared"
	// ConditionCopied: all copies are complete.
	ConditionCopied = "Copied"
	// ConditionLocked: all snapshots are locked.
	ConditionLocked = "Locked"
	// ConditionFastRestore: fast snapshot restore is enabled on all snapshots.
	ConditionFastRestore = "FastRestore"
	// ConditionArchived: all snapshots are in the archive tier.
	ConditionArchived = "Archived"
)

// VolumeStatus is one CouchDB node's volume in a backup.
type VolumeStatus struct {
	// Node is the value of the pod's cht.service label, for example couchdb-1.
	Node string `json:"node"`
	// Claim is the PersistentVolumeClaim that was cut.
	Claim string `json:"claim"`
	// Method is how it was cut: CSI, where it is empty too, EBS or File.
	Method Method `json:"method,omitempty"`
	// Driver is the CSI driver that made the snapshot, or can make volumes from it.
	Driver string `json:"driver,omitempty"`
	// Snapshot is the VolumeSnapshot in the instance's namespace.
	Snapshot string `json:"snapshot,omitempty"`
	// Content is the VolumeSnapshotContent behind it.
	Content string `json:"content,omitempty"`
	// Handle is the storage's own name of the snapshot.
	Handle string `json:"handle,omitempty"`
	// CutTime is the point in time the driver reports for the cut.
	CutTime *metav1.MicroTime `json:"cutTime,omitempty"`
	// RestoreSize is the least size of a volume made from the snapshot.
	RestoreSize *resource.Quantity `json:"restoreSize,omitempty"`
	// Ready says that the storage can make volumes from the snapshot.
	Ready bool `json:"ready,omitempty"`
	// Progress is how far the storage is with the snapshot, where it tells, for
	// example 87%.
	Progress string `json:"progress,omitempty"`
	// EBS is the volume, if it was cut by method EBS.
	EBS *EBSVolume `json:"ebs,omitempty"`
	// File is the copy of its files, by method File or beside a snapshot.
	File *FileVolume `json:"file,omitempty"`
}
