package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/ebs"
	"github.com/medic/cht-backup/restore/remap"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/paged"
	"github.com/medic/cht-backup/snapshot/reason"
)

// checkEBS chooses, for the nodes that were cut by EC2, where their volumes come from,
// who makes them and in which zone, writes that into the status, and refuses what
// could not be done. It tells all that is missing, not only the first.
func (r *Reconciler) checkEBS(ctx context.Context, w *work, some []catalog.Node, classes []storagev1.StorageClass) error {
	nodes, err := r.ebsNodes(ctx, w, some)
	if err != nil || len(nodes) == 0 {
		return err
	}
	var list corev1.NodeList
	if err := paged.All(ctx, r.Client, &list); err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	cluster := list.Items
	asked := w.restore.Spec.EBS
	region := ""
	if asked != nil {
		region = asked.Region
	}
	set, wrong := ebs.Choose(nodes, region, ebs.RegionOf(cluster))
	has := ebs.Cluster{}
	if has.Driver, err = r.installed(ctx, ebs.Driver); err != nil {
		return err
	}
	if has.Kinds, err = r.snapshotKinds(ctx); err != nil {
		return err
	}
	chosen := map[string]*storagev1.StorageClass{}
	for _, node := range nodes {
		class, err := w.ebsClass(node, classes)
		if err != nil {
			wrong = errors.Join(wrong, err)
		} else if class == nil {
			has.Classless = append(has.Classless, node.Claim)
		}
		chosen[node.Service] = class
		wrong = errors.Join(wrong, ebsSize(w.restore, node))
	}
	provision, err := ebs.Provision(asked, nodes, has)
	wrong = errors.Join(wrong, err)
	zones := make([]string, len(nodes))
	if provision == api.ProvisionStatic {
		if zones, err = w.zones(nodes, cluster, set.Region); err != nil {
			wrong = errors.Join(wrong, err)
		}
	}
	var orders []ebs.Order
	for i, node := range nodes {
		plan := &api.RestoredEBS{Provision: provision, Region: set.Region, Snapshot: set.Snapshots[node.Service], Zone: zones[i]}
		if class := chosen[node.Service]; class != nil {
			plan.StorageClass = class.Name
		}
		volumeStatus(w.restore, node.Service).EBS = plan
		w.ebsCautions(node, provision, chosen[node.Service])
		if provision == api.ProvisionStatic {
			wrong = errors.Join(wrong, ebs.Invalid(asked, node))
		}
		orders = append(orders, r.order(w.restore, node, plan))
	}
	if set.Region == "" {
		return wrong // nobody can be asked
	}
	return errors.Join(wrong, r.askEC2(ctx, w, provision, orders))
}

// ebsNodes are the record's, with the copies that the Backup, if it is still there,
// knows of.
func (r *Reconciler) ebsNodes(ctx context.Context, w *work, some []catalog.Node) ([]catalog.Node, error) {
	var nodes []catalog.Node
	for _, n := range some {
		if ebs.Is(n) {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return nil, nil
	}
	var backup api.Backup
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: w.record.Namespace, Name: w.record.Name}, &backup)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get backup %s/%s: %w", w.record.Namespace, w.record.Name, err)
	}
	if err != nil || backup.UID != w.record.UID {
		return nodes, nil
	}
	for _, c := range backup.Status.Copies {
		if !c.Complete {
			continue
		}
		for i := range nodes {
			for _, v := range c.Volumes {
				if v.Node == nodes[i].Service && v.Ready {
					nodes[i].Copies = append(slices.Clone(nodes[i].Copies), catalog.Copy{Name: c.Name, Region: c.Region, Account: c.Account, Handle: v.Handle, KMSKeyID: v.KMSKeyID})
				}
			}
		}
	}
	return nodes, nil
}

func (w *work) ebsClass(node catalog.Node, classes []storagev1.StorageClass) (*storagev1.StorageClass, error) {
	given := w.restore.Spec.Remap
	asked := given != nil && given.StorageClassName != ""
	name := remap.Claim{StorageClass: node.StorageClass}.Remapped(given).StorageClass
	class, err := ebs.Class(name, asked, defaultClass(classes), classes)
	if class != nil && !asked && class.Name != node.StorageClass {
		w.caution("claim %s, which was of storage class %s, gets class %s of driver %s; choose another with --storage-class (spec.remap.storageClassName)", node.Claim, orNone(node.StorageClass), class.Name, ebs.Driver)
	}
	return class, err
}

func orNone(name string) string {
	if name == "" {
		return "none"
	}
	return name
}

// ebsBytes is the size that a claim gets.
func ebsBytes(restore *api.Restore, node catalog.Node) int64 {
	return remap.Claim{Bytes: max(node.CapacityBytes, node.RestoreBytes)}.Remapped(restore.Spec.Remap).Bytes
}

func ebsSize(restore *api.Restore, node catalog.Node) error {
	least := node.RestoreBytes
	if node.EBS != nil {
		least = max(least, int64(node.EBS.SizeGiB)<<30)
	}
	if bytes := ebsBytes(restore, node); bytes < least {
		return reason.Refuse(api.ReasonClaimTooSmall, "claim %s would have %s (spec.remap.claimSize), but its snapshot needs %s; set --claim-size to that or more", node.Claim, quantity(bytes), quantity(least))
	}
	return nil
}

