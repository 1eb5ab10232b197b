package v1alpha1

import (
	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Restore brings a backed-up CHT instance back in the Restore's own namespace.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=chtr,categories=cht
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="From",type=string,JSONPath=`.spec.source.namespace`
// +kubebuilder:printcolumn:name="Backup",type=string,JSONPath=`.spec.source.name`
// +kubebuilder:printcolumn:name="Live",type=boolean,JSONPath=`.spec.goLive`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 200",message="the name is longer than 200 characters; choose a shorter one"
type Restore struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says what is restored and how.
	Spec RestoreSpec `json:"spec"`
	// Status is how far it is; written by the controller alone.
	Status RestoreStatus `json:"status,omitempty"`
}

// RestoreList is a list of Restores.
// +kubebuilder:object:root=true
type RestoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Restore `json:"items"`
}

// BackupReference names a backup.
type BackupReference struct {
	// Namespace is where the backup was taken; it need not exist any more.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// Name of the Backup.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// UID tells two backups of one name apart, when a namespace was deleted and
	// made again.
	UID types.UID `json:"uid,omitempty"`
}

// RestoreSpec says what is restored and how. All but abort, planOnly and
// timeToLive is fixed at creation.
// +kubebuilder:validation:XValidation:rule="self.source == oldSelf.source && self.goLive == oldSelf.goLive && self.verify == oldSelf.verify && self.credentials == oldSelf.credentials && self.scope == oldSelf.scope && self.dataFrom == oldSelf.dataFrom && self.stepTimeout == oldSelf.stepTimeout && has(self.inPlace) == has(oldSelf.inPlace) && (!has(self.inPlace) || self.inPlace == oldSelf.inPlace) && has(self.database) == has(oldSelf.database) && (!has(self.database) || self.database == oldSelf.database) && has(self.drill) == has(oldSelf.drill) && (!has(self.drill) || self.drill == oldSelf.drill) && has(self.ebs) == has(oldSelf.ebs) && (!has(self.ebs) || self.ebs == oldSelf.ebs) && has(self.remap) == has(oldSelf.remap) && (!has(self.remap) || self.remap == oldSelf.remap)",message="a restore's spec cannot be changed, except abort, planOnly and timeToLive; delete it and create another"
// +kubebuilder:validation:XValidation:rule="!self.planOnly || oldSelf.planOnly",message="planOnly cannot be set on a restore that may have begun; set abort"
// +kubebuilder:validation:XValidation:rule="self.abort || !oldSelf.abort",message="an abort cannot be taken back; create another restore"
// +kubebuilder:validation:XValidation:rule="[has(self.inPlace), has(self.database), has(self.drill), self.goLive].filter(x, x).size() <= 1",message="inPlace, database, drill and goLive exclude each other: in place is live by itself, one database goes into an instance that runs, and a drill is removed again"
// +kubebuilder:validation:XValidation:rule="!has(self.timeToLive) || !(has(self.inPlace) || has(self.database) || has(self.drill) || self.goLive)",message="timeToLive is for clones; an instance that is live is not removed by a clock, and a drill is removed at its end"
// +kubebuilder:validation:XValidation:rule="!(has(self.database) || has(self.drill)) || self.credentials == 'Keep'",message="credentials: Rotate has no meaning for one database, where the running instance keeps its own, nor for a drill"
// +kubebuilder:validation:XValidation:rule="self.scope == 'Instance' || !(has(self.inPlace) || has(self.database) || has(self.drill) || self.goLive)",message="scope CouchDB is for clones; an instance that is live needs all components, and a drill has that scope by itself"
type RestoreSpec struct {
	// Source is the backup to restore.
	Source BackupReference `json:"source"`
	// InPlace puts the instance in this namespace back to the backup, on new
	// volumes under the same claims. The present volumes are set aside. Without it
	// the namespace must hold no CHT.
	InPlace *InPlace `json:"inPlace,omitempty"`
	// Database restores one database into the running instance of this namespace.
	Database *DatabaseRestore `json:"database,omitempty"`
	// Drill proves the backup and leaves nothing but the verdict.
	Drill *Drill `json:"drill,omitempty"`
	// GoLive starts Sentinel and the ingress and lifts the isolation. Without it
	// the restored instance is a clone: Sentinel (which sends SMS) stays at 0, no
	// ingress is made, and a NetworkPolicy denies all traffic out of the namespace.
	// +kubebuilder:default=false
	GoLive bool `json:"goLive"`
	// Scope says how much of the instance is restored: Instance, or CouchDB alone,
	// which is enough to prove a backup or to read from it.
	// +kubebuilder:validation:Enum=Instance;CouchDB
	// +kubebuilder:default=Instance
	Scope Scope `json:"scope,omitempty"`
	// Remap changes what does not fit the place that is restored to.
	Remap *Remap `json:"remap,omitempty"`
	// EBS says how volumes are made from snapshots that were taken by method EBS.
	EBS *EBSRestore `json:"ebs,omitempty"`
	// DataFrom says what the volumes are filled from, where a backup has both snapshots
	// and a copy of the files.
	// +kubebuilder:default=Auto
	DataFrom DataFrom `json:"dataFrom,omitempty"`
	// Credentials: Keep those of the backup, which are on its volumes, or Rotate:
	// a new admin password and cookie secret on the volumes and in the Secret.
	// +kubebuilder:validation:Enum=Keep;Rotate
	// +kubebuilder:default=Keep
	Credentials Credentials `json:"credentials,omitempty"`
	// Verify says how much is compared with the backup before anything but CouchDB
	// starts.
	// +kubebuilder:default=Sample
	Verify VerificationLevel `json:"verify,omitempty"`
	// TimeToLive removes a clone with its volumes this long after the restore
	// ended, well or not.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('8760h')",message="timeToLive must lie between 1s and 8760h"
	TimeToLive *metav1.Duration `json:"timeToLive,omitempty"`
	// PlanOnly checks, writes status.plan, and waits. Setting it to false goes on.
	// +kubebuilder:default=false
	PlanOnly bool `json:"planOnly"`
	// Abort undoes the restore: in place it returns to the volumes and replicas of
	// before. It cannot be taken back, and does nothing once the restore has ended.
	// +kubebuilder:default=false
	Abort bool `json:"abort"`
	// StepTimeout bounds each step of the restore. A verification, and volumes that are
	// filled from files, are bounded by the time without progress.
	// +kubebuilder:default="15m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="stepTimeout must lie between 1s and 24h"
	StepTimeout metav1.Duration `json:"stepTimeout,omitzero"`
}

