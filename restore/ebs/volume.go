package ebs

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// provisionedBy names the driver that deletes the storage with the PersistentVolume.
const provisionedBy = "pv.kubernetes.io/provisioned-by"

// PersistentVolume is what the cluster knows the volume as: bound beforehand to its
// claim, in its zone, and from then on the driver's like any other. Without a class
// nothing says that it may be deleted, and it is retained.
func (o Order) PersistentVolume(id string, class *storagev1.StorageClass, labels map[string]string) *corev1.PersistentVolume {
	source := &corev1.CSIPersistentVolumeSource{Driver: Driver, VolumeHandle: id, FSType: o.Node.FSType}
	if source.FSType == "" {
		source.FSType = "ext4" // the driver's own default
	}
	if o.Node.Partition != "" {
		source.VolumeAttributes = map[string]string{"partition": o.Node.Partition}
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.Volume, Labels: labels, Annotations: map[string]string{provisionedBy: Driver}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(int64(o.GiB())*gib, resource.BinarySI)},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: source},
			ClaimRef:                      &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: o.Restore.Namespace, Name: o.Node.Claim},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{o.Zone}}}}}}},
		},
	}
	if class != nil {
		pv.Spec.StorageClassName, pv.Spec.MountOptions = class.Name, class.MountOptions
		pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete // that of a class that says nothing
		if class.ReclaimPolicy != nil {
			pv.Spec.PersistentVolumeReclaimPolicy = *class.ReclaimPolicy
		}
	}
	return pv
}
