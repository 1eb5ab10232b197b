package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/ebs"
	"github.com/medic/cht-backup/restore/remap"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/paged"
	"github.com/medic/cht-backup/snapshot/reason"
)

// defaultClassAnnotation marks the storage class that claims without one get.
const defaultClassAnnotation = "storageclass.kubernetes.io/is-default-class"

// fits refuses unless the backup, as remapped, can be brought up in this cluster:
// claims that can be filled, nodes that the pods may run on, the ingress' class.
func (r *Reconciler) fits(ctx context.Context, w *work) error {
	if err := remapValid(w); err != nil {
		return err
	}
	// All at once: whoever brings a lost instance back has no time for one refusal after
	// the other.
	return together(r.storage(ctx, w), r.placed(ctx, w), preflightRotation(w), r.ingressClass(ctx, w), r.contained(ctx, w))
}

// together makes one refusal of several. Where there is one, it does not matter what
// else was not answered, and would be asked again.
func together(errs ...error) error {
	var refusals []error
	var unanswered error
	var texts []string
	for _, err := range flat(errors.Join(errs...)) {
		if reason.Of(err) == nil {
			unanswered = err
		} else if text := err.Error(); !slices.Contains(texts, text) {
			refusals, texts = append(refusals, err), append(texts, text)
		}
	}
	switch len(refusals) {
	case 0:
		return unanswered
	case 1:
		return refusals[0]
	}
	return reason.Refuse(reason.Of(refusals[0]).Reason, "%d things are in the way. %s", len(texts), strings.Join(texts, ". "))
}

// flat takes joined errors apart.
func flat(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case !ok:
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flat(e)...)
	}
	return all
}

// remapValid refuses a remap that no API server would take, or that names what
// the backup does not have.
func remapValid(w *work) error {
	given := w.restore.Spec.Remap
	if given == nil {
		return nil
	}
	if problems := remap.Invalid(given); len(problems) > 0 {
		return reason.Refuse(api.ReasonRemapInvalid, "spec.remap: %s; correct it in another restore", strings.Join(problems, ". "))
	}
	if in := given.Ingress; in != nil {
		switch {
		case w.restore.Spec.InPlace != nil:
			return reason.Refuse(api.ReasonRemapInvalid, "spec.remap.ingress: in place the ingress stays as it is; leave it out, and change the ingress itself")
		case !hasIngress(w.restore):
			return reason.Refuse(api.ReasonRemapInvalid, "spec.remap.ingress: a clone gets an ingress only with a host of its own; give ingress.host too (--ingress-host), or leave the class out")
		}
	}
	if unmatched := remapped(w.restore, w.source, w.rewrite).Unmatched; len(unmatched) > 0 {
		return reason.Refuse(api.ReasonRemapInvalid, "spec.remap fits nothing in backup %s/%s: %s; correct it in another restore", w.record.Namespace, w.record.Name, strings.Join(unmatched, ". "))
	}
	return nil
}

// drivers refuses where a driver that made snapshots is not installed: a storage class
// of its name fills no claim.
func (r *Reconciler) drivers(ctx context.Context, nodes []catalog.Node) error {
	of := map[string][]string{}
	for _, node := range nodes {
		if !ebs.Is(node) {
			of[node.Driver] = append(of[node.Driver], node.Service)
		}
	}
	if len(of) == 0 {
		return nil
	}
	kinds, err := r.snapshotKinds(ctx)
	if err != nil {
		return err
	}
	var wrong []error
	if !kinds {
		wrong = append(wrong, reason.Refuse(api.ReasonDriverMissing, "this cluster has no VolumeSnapshot kinds, through which a CSI driver is told of a snapshot; install the CSI external-snapshotter (its CRDs and the snapshot-controller)"))
	}
	for _, driver := range sortedKeys(of) {
		there, err := r.installed(ctx, driver)
		if err != nil {
			return err
		}
		if !there {
			wrong = append(wrong, reason.Refuse(api.ReasonDriverMissing, "the CSI driver %s, which made the snapshots of %s, is not installed in this cluster (no CSIDriver, and no CSINode names it); install it, with access to the storage that holds them", driver, joined(of[driver])))
		}
	}
	return together(wrong...)
}