// Scope says how much of an instance is restored.
type Scope string

// The scopes.
const (
	// ScopeInstance restores every component.
	ScopeInstance Scope = "Instance"
	// ScopeCouchDB restores CouchDB alone.
	ScopeCouchDB Scope = "CouchDB"
)

// Credentials says which admin credentials a restored instance has.
type Credentials string

// What may become of the credentials.
const (
	// CredentialsKeep keeps those of the backup, which are on its volumes.
	CredentialsKeep Credentials = "Keep"
	// CredentialsRotate sets a new admin password and cookie secret.
	CredentialsRotate Credentials = "Rotate"
)

// InPlace says how a running instance is replaced.
type InPlace struct {
	// SafetyBackup: Required takes a backup of the present state first and stops if
	// that fails. Skip is for an instance that is too broken to be backed up; its
	// volumes are set aside all the same.
	// +kubebuilder:validation:Enum=Required;Skip
	// +kubebuilder:default=Required
	SafetyBackup string `json:"safetyBackup,omitempty"`
}

// What may stand in InPlace.SafetyBackup.
const (
	SafetyBackupRequired = "Required"
	SafetyBackupSkip     = "Skip"
)

// DatabaseRestore names one database of a backup and where it goes.
// +kubebuilder:validation:XValidation:rule="!self.replace || !has(self.as) || self.as == self.name",message="replace puts the database back under its own name; leave as out"
type DatabaseRestore struct {
	// Name of the database in the backup.
	// +kubebuilder:validation:MaxLength=238
	// +kubebuilder:validation:Pattern=`^[a-z_][a-z0-9_$()+/-]*$`
	Name string `json:"name"`
	// As is the name it gets. Default: NAME-restored-YYYYMMDD-HHMMSS, of the
	// backup's cut in UTC. A database of that name must not exist.
	// +kubebuilder:validation:MaxLength=238
	// +kubebuilder:validation:Pattern=`^[a-z][a-z0-9_$()+/-]*$`
	As string `json:"as,omitempty"`
	// Replace puts it in the place of the live database, which is first kept as
	// NAME-replaced-YYYYMMDD-HHMMSS. Everything that uses CouchDB is stopped
	// meanwhile, and phones sync that database anew.
	// +kubebuilder:default=false
	Replace bool `json:"replace"`
}

