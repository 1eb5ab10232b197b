package restore

import (
	"context"
	"fmt"
	"slices"

	storagev1 "k8s.io/api/storage/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/ebs"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/paged"
	"github.com/medic/cht-backup/snapshot/reason"
)

// A backup has a snapshot of a node's volume, or a copy of its files in the catalog's
// repository, or both, of one cut. The check chooses, for each node, and notes the
// choice in the status: whatever is asked again later, the same claims are made.

// hasSnapshot tells whether there is a snapshot of a node's volume.
func hasSnapshot(node catalog.Node) bool { return node.Method != api.MethodFile }

// hasFiles tells whether there is a whole copy of a node's files.
func hasFiles(node catalog.Node) bool { return node.File != nil && node.File.Complete }

// filled gives how far a node's volume is that is filled from files, nil for one that
// is made of a snapshot.
func filled(restore *api.Restore, node string) *api.Filled { return volumeStatus(restore, node).Filled }

// fills tells whether any volume of a restore is filled from files.
func fills(restore *api.Restore) bool {
	return slices.ContainsFunc(restore.Status.Volumes, func(v api.RestoredVolume) bool { return v.Filled != nil })
}

// storage chooses what each claim is filled from, and refuses where one could not be.
func (r *Reconciler) storage(ctx context.Context, w *work) error {
	var list storagev1.StorageClassList
	if err := paged.All(ctx, r.Client, &list); err != nil {
		return fmt.Errorf("list storage classes: %w", err)
	}
	classes := list.Items
	from, wrong := sources(w)
	for _, some := range decidedTogether(from[api.DataAuto]) {
		err := w.tried(some, func() error { return r.fromSnapshots(ctx, w, some, classes) })
		if err != nil && reason.Of(err) == nil {
			return err
		}
		if err != nil {
			w.caution("%s: filled from the files in the catalog, since no volume can be made of the snapshot here: %s", servicesOf(some), err)
			from[api.DataFile] = append(from[api.DataFile], some...)
		}
	}
	return together(wrong, r.fromSnapshots(ctx, w, from[api.DataSnapshot], classes), r.fromFiles(ctx, w, from[api.DataFile], classes))
}

// sources parts the nodes by what their volumes can be made of, as far as the backup
// and the spec tell. Under Auto are those that have both.
func sources(w *work) (map[api.DataFrom][]catalog.Node, error) {
	from := map[api.DataFrom][]catalog.Node{}
	asked := w.restore.Spec.DataFrom
	var noFiles, noSnapshot, nothing []catalog.Node
	lone := slices.ContainsFunc(w.record.Nodes, func(n catalog.Node) bool { return ebs.Is(n) && !hasFiles(n) })
	for _, node := range w.record.Nodes {
		switch {
		case !hasSnapshot(node) && !hasFiles(node):
			nothing = append(nothing, node)
		case asked == api.DataFile && !hasFiles(node):
			noFiles = append(noFiles, node)
		case asked == api.DataSnapshot && !hasSnapshot(node):
			noSnapshot = append(noSnapshot, node)
		case asked == api.DataFile || !hasSnapshot(node):
			from[api.DataFile] = append(from[api.DataFile], node)
		case asked == api.DataSnapshot || !hasFiles(node) || ebs.Is(node) && lone:
			from[api.DataSnapshot] = append(from[api.DataSnapshot], node)
		default:
			from[api.DataAuto] = append(from[api.DataAuto], node)
		}
	}
	var wrong []error
	refuse := func(nodes []catalog.Node, why, format string) {
		if len(nodes) > 0 {
			wrong = append(wrong, reason.Refuse(why, "backup %s/%s "+format, w.record.Namespace, w.record.Name, servicesOf(nodes)))
		}
	}
	refuse(nothing, api.ReasonRecordInvalid, "has neither a snapshot nor a whole copy of the files of %s, says its record; choose another backup")
	refuse(noFiles, api.ReasonBackupNotReady, "has no whole copy of the files of %s, and spec.dataFrom is File; restore from its snapshots (--data-from Snapshot), or choose a backup that has one")
	refuse(noSnapshot, api.ReasonSnapshotMissing, "was taken by method File and has no snapshot of %s, and spec.dataFrom is Snapshot; restore from its files (--data-from File)")
	return from, together(wrong...)
}

// decidedTogether parts nodes: the snapshots of EC2 are of one Region, usable all or
// not at all.
func decidedTogether(nodes []catalog.Node) (parts [][]catalog.Node) {
	var byEBS []catalog.Node
	for _, node := range nodes {
		if ebs.Is(node) {
			byEBS = append(byEBS, node)
		} else {
			parts = append(parts, []catalog.Node{node})
		}
	}
	if len(byEBS) > 0 {
		parts = append(parts, byEBS)
	}
	return parts
}

// tried takes back what a check of nodes has noted that failed.
func (w *work) tried(nodes []catalog.Node, check func() error) error {
	cautions := slices.Clone(w.cautions)
	err := check()
	if err != nil {
		w.cautions = cautions
		for _, node := range nodes {
			volumeStatus(w.restore, node.Service).EBS = nil
		}
	}
	return err
}

// fromSnapshots refuses where claims could not be made of snapshots.
func (r *Reconciler) fromSnapshots(ctx context.Context, w *work, nodes []catalog.Node, classes []storagev1.StorageClass) error {
	wrong := []error{r.drivers(ctx, nodes)}
	for _, node := range nodes {
		if ebs.Is(node) {
			continue
		}
		wrong = append(wrong, w.fillable(node, classes))
		if w.record.ImportedFrom != "" && hasFiles(node) {
			w.caution("claim %s is made of snapshot %s, which the storage behind driver %s must have here, too: if it is another storage than the source's, restore from the files (--data-from File)", node.Claim, node.SnapshotHandle, node.Driver)
		}
	}
	return together(append(wrong, r.checkEBS(ctx, w, nodes, classes))...)
}

func servicesOf(nodes []catalog.Node) string {
	var names []string
	for _, node := range nodes {
		names = append(names, node.Service)
	}
	return joined(names)
}