// fillable refuses where the claim of a node that was cut by a CSI driver could not be
// filled.
func (w *work) fillable(node catalog.Node, classes []storagev1.StorageClass) error {
	given := w.restore.Spec.Remap
	asked := given != nil && given.StorageClassName != ""
	with := remap.Claim{StorageClass: node.StorageClass, Bytes: max(node.CapacityBytes, node.RestoreBytes)}.Remapped(given)
	class, err := classFor(node, with.StorageClass, asked, classes)
	if err != nil {
		return err
	}
	if fs := fileSystem(class); fs != "" && node.FSType != "" && fs != node.FSType {
		why := api.ReasonStorageClassMissing
		if asked {
			why = api.ReasonRemapInvalid
		}
		return reason.Refuse(why, "storage class %s says that its volumes have the file system %s, and the snapshot of %s has %s: it could not be mounted. Name a class of driver %s for %s with --storage-class (spec.remap.storageClassName)",
			class.Name, fs, node.Service, node.FSType, node.Driver, node.FSType)
	}
	if fs := fileSystem(class); fs != "" && node.FSType == "" && class.Name != node.StorageClass {
		w.caution("storage class %s says that its volumes have the file system %s; the volume of claim %s did not say which it has, and with another it cannot be mounted", class.Name, fs, node.Claim)
	}
	if node.Partition != "" {
		w.caution("the volume of claim %s was mounted with partition %s; a volume that a storage class makes of its snapshot says no partition, and the driver may not mount it: if the restore waits for the pod of prepare-volume, that is why",
			node.Claim, node.Partition)
	}
	least := node.RestoreBytes
	if least == 0 {
		least = node.CapacityBytes // the storage did not say what the snapshot needs
	}
	if with.Bytes < least {
		return reason.Refuse(api.ReasonClaimTooSmall, "claim %s would have %s (spec.remap.claimSize), but its snapshot needs %s; set --claim-size to that or more",
			node.Claim, quantity(with.Bytes), quantity(least))
	}
	w.zoneCaution(node, class)
	return nil
}

// zoneCaution tells of a class that knows nothing of the zone that is asked for.
func (w *work) zoneCaution(node catalog.Node, class storagev1.StorageClass) {
	given := w.restore.Spec.Remap
	if given != nil && given.Zone != "" && len(class.AllowedTopologies) == 0 && (class.VolumeBindingMode == nil || *class.VolumeBindingMode == storagev1.VolumeBindingImmediate) {
		w.caution("storage class %s makes the volume of claim %s at once, perhaps in another zone than %s, where no pod could use it; a class that waits for its first consumer puts it there (--storage-class)",
			class.Name, node.Claim, given.Zone)
	}
}

// fileSystem is the one that a class's volumes are mounted as, "" where it leaves
// that to the driver.
func fileSystem(class storagev1.StorageClass) string {
	for _, key := range []string{"csi.storage.k8s.io/fstype", "fsType", "fstype"} {
		if fs := class.Parameters[key]; fs != "" {
			return fs
		}
	}
	return ""
}

func quantity(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }

