package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Backup is one backup of the CHT instance in its namespace.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=chtb,categories=cht
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Consistency",type=string,JSONPath=`.status.consistency`
// +kubebuilder:printcolumn:name="Stall(ms)",type=integer,JSONPath=`.status.stallMilliseconds`
// +kubebuilder:printcolumn:name="Cut",type=date,JSONPath=`.status.cutTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 200",message="the name is longer than 200 characters; names of snapshots are made from it, choose a shorter one"
type Backup struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says how the backup is taken.
	// +kubebuilder:validation:XValidation:rule="has(self.volumeSnapshotClassName) == has(oldSelf.volumeSnapshotClassName) && (!has(self.volumeSnapshotClassName) || self.volumeSnapshotClassName == oldSelf.volumeSnapshotClassName) && self.method == oldSelf.method && has(self.ebs) == has(oldSelf.ebs) && (!has(self.ebs) || self.ebs == oldSelf.ebs) && has(self.file) == has(oldSelf.file) && (!has(self.file) || self.file == oldSelf.file) && self.quiesce == oldSelf.quiesce && self.maxStall == oldSelf.maxStall && self.onUnavailable == oldSelf.onUnavailable && self.attempts == oldSelf.attempts && self.readyTimeout == oldSelf.readyTimeout && self.fingerprint == oldSelf.fingerprint",message="a backup's spec cannot be changed, except allowedNamespaces and deletionPolicy; create another Backup"
	Spec BackupSpec `json:"spec,omitempty"`
	// Status is what came of it; written by the controller alone.
	Status BackupStatus `json:"status,omitempty"`
}

// BackupList is a list of Backups.
// +kubebuilder:object:root=true
type BackupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Backup `json:"items"`
}

