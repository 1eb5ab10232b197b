package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// FileVolume is a copy of one node's files in a repository of the catalog: what its
// CouchDB had acknowledged at the cut, and no more.
type FileVolume struct {
	// Repository is the repository's ID. It lies in the catalog under v1/files/.
	Repository string `json:"repository"`
	// Tree names the list of the files in it.
	Tree string `json:"tree"`
	// Files is how many there are.
	Files int32 `json:"files,omitempty"`
	// Size of the files.
	Size *resource.Quantity `json:"size,omitempty"`
	// Sent is how much was written to the repository for them, compressed and sealed.
	// The rest was there already.
	Sent *resource.Quantity `json:"sent,omitempty"`
	// Dropped are files that were left out since they had become shorter while they
	// were copied: indexes of views, which CouchDB builds anew. At most 10 are named.
	// +kubebuilder:validation:MaxItems=11
	// +listType=atomic
	Dropped []string `json:"dropped,omitempty"`
	// Complete says that all of it is in the repository.
	Complete bool `json:"complete,omitempty"`
}

// FilePolicy says what is copied into the catalog's repository.
type FilePolicy struct {
	// Copy copies the files of volumes whose snapshots are taken by CSI or EBS, too,
	// from the same cut. It can fail without the backup: condition FileCopied.
	// +kubebuilder:default=true
	Copy bool `json:"copy"`
}

// ConditionFileCopied: the files of all volumes are in the catalog's repository, beside
// the snapshots.
const ConditionFileCopied = "FileCopied"

// DataFrom says what a restore's volumes are filled from.
// +kubebuilder:validation:Enum=Auto;Snapshot;File
type DataFrom string

// Where the data of a restore comes from.
const (
	// DataAuto takes a node's snapshot where a volume can be made of it in this cluster,
	// by its driver and in the storage class that is asked for; else its files.
	DataAuto DataFrom = "Auto"
	// DataSnapshot takes the snapshots alone.
	DataSnapshot DataFrom = "Snapshot"
	// DataFile takes the files in the catalog's repository alone.
	DataFile DataFrom = "File"
)

// Filled tells how far the filling of a volume is.
type Filled struct {
	// Done is how much of the files is on the volume.
	Done resource.Quantity `json:"done"`
	// Total size of the files.
	Total resource.Quantity `json:"total"`
	// StorageClass that the claim gets.
	StorageClass string `json:"storageClass,omitempty"`
	// Text tells it to people, with rate and time left.
	Text string `json:"text,omitempty"`
}