// classFor gives the storage class that a claim is made with. Only one of the
// snapshot's own driver can fill it: with any other the claim never binds.
func classFor(node catalog.Node, name string, asked bool, classes []storagev1.StorageClass) (storagev1.StorageClass, error) {
	var of []string
	for _, c := range classes {
		if c.Provisioner == node.Driver {
			of = append(of, c.Name)
		}
	}
	next := fmt.Sprintf("name a class of that driver with --storage-class (spec.remap.storageClassName); there are: %s", joined(of))
	if len(of) == 0 {
		next = fmt.Sprintf("this cluster has no storage class of driver %s; install the driver and create one", node.Driver)
	}
	if name == "" {
		class := defaultClass(classes)
		switch {
		case class == nil:
			return storagev1.StorageClass{}, reason.Refuse(api.ReasonStorageClassMissing,
				"claim %s had no storage class (its volume was made by hand), and this cluster has no default one; its snapshot is of driver %s: %s", node.Claim, node.Driver, next)
		case class.Provisioner != node.Driver:
			return *class, reason.Refuse(api.ReasonStorageClassMissing,
				"claim %s had no storage class (its volume was made by hand), and the default class %s is of %s, which cannot read a snapshot of driver %s: %s", node.Claim, class.Name, class.Provisioner, node.Driver, next)
		}
		return *class, nil
	}
	i := slices.IndexFunc(classes, func(c storagev1.StorageClass) bool { return c.Name == name })
	switch {
	case i < 0 && asked:
		return storagev1.StorageClass{}, reason.Refuse(api.ReasonStorageClassMissing, "storage class %s (spec.remap.storageClassName) does not exist in this cluster; the snapshot of %s is of driver %s: %s", name, node.Service, node.Driver, next)
	case i < 0:
		return storagev1.StorageClass{}, reason.Refuse(api.ReasonStorageClassMissing, "storage class %s of claim %s does not exist in this cluster; create it for driver %s, or %s", name, node.Claim, node.Driver, next)
	case classes[i].Provisioner != node.Driver && asked:
		return classes[i], reason.Refuse(api.ReasonRemapInvalid, "storage class %s (spec.remap.storageClassName) is of %s, which cannot read the snapshot of %s, of driver %s: %s", name, classes[i].Provisioner, node.Service, node.Driver, next)
	case classes[i].Provisioner != node.Driver:
		return classes[i], reason.Refuse(api.ReasonStorageClassMissing, "storage class %s of claim %s is of %s in this cluster, which cannot read its snapshot, of driver %s: %s", name, node.Claim, classes[i].Provisioner, node.Driver, next)
	}
	return classes[i], nil
}

// defaultClass is the one that the API server would take: of several the newest.
func defaultClass(classes []storagev1.StorageClass) *storagev1.StorageClass {
	var found *storagev1.StorageClass
	for i := range classes {
		c := &classes[i]
		if c.Annotations[defaultClassAnnotation] == "true" && (found == nil || found.CreationTimestamp.Before(&c.CreationTimestamp)) {
			found = c
		}
	}
	return found
}

func joined(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// ingressClass refuses an ingress that nobody would serve.
func (r *Reconciler) ingressClass(ctx context.Context, w *work) error {
	for _, o := range w.target {
		if o.GetKind() != "Ingress" {
			continue
		}
		name, _, _ := unstructured.NestedString(o.Object, "spec", "ingressClassName")
		old := o.GetAnnotations()[remap.OldClassAnnotation]
		if name == "" && (old == "" || w.restore.Spec.Remap == nil || w.restore.Spec.Remap.Ingress == nil || w.restore.Spec.Remap.Ingress.ClassName == "") {
			continue // whoever reads the annotation may need no IngressClass
		}
		var classes networkingv1.IngressClassList
		var have []string
		if err := paged.All(ctx, r.Client, &classes); err != nil {
			return fmt.Errorf("list ingress classes: %w", err)
		}
		for _, c := range classes.Items {
			have = append(have, c.Name)
		}
		switch {
		case name != "" && !slices.Contains(have, name):
			return reason.Refuse(api.ReasonIngressClassMissing, "Ingress %s is of class %s, which this cluster does not have: nobody would serve it. Name one with --ingress-class (spec.remap.ingress.className); there are: %s",
				o.GetName(), name, joined(have))
		case name == "" && !slices.Contains(have, old):
			w.caution("Ingress %s names its class %s in the annotation %s; this cluster has no IngressClass of that name, which may be well or a typo", o.GetName(), old, remap.OldClassAnnotation)
		}
	}
	return nil
}

// caution adds a warning to the plan.
func (w *work) caution(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(w.cautions, text) {
		w.cautions = append(w.cautions, text)
	}
}
