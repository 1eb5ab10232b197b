package catalog

import (
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/fingerprint"
)

// FormatVersion is the version of the record's layout that is written. A record
// of a newer one is refused, not guessed at.
const FormatVersion = 1

// Record is everything known of one backup.
type Record struct {
	Format      int             `json:"format"`
	Namespace   string          `json:"namespace"`
	Name        string          `json:"name"`
	UID         types.UID       `json:"uid"`
	CutTime     time.Time       `json:"cutTime"`
	Consistency api.Consistency `json:"consistency"`
	// ImportedFrom is where it was read, if another cluster wrote it: the catalog, or
	// whose tags. Never in a bucket.
	ImportedFrom string `json:"importedFrom,omitempty"`
	// FromTags: it was put together from the tags of snapshots alone. It has no surveys:
	// a restore makes the shard maps from the files, and has nothing to compare with.
	FromTags bool `json:"fromTags,omitempty"`
	// CouchDB is the server's version.
	CouchDB string `json:"couchdb"`
	Nodes   []Node `json:"nodes"`
	// Before and After are what the cluster said just before the quiesce and just
	// after it. What is in the snapshots lies between the two.
	Before Survey `json:"before"`
	After  Survey `json:"after"`
	// Fingerprint is what was noted of the documents; nil in a backup without one.
	Fingerprint *fingerprint.Print `json:"fingerprint,omitempty"`
	// Objects are the instance's Kubernetes objects, cleaned.
	Objects []json.RawMessage `json:"objects"`
	// Images are what the instance's containers ran.
	Images []Image `json:"images,omitempty"`
	// Release is the Helm release that the instance is; nil where it is none.
	Release *Release `json:"release,omitempty"`
	// Compose is the Docker Compose project that the instance is; nil on Kubernetes.
	Compose *Compose `json:"compose,omitempty"`
}

// Image is the image that a container ran.
type Image struct {
	// Component is the value of cht.service.
	Component string `json:"component"`
	Container string `json:"container"`
	// Image as the pod names it, and ID with the digest as the node knows it.
	Image string `json:"image"`
	ID    string `json:"id,omitempty"`
}

// Release is a Helm release as Helm's own newest Secret of it tells.
type Release struct {
	Name       string `json:"name"`
	Revision   int    `json:"revision"`
	Chart      string `json:"chart"`
	Version    string `json:"version"`
	AppVersion string `json:"appVersion,omitempty"`
	// Values are those given for the release. They may hold passwords, as Secrets do.
	Values json.RawMessage `json:"values,omitempty"`
}

// Survey is what a CouchDB cluster says of itself at one time.
type Survey struct {
	ShardMaps map[string]couchdb.ShardMap `json:"shardMaps"`
	Counts    map[string]couchdb.Counts   `json:"counts"`
	// Sequences are the numbers of the databases' latest changes, summed over their
	// shards. Backups of older versions have none.
	Sequences map[string]int64 `json:"sequences,omitempty"`
}

// Node is one CouchDB node and the snapshot of its volume.
type Node struct {
	// Service is the value of cht.service, ErlangName CouchDB's name of the node.
	Service    string `json:"service"`
	ErlangName string `json:"erlangName"`

	Claim         string            `json:"claim"`
	ClaimLabels   map[string]string `json:"claimLabels,omitempty"`
	StorageClass  string            `json:"storageClass,omitempty"`
	CapacityBytes int64             `json:"capacityBytes"`

	// FSType and Partition are what the volume was mounted with, "" where it did not
	// say.
	FSType    string `json:"fsType,omitempty"`
	Partition string `json:"partition,omitempty"`

	DataSubPath    string `json:"dataSubPath"`
	ConfigSubPath  string `json:"configSubPath"`
	ConfigOnVolume bool   `json:"configOnVolume"`

	// Method is how it was cut, "" for CSI. EBS is the volume, if it was cut by EBS.
	Method api.Method     `json:"method,omitempty"`
	EBS    *api.EBSVolume `json:"ebs,omitempty"`
	// File is the copy of its files in the catalog's repository: all there is with method
	// File, and beside the snapshot else; nil where there is none.
	File *api.FileVolume `json:"file,omitempty"`
	// Copies are complete copies of the snapshot elsewhere, as far as they were known
	// when the record was written or imported.
	Copies []Copy `json:"copies,omitempty"`

	Driver          string `json:"driver"`
	SnapshotHandle  string `json:"snapshotHandle"`
	SnapshotContent string `json:"snapshotContent"`
	RestoreBytes    int64  `json:"restoreBytes,omitempty"`
}

// Copy is a copy of a node's EBS snapshot from which volumes can be made.
type Copy struct {
	// Name of the copy in spec.ebs.copies, and the Region it lies in.
	Name   string `json:"name"`
	Region string `json:"region"`
	// Account that owns it, Handle (snap-…), and the key it is encrypted with.
	Account  string `json:"account,omitempty"`
	Handle   string `json:"handle"`
	KMSKeyID string `json:"kmsKeyID,omitempty"`
}
