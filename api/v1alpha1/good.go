package v1alpha1

import (
	"slices"

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

// HasFiles tells whether a copy of the files of all its volumes is in the catalog's
// repository, beside snapshots or instead of them.
func (b *Backup) HasFiles() bool {
	return len(b.Status.Volumes) > 0 && !slices.ContainsFunc(b.Status.Volumes, func(v VolumeStatus) bool { return v.File == nil || !v.File.Complete })
}

// FileBytes are the size of those files, and what was sent to the repository for them,
// which is what was not there already, compressed and sealed.
func (b *Backup) FileBytes() (size, sent int64) {
	for _, v := range b.Status.Volumes {
		if v.File != nil && v.File.Size != nil {
			size += v.File.Size.Value()
		}
		if v.File != nil && v.File.Sent != nil {
			sent += v.File.Sent.Value()
		}
	}
	return size, sent
}

// Proven tells whether a restore of the backup was verified, and none found it
// wrong since.
func (b *Backup) Proven() bool {
	return b.Good() && b.Status.Verified != nil && meta.IsStatusConditionPresentAndEqual(b.Status.Conditions, ConditionVerified, metav1.ConditionTrue)
}
