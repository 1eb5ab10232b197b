package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// VerificationLevel says how much of a restored instance is compared with its
// backup.
// +kubebuilder:validation:Enum=Quick;Sample;Full
type VerificationLevel string

// The levels, each with all of those before it.
const (
	// VerifyQuick: every shard on the node that its map names, the counts and the
	// latest change of every database through every node.
	VerifyQuick VerificationLevel = "Quick"
	// VerifySample: the revisions of a random sample of documents.
	VerifySample VerificationLevel = "Sample"
	// VerifyFull: every id and revision, compared with the backup's fingerprint if
	// it has a full one; every document and attachment read; every view asked.
	VerifyFull VerificationLevel = "Full"
)

// Fingerprint says what a backup notes of its documents, for a restore to be
// compared with.
// +kubebuilder:validation:Enum=None;Sample;Full
type Fingerprint string

// The fingerprints.
const (
	// FingerprintNone notes nothing of single documents.
	FingerprintNone Fingerprint = "None"
	// FingerprintSample notes the revisions of a random sample of documents.
	FingerprintSample Fingerprint = "Sample"
	// FingerprintFull also streams every id and revision once the CHT runs on, and
	// notes a digest of each database.
	FingerprintFull Fingerprint = "Full"
)

// Verification is what was compared, and what came out.
type Verification struct {
	// Level that was asked for.
	Level VerificationLevel `json:"level,omitempty"`
	// Databases compared.
	Databases int32 `json:"databases"`
	// Shards found on the node that the map names.
	Shards int32 `json:"shards"`
	// Documents counted, deleted ones left out.
	Documents int64 `json:"documents"`
	// Sampled is the number of documents whose revision was noted in the backup
	// and found again, and which could be read.
	Sampled int64 `json:"sampled,omitempty"`
	// Streamed is the number of documents, deleted ones included, whose id and
	// revisions were read in a Full verification.
	Streamed int64 `json:"streamed,omitempty"`
	// Digests is the number of databases whose digest is that of the backup.
	Digests int32 `json:"digests,omitempty"`
	// Attachments read.
	Attachments int64 `json:"attachments,omitempty"`
	// AttachmentBytes read.
	AttachmentBytes int64 `json:"attachmentBytes,omitempty"`
	// Views that answered.
	Views int32 `json:"views,omitempty"`
	// Progress of a verification under way.
	Progress *VerificationProgress `json:"progress,omitempty"`
	// StartTime of the verification.
	StartTime *metav1.MicroTime `json:"startTime,omitempty"`
	// CompletionTime of the verification.
	CompletionTime *metav1.MicroTime `json:"completionTime,omitempty"`
	// Problems found; empty when all is well. At most 20 are listed.
	Problems []string `json:"problems,omitempty"`
	// Notes say what could not be compared, and why.
	Notes []string `json:"notes,omitempty"`
}

// VerificationProgress is how far a verification is.
type VerificationProgress struct {
	// Done is the number of documents compared so far, deleted ones included.
	Done int64 `json:"done"`
	// Total is the number of all there are, deleted ones included.
	Total int64 `json:"total"`
	// DocumentsPerSecond since the verification began.
	DocumentsPerSecond int64 `json:"documentsPerSecond,omitempty"`
	// SecondsLeft at that rate.
	SecondsLeft int64 `json:"secondsLeft,omitempty"`
}

// VerifiedBy tells, on a Backup, of the restore that proved it.
type VerifiedBy struct {
	// Level of the verification.
	Level VerificationLevel `json:"level"`
	// Time it ended.
	Time metav1.MicroTime `json:"time"`
	// Restore that was verified, as NAMESPACE/NAME; of a drill, the drill.
	Restore string `json:"restore"`
	// RestoreMilliseconds is the time from the restore's begin to the end of its
	// verification.
	RestoreMilliseconds int64 `json:"restoreMilliseconds"`
	// Databases compared.
	Databases int32 `json:"databases,omitempty"`
	// Shards found on the node that the map names.
	Shards int32 `json:"shards,omitempty"`
	// Documents counted, deleted ones left out.
	Documents int64 `json:"documents"`
	// Sampled is the number of those of the backup's sample that were found again.
	Sampled int64 `json:"sampled,omitempty"`
	// Streamed is the number of documents read in a Full verification, deleted ones
	// included.
	Streamed int64 `json:"streamed,omitempty"`
	// Attachments read.
	Attachments int64 `json:"attachments,omitempty"`
	// Views that answered.
	Views int32 `json:"views,omitempty"`
}
