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

	Spec   RestoreSpec   `json:"spec"`
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

// RestoreSpec says what is restored and how.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a restore's spec cannot be changed; delete it and create another"
type RestoreSpec struct {
	// Source is the backup to restore.
	Source BackupReference `json:"source"`
	// GoLive starts Sentinel and the ingress and lifts the isolation. Without it
	// the restored instance is a clone: Sentinel (which sends SMS) stays at 0, no
	// ingress is made, and a NetworkPolicy denies all traffic out of the namespace.
	GoLive bool `json:"goLive,omitempty"`
	// StepTimeout bounds each step of the restore.
	// +kubebuilder:default="15m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="stepTimeout must lie between 1s and 24h"
	StepTimeout metav1.Duration `json:"stepTimeout,omitzero"`
}

// RestoreStatus is what is known of a restore.
type RestoreStatus struct {
	// Phase is the coarse state for people.
	Phase Phase `json:"phase,omitempty"`
	// ObservedGeneration is the generation the status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready.
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
	// Volumes are the claims made, one for each CouchDB node.
	// +listType=map
	// +listMapKey=node
	Volumes []RestoredVolume `json:"volumes,omitempty"`
	// Verification is the evidence that the data is what was backed up.
	Verification *Verification `json:"verification,omitempty"`
	// Notes say what an operator should know: what was left out, and why.
	Notes []string `json:"notes,omitempty"`
}

// RestoredVolume is one CouchDB node's volume in a restore.
type RestoredVolume struct {
	// Node is the value of the pod's cht.service label.
	Node string `json:"node"`
	// Claim made from the snapshot.
	Claim string `json:"claim"`
	// Bound says that the claim has its volume.
	Bound bool `json:"bound,omitempty"`
	// Prepared says that the volume is safe to start under its new name.
	Prepared bool `json:"prepared,omitempty"`
}

// Verification is what was compared, and what came out.
type Verification struct {
	// Databases compared.
	Databases int32 `json:"databases"`
	// Shards found on the node that the map names.
	Shards int32 `json:"shards"`
	// Documents counted, deleted ones left out.
	Documents int64 `json:"documents"`
	// Sampled is the number of documents read back and found readable.
	Sampled int64 `json:"sampled,omitempty"`
	// Problems found; empty when all is well. At most 20 are listed.
	Problems []string `json:"problems,omitempty"`
}
