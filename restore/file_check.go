package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/remap"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Repositories are those of the controller's catalog, that volumes are filled from.
type Repositories interface {
	// Open gives one that can be read. The error tells by its reason that there is no
	// catalog, that the repository is not in it, or that its key is not known; without a
	// reason it is one that may pass.
	Open(ctx context.Context, repository string) (transfer.Reader, error)
}

// fromFiles refuses where claims could not be filled from files, and notes those that
// will be.
func (r *Reconciler) fromFiles(ctx context.Context, w *work, nodes []catalog.Node, classes []storagev1.StorageClass) error {
	readers := map[string]transfer.Reader{}
	var wrong []error
	for _, node := range nodes {
		class, err := w.fileClass(node, classes)
		wrong = append(wrong, err)
		if err == nil {
			w.zoneCaution(node, class)
		}
		size, err := r.filesOf(ctx, w, node, readers)
		wrong = append(wrong, err)
		if err == nil {
			wrong = append(wrong, w.roomy(node, size))
		}
		volumeStatus(w.restore, node.Service).Filled = &api.Filled{Total: *resource.NewQuantity(size, resource.BinarySI), StorageClass: class.Name}
	}
	return together(wrong...)
}

// fileClass chooses the storage class of a claim that any class can make: the one that
// is asked for, the source's, or the default one.
func (w *work) fileClass(node catalog.Node, classes []storagev1.StorageClass) (storagev1.StorageClass, error) {
	named := func(name string) int {
		return slices.IndexFunc(classes, func(c storagev1.StorageClass) bool { return c.Name == name })
	}
	var have []string
	for _, c := range classes {
		have = append(have, c.Name)
	}
	next := fmt.Sprintf("name one with --storage-class (spec.remap.storageClassName); any will do, since the volume is filled from files; there are: %s", joined(have))
	if given := w.restore.Spec.Remap; given != nil && given.StorageClassName != "" {
		if i := named(given.StorageClassName); i >= 0 {
			return classes[i], nil
		}
		return storagev1.StorageClass{}, reason.Refuse(api.ReasonStorageClassMissing, "storage class %s (spec.remap.storageClassName) does not exist in this cluster; %s", given.StorageClassName, next)
	}
	if i := named(node.StorageClass); i >= 0 {
		return classes[i], nil
	}
	class := defaultClass(classes)
	if class == nil {
		return storagev1.StorageClass{}, reason.Refuse(api.ReasonStorageClassMissing, "claim %s was of storage class %s, which this cluster does not have, nor has it a default one; %s", node.Claim, orNone(node.StorageClass), next)
	}
	w.caution("claim %s, which was of storage class %s, gets the default class %s; choose another with --storage-class (spec.remap.storageClassName)", node.Claim, orNone(node.StorageClass), class.Name)
	return *class, nil
}

// filesOf reads the tree of a node's files: that it can be read shows that the
// repository is reachable and its key the right one. It gives their size in bytes.
func (r *Reconciler) filesOf(ctx context.Context, w *work, node catalog.Node, readers map[string]transfer.Reader) (int64, error) {
	id := node.File.Repository
	if r.Repositories == nil {
		return 0, reason.Refuse(api.ReasonNoCatalog, "backup %s/%s has its files in repository %s of a catalog, and this controller has no catalog; %s", w.record.Namespace, w.record.Name, id, setCatalog(w.record))
	}
	reader := readers[id]
	if reader == nil {
		var err error
		if reader, err = r.Repositories.Open(ctx, id); err != nil {
			return 0, w.unopened(id, err)
		}
		readers[id] = reader
	}
	t, err := reader.Tree(ctx, node.File.Tree)
	if err != nil {
		err = fmt.Errorf("%s: read the list of its files, tree %s of repository %s: %w", node.Service, node.File.Tree, id, damage(err))
		return 0, errors.Join(err, r.tellDamaged(ctx, w, node, err))
	}
	if t.Node != node.Service {
		return 0, reason.Refuse(api.ReasonRecordInvalid, "tree %s of repository %s is of node %q, and the record says that it is of %s; choose another backup", node.File.Tree, id, t.Node, node.Service)
	}
	return t.Size(), nil
}

// unopened tells the next step where a repository could not be opened.
func (w *work) unopened(id string, err error) error {
	e := reason.Of(err)
	switch {
	case e == nil:
		return notYet{fmt.Errorf("open repository %s, which has the files of backup %s/%s: %w", id, w.record.Namespace, w.record.Name, err)}
	case e.Reason == api.ReasonNoCatalog:
		return reason.Refuse(e.Reason, "backup %s/%s has its files in repository %s: %w; %s", w.record.Namespace, w.record.Name, id, err, setCatalog(w.record))
	}
	return err
}

// setCatalog says where the controller's catalog would have to be.
func setCatalog(record catalog.Record) string {
	where := "where the backup's repository is"
	if record.ImportedFrom != "" {
		where = record.ImportedFrom + ", where the record was read"
	}
	return fmt.Sprintf("set the controller's catalog (value controller.catalog.url of its chart) to %s, with credentials that may read it, and restore again", where)
}

// roomy refuses a claim that the files do not fit into, and warns of one that they fill.
func (w *work) roomy(node catalog.Node, size int64) error {
	bytes := remap.Claim{Bytes: node.CapacityBytes}.Remapped(w.restore.Spec.Remap).Bytes
	switch {
	case bytes < size:
		return reason.Refuse(api.ReasonClaimTooSmall, "claim %s would have %s, but the files of %s have %s, and CouchDB needs room beside them to compact; set --claim-size (spec.remap.claimSize) to twice that or more",
			node.Claim, quantity(bytes), node.Service, quantity(size))
	case bytes-size < size/5:
		w.caution("claim %s has %s and its files have %s: there is little room to compact; set --claim-size (spec.remap.claimSize) to more", node.Claim, quantity(bytes), quantity(size))
	}
	return nil
}

// tellDamaged tells on a Backup that is of method File that its files are not what was
// written. Where there are snapshots too, these are not concerned.
func (r *Reconciler) tellDamaged(ctx context.Context, w *work, node catalog.Node, found error) error {
	if e := reason.Of(found); e == nil || e.Reason != api.ReasonRepositoryDamaged || hasSnapshot(node) {
		return nil
	}
	return r.recordVerified(ctx, w, api.Verification{Level: w.restore.Spec.Verify, Problems: []string{found.Error()}}, found)
}
