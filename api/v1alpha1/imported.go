package v1alpha1

import "slices"

// IsImported tells whether a Backup only shows a record of the catalog. The label is
// not enough: whoever puts it on a Backup of his own, which bears the finalizer before
// anything is made for it, must not have it forgotten that there are snapshots.
func (b *Backup) IsImported() bool {
	_, marked := b.Labels[ImportedLabel]
	return (marked || b.Status.Imported != nil) && !slices.Contains(b.Finalizers, Finalizer)
}
