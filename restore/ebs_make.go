package restore

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/ebs"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/paged"
	"github.com/medic/cht-backup/snapshot/reason"
)

// chosen gives a node with the snapshot, driver and class that the check chose for
// it, where it was cut by EC2.
func chosen(restore *api.Restore, node catalog.Node) catalog.Node {
	if plan := volumeStatus(restore, node.Service).EBS; plan != nil {
		node.Driver, node.SnapshotHandle, node.StorageClass = ebs.Driver, plan.Snapshot, plan.StorageClass
	}
	return node
}

// static tells whether the controller makes a node's volume itself.
func static(restore *api.Restore, node string) *api.RestoredEBS {
	if plan := volumeStatus(restore, node).EBS; plan != nil && plan.Provision == api.ProvisionStatic {
		return plan
	}
	return nil
}

// order is what EC2 is asked for. All of it comes from the record, the spec and what
// the check wrote down, so that it is the same whenever it is asked again.
func (r *Reconciler) order(restore *api.Restore, node catalog.Node, plan *api.RestoredEBS) ebs.Order {
	return ebs.Order{Restore: restore, Node: node, Region: plan.Region, Zone: plan.Zone, Snapshot: plan.Snapshot,
		Volume: staticName(restore, node.Service), Bytes: ebsBytes(restore, node), Cluster: r.ClusterTag}
}

// staticName is a PersistentVolume's, which lives as long as the instance.
func staticName(restore *api.Restore, node string) string {
	return fmt.Sprintf("cht-%s-%s", restore.UID, node)
}

// makeStatic makes the EBS volumes that no driver makes, and the PersistentVolumes
// for them. It does nothing where there are none.
func (r *Reconciler) makeStatic(ctx context.Context, restore *api.Restore, nodes []catalog.Node) error {
	var orders []ebs.Order
	known := map[string]string{}
	for _, node := range nodes {
		if plan := static(restore, node.Service); plan != nil {
			orders = append(orders, r.order(restore, node, plan))
			known[node.Service] = plan.VolumeID
		}
	}
	if len(orders) == 0 {
		return nil
	}
	ec2, err := r.ec2(ctx, orders[0].Region)
	if err != nil {
		return err
	}
	ids, err := ebs.Make(ctx, ec2, orders, known)
	for node, id := range ids { // also of a half that failed
		static(restore, node).VolumeID = id
	}
	if err != nil {
		return err
	}
	settled := map[string]bool{}
	for node, id := range known {
		settled[node] = id != "" // noted in an earlier turn
	}
	for pause := time.Second; ; pause = min(2*pause, 5*time.Second) {
		waitingFor, err := ebs.Available(ctx, ec2, orders, ids, settled)
		if err != nil {
			return err
		}
		if waitingFor == "" {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", waitingFor, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
	for _, o := range orders {
		if err := r.makeVolume(ctx, o, ids[o.Node.Service]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) makeVolume(ctx context.Context, o ebs.Order, id string) error {
	var class *storagev1.StorageClass
	if name := static(o.Restore, o.Node.Service).StorageClass; name != "" {
		class = &storagev1.StorageClass{}
		if err := r.Client.Get(ctx, client.ObjectKey{Name: name}, class); err != nil {
			return fmt.Errorf("get storage class %s: %w", name, err)
		}
	}
	pv := o.PersistentVolume(id, class, marks(o.Restore, o.Node.Service))
	err := r.Client.Create(ctx, pv)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	var there corev1.PersistentVolume
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(pv), &there); err != nil {
		return fmt.Errorf("get volume %s: %w", pv.Name, err)
	}
	// Known by what it is: the mark of the restore goes when the volume becomes the
	// instance's own.
	if there.Spec.CSI == nil || there.Spec.CSI.Driver != ebs.Driver || there.Spec.CSI.VolumeHandle != id {
		return reason.Refuse(api.ReasonTargetNotEmpty, "volume %s exists and is not the EBS volume %s that was made for it; delete it if it is nobody's", pv.Name, id)
	}
	return nil
}

// dropStatic deletes the EBS volumes that the restore made itself and that no
// PersistentVolume has: those of one that was bound go with it, by their driver.
func (r *Reconciler) dropStatic(ctx context.Context, restore *api.Restore) error {
	regions := map[string][]string{}
	for _, v := range restore.Status.Volumes {
		if plan := static(restore, v.Node); plan != nil {
			regions[plan.Region] = append(regions[plan.Region], v.Node)
		}
	}
	if len(regions) == 0 {
		return nil
	}
	kept := map[string]bool{}
	var never []corev1.PersistentVolume
	for page, err := range paged.Pages(ctx, r.Client, &corev1.PersistentVolumeList{}) {
		if err != nil {
			return fmt.Errorf("list volumes: %w", err)
		}
		for _, pv := range page.Items {
			switch {
			case pv.Spec.CSI == nil || pv.Spec.CSI.Driver != ebs.Driver:
			case neverBound(restore, &pv):
				never = append(never, pv)
			default:
				kept[pv.Spec.CSI.VolumeHandle] = true
			}
		}
	}
	for i := range never {
		// Exactly as it was seen: meanwhile its claim may have been made and bound.
		pv := &never[i]
		err := r.Client.Delete(ctx, pv, client.Preconditions{UID: &pv.UID, ResourceVersion: &pv.ResourceVersion})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete volume %s, which no claim was bound to: %w", pv.Name, err)
		}
	}
	for region, nodes := range regions {
		ec2, err := r.ec2(ctx, region)
		if err != nil {
			return err
		}
		waitingFor, err := ebs.Drop(ctx, ec2, restore.UID, nodes, func(id string) bool { return kept[id] })
		if err != nil {
			return err
		}
		if waitingFor != "" {
			return fmt.Errorf("EC2 does not delete yet, and is asked again: %s", waitingFor)
		}
	}
	return nil
}

// neverBound tells of a volume that the restore made for a claim that was never bound
// to it.
func neverBound(restore *api.Restore, pv *corev1.PersistentVolume) bool {
	ref := pv.Spec.ClaimRef
	return pv.Labels[api.RestoreUIDLabel] == string(restore.UID) && pv.Labels[api.SetAsideLabel] == "" && pv.DeletionTimestamp == nil &&
		slices.ContainsFunc(restore.Status.Volumes, func(v api.RestoredVolume) bool { return pv.Name == staticName(restore, v.Node) }) &&
		ref != nil && ref.UID == "" && ref.Namespace == restore.Namespace
}
