package v1alpha1

import (
	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Drill restores the backup's databases into a scratch namespace that is closed
// in, verifies them, tells on the Backup what came out and how long it took, and
// removes the namespace again, whatever happens.
type Drill struct {
	// KeepFailed keeps the scratch namespace of a drill that failed for so long, for
	// a look. Default: it is removed at once.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('720h')",message="keepFailed must lie between 1m and 720h"
	KeepFailed *metav1.Duration `json:"keepFailed,omitempty"`
}

// DrillStatus is what a drill did beside the verification.
type DrillStatus struct {
	// Scratch is the namespace that the backup is restored into.
	Scratch string `json:"scratch,omitempty"`
	// ScratchUID is the UID of the Restore in it, once that was made.
	ScratchUID types.UID `json:"scratchUID,omitempty"`
	// RestoreMilliseconds is the measured time to recovery: from the begin of the
	// restore in the scratch namespace to the end of its verification. 0 unless that
	// was good.
	RestoreMilliseconds int64 `json:"restoreMilliseconds,omitempty"`
	// KeptUntil is when the scratch namespace of a drill that failed is removed, where
	// keepFailed asked for it.
	KeptUntil *metav1.Time `json:"keptUntil,omitempty"`
}

// ScheduledDrill makes drills by a clock.
type ScheduledDrill struct {
	// Schedule is when drills are due, in the zone and with the jitter of the
	// BackupSchedule. Each takes the newest good backup of the instance.
	Schedule CronExpression `json:"schedule"`
	// Verify says how much is compared with the backup.
	// +kubebuilder:default=Sample
	Verify VerificationLevel `json:"verify,omitempty"`
	// KeepFailed: see Drill.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('720h')",message="keepFailed must lie between 1m and 720h"
	KeepFailed *metav1.Duration `json:"keepFailed,omitempty"`
	// Remap changes what does not fit the place that drills run in.
	Remap *Remap `json:"remap,omitempty"`
	// StepTimeout bounds each step of a drill.
	// +kubebuilder:default="15m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="stepTimeout must lie between 1s and 24h"
	StepTimeout metav1.Duration `json:"stepTimeout,omitzero"`
	// History is how many ended drills are kept as Restores for a look, of the good
	// and of the failed each.
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	History int32 `json:"history,omitempty"`
}