// BackupSpec says how the backup is taken. All but allowedNamespaces and
// deletionPolicy is fixed at creation: a backup is one event in time.
// +kubebuilder:validation:XValidation:rule="!has(self.ebs) || self.method != 'CSI'",message="ebs is for snapshots taken by method EBS; with method CSI, configure the driver's VolumeSnapshotClass"
type BackupSpec struct {
	// Method is how the volumes are cut.
	// +kubebuilder:default=Auto
	Method Method `json:"method,omitempty"`
	// Quiesce is how writes are held back while the volumes are cut.
	// +kubebuilder:default=Auto
	Quiesce Quiesce `json:"quiesce,omitempty"`
	// MaxStall bounds how long writes may be held back, at most 60s. In mode Pause
	// the bound is 2s whatever stands here: CouchDB's own timeouts are near.
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('500ms') && duration(self) <= duration('60s')",message="maxStall must lie between 500ms and 60s"
	MaxStall metav1.Duration `json:"maxStall,omitzero"`
	// OnUnavailable says what happens when the quiesce cannot be had: Fail, or
	// Degrade to a CrashConsistent backup.
	// +kubebuilder:validation:Enum=Fail;Degrade
	// +kubebuilder:default=Fail
	OnUnavailable string `json:"onUnavailable,omitempty"`
	// Attempts is how many times a cut is tried before the backup fails.
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	Attempts int32 `json:"attempts,omitempty"`
	// ReadyTimeout bounds the wait, after the thaw, until the storage says that
	// every snapshot can be used.
	// +kubebuilder:default="2h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('72h')",message="readyTimeout must lie between 1s and 72h"
	ReadyTimeout metav1.Duration `json:"readyTimeout,omitzero"`
	// VolumeSnapshotClassName is the class to cut with. Default: the class of the
	// claim's driver that is marked default, or the only one there is.
	// +kubebuilder:validation:MinLength=1
	VolumeSnapshotClassName *string `json:"volumeSnapshotClassName,omitempty"`
	// Fingerprint is what is noted of the documents, for a restore to be compared
	// with: Sample, the revisions of a random sample; Full, also a digest of every
	// database, for which the CHT's databases are streamed once it runs on.
	// +kubebuilder:default=Sample
	Fingerprint Fingerprint `json:"fingerprint,omitempty"`
	// AllowedNamespaces are the namespaces this backup may be restored into,
	// besides its own. Whoever may update the Backup decides: a tenant cannot
	// help himself to another's data. "*" allows all.
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	AllowedNamespaces []string `json:"allowedNamespaces,omitempty"`
	// EBS is what is done with EBS snapshots: tags, copies, locks.
	EBS *EBSPolicy `json:"ebs,omitempty"`
	// File is what is copied into the catalog's repository beside snapshots.
	File *FilePolicy `json:"file,omitempty"`
	// DeletionPolicy says what becomes of the snapshots when the Backup is deleted:
	// Delete, whatever their class says, or Retain: they stay in the storage with the
	// record, as when the namespace is deleted, until somebody deletes that.
	// +kubebuilder:validation:Enum=Delete;Retain
	// +kubebuilder:default=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// DeletionPolicy says what the deletion of a Backup does to its snapshots.
type DeletionPolicy string

// The deletion policies.
const (
	// DeletionDelete deletes them in the storage, whatever their class says.
	DeletionDelete DeletionPolicy = "Delete"
	// DeletionRetain leaves them in the storage, and the record with them.
	DeletionRetain DeletionPolicy = "Retain"
)

// BackupStatus is what is known of a backup.
type BackupStatus struct {
	// Phase is the coarse state for people.
	Phase Phase `json:"phase,omitempty"`
	// ObservedGeneration is the generation the status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready, Verified, and those of what is done after the cut: Cataloged,
	// FileCopied, Shared, Copied, Locked, FastRestore, Archived.
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Attempt counts the cuts tried, from 1.
	Attempt int32 `json:"attempt,omitempty"`
	// StartTime is when work on the backup began.
	StartTime *metav1.MicroTime `json:"startTime,omitempty"`
	// CompletionTime is when the backup was complete or given up.
	CompletionTime *metav1.MicroTime `json:"completionTime,omitempty"`
	// QuiesceMode is the mode that was used.
	QuiesceMode Quiesce `json:"quiesceMode,omitempty"`
	// QuiesceReason says why this mode was chosen.
	QuiesceReason string `json:"quiesceReason,omitempty"`
	// Consistency says what the set of cuts is.
	Consistency Consistency `json:"consistency,omitempty"`
	// CutTime is the point in time of the set: the latest cut.
	CutTime *metav1.MicroTime `json:"cutTime,omitempty"`
	// StallMilliseconds is the time from the first quiesce call to the last
	// release: the longest that a write can have been held back.
	StallMilliseconds *int64 `json:"stallMilliseconds,omitempty"`
	// Timeline tells when each step of the stall happened.
	Timeline *Timeline `json:"timeline,omitempty"`
	// Nodes is the number of CouchDB nodes.
	Nodes int32 `json:"nodes,omitempty"`
	// Databases is the number of databases recorded.
	Databases int32 `json:"databases,omitempty"`
	// Documents is the number of documents of all databases just before the cut,
	// deleted ones left out.
	Documents *int64 `json:"documents,omitempty"`
	// DataBytes is the size of the files of all shards of all databases just before
	// the cut, views left out, as CouchDB tells it (sizes.file). A compaction makes
	// it smaller.
	DataBytes *int64 `json:"dataBytes,omitempty"`
	// Volumes are the cuts, one for each CouchDB node.
	// +listType=map
	// +listMapKey=node
	Volumes []VolumeStatus `json:"volumes,omitempty"`
	// Record names the first Secret of the backup's record, in the controller's
	// namespace.
	Record string `json:"record,omitempty"`
	// Catalog tells of the record in the bucket.
	Catalog *CatalogStatus `json:"catalog,omitempty"`
	// Copies of EBS snapshots in other Regions and accounts.
	// +listType=map
	// +listMapKey=name
	Copies []CopyStatus `json:"copies,omitempty"`
	// LockedUntil is when the storage lets all snapshots and copies be deleted.
	LockedUntil *metav1.Time `json:"lockedUntil,omitempty"`
	// Imported tells where a Backup that is only shown here was taken.
	Imported *ImportedFrom `json:"imported,omitempty"`
	// Verified tells of the latest restore that proved this backup.
	Verified *VerifiedBy `json:"verified,omitempty"`
	// PendingReason is the reason that Ready will have, while the phase is CleaningUp.
	PendingReason string `json:"pendingReason,omitempty"`
	// PendingMessage is the message that Ready will have then.
	PendingMessage string `json:"pendingMessage,omitempty"`
}

// Timeline are the moments of one cut, by the controller's clock.
type Timeline struct {
	// QuiesceStart: the first freeze or stop was asked for.
	QuiesceStart metav1.MicroTime `json:"quiesceStart"`
	// Quiesced: all nodes confirmed.
	Quiesced metav1.MicroTime `json:"quiesced"`
	// Cut: the last volume's point in time was confirmed.
	Cut metav1.MicroTime `json:"cut"`
	// Released: the last node confirmed that it runs again.
	Released metav1.MicroTime `json:"released"`
	// Ready: the storage can make volumes from every snapshot.
	Ready *metav1.MicroTime `json:"ready,omitempty"`
}