func (w *work) ebsCautions(node catalog.Node, provision api.EBSProvision, class *storagev1.StorageClass) {
	switch {
	case provision == api.ProvisionStatic && class == nil:
		w.caution("claim %s gets no storage class: its EBS volume stays when the claim is deleted, and can be enlarged only by hand", node.Claim)
	case provision == api.ProvisionDriver && class != nil:
		if fs := fileSystem(*class); fs != "" && node.FSType != "" && fs != node.FSType {
			w.caution("storage class %s says that its volumes have the file system %s, and the snapshot of %s has %s: it may not be mounted; name another class (--storage-class), or set spec.ebs.provision to Static", class.Name, fs, node.Service, node.FSType)
		}
	}
}

// zones gives each volume one in which its pod can run.
func (w *work) zones(nodes []catalog.Node, cluster []corev1.Node, region string) ([]string, error) {
	asked := ""
	if w.restore.Spec.EBS != nil {
		asked = w.restore.Spec.EBS.Zone
	}
	all := ebs.ZonesOf(cluster, func(*corev1.Node) bool { return true })
	if len(all) == 0 {
		return make([]string, len(nodes)), reason.Refuse(api.ReasonNodeUnavailable, "no node of this cluster says in which availability zone it is (label %s), and an EBS volume is attached in its own zone only; label the nodes, as the AWS cloud controller does", corev1.LabelTopologyZone)
	}
	sources, possible := make([]string, len(nodes)), make([][]string, len(nodes))
	for i, node := range nodes {
		if node.EBS != nil {
			sources[i] = node.EBS.Zone
		}
		possible[i] = slices.DeleteFunc(ebs.ZonesOf(cluster, w.takes(node.Service)), func(zone string) bool {
			return asked != "" && zone != asked || region != "" && !strings.HasPrefix(zone, region)
		})
	}
	chosen := ebs.Zones(sources, possible)
	for i, node := range nodes {
		if chosen[i] == "" {
			where := "of Region " + region
			if asked != "" {
				where = asked + " (spec.ebs.zone)"
			}
			return chosen, reason.Refuse(api.ReasonNodeUnavailable, "%s: there is no zone %s with a node that its pod can run on; nodes are in: %s. Choose other nodes with --node-selector or --toleration, or another zone", node.Service, where, joined(all))
		}
	}
	return chosen, nil
}

// takes tells which nodes the pod of one CouchDB node can run on.
func (w *work) takes(service string) func(*corev1.Node) bool {
	var spec corev1.PodSpec
	for _, o := range w.target {
		if isWorkload(o) && component(o) == service {
			spec, _ = podSpec(o) // what is wrong with it, placed says
		}
	}
	return func(n *corev1.Node) bool {
		return !n.Spec.Unschedulable && selected(spec, n) && untolerated(spec.Tolerations, n.Spec.Taints) == nil
	}
}

// askEC2 asks whether the snapshots are there and whether volumes may be made of them.
// Where the driver makes them, with rights of its own, what EC2 does not tell the
// controller is only a caution.
func (r *Reconciler) askEC2(ctx context.Context, w *work, provision api.EBSProvision, orders []ebs.Order) error {
	ec2, err := r.ec2(ctx, orders[0].Region)
	if err != nil {
		err = reason.Refuse(api.ReasonAccessDenied, "EC2 cannot be asked, by which the volumes would be made: %w", err)
	} else {
		var cautions []string
		cautions, err = ebs.Usable(ctx, ec2, orders)
		for _, text := range cautions {
			w.caution("%s", text)
		}
		if provision == api.ProvisionStatic && !slices.ContainsFunc(orders, func(o ebs.Order) bool { return o.Zone == "" }) {
			if e := reason.Of(err); err == nil || e != nil {
				err = errors.Join(err, ebs.Allowed(ctx, ec2, orders))
			}
		}
	}
	e := reason.Of(err)
	switch {
	case err == nil:
		return nil
	case provision == api.ProvisionDriver && (e == nil || e.Reason == api.ReasonAccessDenied):
		w.caution("whether the snapshots are there could not be asked: %s", err)
		return nil
	case e == nil:
		return notYet{err}
	}
	return err
}

func (r *Reconciler) ec2(ctx context.Context, region string) (ebs.EC2, error) {
	if r.EC2 == nil {
		return nil, reason.Refuse(api.ReasonAccessDenied, "this controller does not talk to EC2, and the backup's volumes were cut by method EBS")
	}
	return r.EC2(ctx, region)
}

// installed tells whether the cluster has a CSI driver: it has an object of its own,
// or, since not all do, is registered on a node.
func (r *Reconciler) installed(ctx context.Context, driver string) (bool, error) {
	err := r.Client.Get(ctx, client.ObjectKey{Name: driver}, &storagev1.CSIDriver{})
	if err == nil {
		return true, nil
	}
	if !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("get CSIDriver %s: %w", driver, err)
	}
	for page, err := range paged.Pages(ctx, r.Client, &storagev1.CSINodeList{}) {
		if err != nil {
			return false, fmt.Errorf("list CSINodes: %w", err)
		}
		for _, n := range page.Items {
			if slices.ContainsFunc(n.Spec.Drivers, func(d storagev1.CSINodeDriver) bool { return d.Name == driver }) {
				return true, nil
			}
		}
	}
	return false, nil
}

// snapshotKinds tells whether the API server knows VolumeSnapshots.
func (r *Reconciler) snapshotKinds(ctx context.Context) (bool, error) {
	err := r.Client.List(ctx, &snapv1.VolumeSnapshotContentList{}, client.Limit(1))
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list VolumeSnapshotContents: %w", err)
	}
	return true, nil
}