// RestoreStatus is what is known of a restore.
type RestoreStatus struct {
	// Phase is the coarse state for people.
	Phase Phase `json:"phase,omitempty"`
	// ObservedGeneration is the generation the status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready; Isolated, of a clone.
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// StartTime is when work on the restore began.
	StartTime *metav1.MicroTime `json:"startTime,omitempty"`
	// PhaseTime is when the present phase began.
	PhaseTime *metav1.MicroTime `json:"phaseTime,omitempty"`
	// CompletionTime is when the restore was complete or given up.
	CompletionTime *metav1.MicroTime `json:"completionTime,omitempty"`
	// BackupUID is the backup that is being restored.
	BackupUID types.UID `json:"backupUID,omitempty"`
	// Record names the first Secret of the backup's record.
	Record string `json:"record,omitempty"`
	// CutTime is the point in time the data is of.
	CutTime *metav1.MicroTime `json:"cutTime,omitempty"`
	// Served says that what uses CouchDB was started, so that somebody may have
	// written to the restored volumes.
	Served bool `json:"served,omitempty"`
	// Plan is what the restore does, as it was before the first step.
	Plan *Plan `json:"plan,omitempty"`
	// SafetyBackup is the Backup of the state before, of a restore in place.
	SafetyBackup string `json:"safetyBackup,omitempty"`
	// Database is how far the restore of one database is.
	Database *DatabaseStatus `json:"database,omitempty"`
	// Drill is what a drill did.
	Drill *DrillStatus `json:"drill,omitempty"`
	// ExpirationTime is when a clone with a timeToLive is removed.
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`
	// PendingReason is the reason that Ready will have, while the phase is RollingBack or
	// TearingDown.
	PendingReason string `json:"pendingReason,omitempty"`
	// PendingMessage is the message that Ready will have then.
	PendingMessage string `json:"pendingMessage,omitempty"`
	// Volumes are the claims made, one for each CouchDB node.
	// +listType=map
	// +listMapKey=node
	Volumes []RestoredVolume `json:"volumes,omitempty"`
	// Verification is the evidence that the data is what was backed up.
	Verification *Verification `json:"verification,omitempty"`
	// Isolation is the evidence that a clone cannot reach out, or can.
	Isolation *Isolation `json:"isolation,omitempty"`
	// Notes say what an operator should know: what was left out, and why.
	Notes []string `json:"notes,omitempty"`
}

// RestoredVolume is one CouchDB node's volume in a restore.
type RestoredVolume struct {
	// Node is the value of the pod's cht.service label.
	Node string `json:"node"`
	// Claim made from the snapshot.
	Claim string `json:"claim"`
	// Volume is the PersistentVolume made from the snapshot.
	Volume string `json:"volume,omitempty"`
	// SetAside is the PersistentVolume that served the claim before a restore in
	// place. It is retained until somebody deletes it.
	SetAside string `json:"setAside,omitempty"`
	// Bound says that the claim has its volume.
	Bound bool `json:"bound,omitempty"`
	// Prepared says that the volume is safe to start under its new name.
	Prepared bool `json:"prepared,omitempty"`
	// EBS tells how the volume is made of an EBS snapshot.
	EBS *RestoredEBS `json:"ebs,omitempty"`
	// Filled tells how far a volume is that is filled from files.
	Filled *Filled `json:"filled,omitempty"`
}

// Plan is what a restore does.
type Plan struct {
	// Steps in their order.
	Steps []PlanStep `json:"steps"`
	// Warnings are what somebody should weigh before it begins.
	Warnings []string `json:"warnings,omitempty"`
}

// PlanStep is one step of a plan.
type PlanStep struct {
	// Phase of the restore in which it is done.
	Phase Phase `json:"phase"`
	// Actions tell every object and volume that is touched.
	Actions []string `json:"actions,omitempty"`
}

// DatabaseStatus is how far the restore of one database is.
type DatabaseStatus struct {
	// Scratch is the namespace that the backup's CouchDB runs in meanwhile.
	Scratch string `json:"scratch,omitempty"`
	// As is the name the database gets.
	As string `json:"as,omitempty"`
	// Staging is what the backup's database is called until it replaces the live one.
	Staging string `json:"staging,omitempty"`
	// KeptAs is what the live database was kept as, when it is replaced.
	KeptAs string `json:"keptAs,omitempty"`
	// Written is the number of documents written so far, deleted ones included.
	Written int64 `json:"written,omitempty"`
	// Total is the number of all there are, deleted ones included.
	Total int64 `json:"total,omitempty"`
	// Compared is the number of documents, deleted ones included, that were found
	// to be the same in the copy and in the backup.
	Compared int64 `json:"compared,omitempty"`
	// ProgressTime is when something was last seen to move.
	ProgressTime *metav1.MicroTime `json:"progressTime,omitempty"`
}
