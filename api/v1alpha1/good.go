package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Good tells whether a restore may rely on the backup: it is complete, and no
// verification has found it wrong since. One that only shows a record of the catalog
// is none: what it stands for is not of this cluster.
func (b *Backup) Good() bool {
	return b.Status.Phase == PhaseCompleted && !b.IsImported() && b.Status.CutTime != nil &&
		meta.IsStatusConditionTrue(b.Status.Conditions, ConditionReady) && !meta.IsStatusConditionFalse(b.Status.Conditions, ConditionVerified)
}

// Supersedes tells whether b is the one to rely on rather than other, which may be
// nil: it is good, nobody is deleting it, and it was cut later.
func (b *Backup) Supersedes(other *Backup) bool {
	return b.Good() && b.DeletionTimestamp == nil && (other == nil || other.Status.CutTime.Before(b.Status.CutTime))
}

// Proven tells whether a restore of the backup was verified, and none found it
// wrong since.
func (b *Backup) Proven() bool {
	return b.Good() && b.Status.Verified != nil && meta.IsStatusConditionPresentAndEqual(b.Status.Conditions, ConditionVerified, metav1.ConditionTrue)
}
