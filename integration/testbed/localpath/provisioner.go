package localpath

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// Provisioner makes and removes the directories of one node.
type Provisioner struct {
	Dir  string // holds one directory for each volume
	Node string // the only node that has Dir
}

var _ controller.Provisioner = (*Provisioner)(nil)

// Provision makes the directory of a claim's volume.
func (p *Provisioner) Provision(_ context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	if err := p.possible(o); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if o.SelectedNodeName != "" && o.SelectedNodeName != p.Node {
		return nil, controller.ProvisioningReschedule, fmt.Errorf("node %s has no such directories, only %s has", o.SelectedNodeName, p.Node)
	}
	// The name tells an operator whose directory it is, as on k3s.
	dir := filepath.Join(p.Dir, o.PVName+"_"+o.PVC.Namespace+"_"+o.PVC.Name)
	// Nothing gives a hostPath volume to a pod's group: anyone may write, whatever
	// the umask of this process.
	if err := errors.Join(os.MkdirAll(dir, 0o777), os.Chmod(dir, 0o777)); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("make the directory of claim %s/%s: %w", o.PVC.Namespace, o.PVC.Name, err)
	}
	kind := corev1.HostPathDirectoryOrCreate
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			VolumeMode:                    o.PVC.Spec.VolumeMode,
			// What was asked for is what is said; nothing holds anyone to it.
			Capacity:               corev1.ResourceList{corev1.ResourceStorage: o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir, Type: &kind}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{p.Node}}},
			}}}},
		},
	}, controller.ProvisioningFinished, nil
}

// possible refuses what a plain directory cannot be, rather than give something else.
func (p *Provisioner) possible(o controller.ProvisionOptions) error {
	claim := o.PVC.Namespace + "/" + o.PVC.Name
	switch {
	case o.PVC.Spec.DataSource != nil || o.PVC.Spec.DataSourceRef != nil:
		return fmt.Errorf("claim %s has a data source: a directory of the node starts empty", claim)
	case o.PVC.Spec.Selector != nil:
		return fmt.Errorf("claim %s has a selector: volumes are made, not chosen", claim)
	}
	for _, mode := range o.PVC.Spec.AccessModes {
		if mode != corev1.ReadWriteOnce && mode != corev1.ReadWriteOncePod {
			return fmt.Errorf("claim %s wants %s: one node has the directory", claim, mode)
		}
	}
	return nil
}

// Delete removes a volume's directory with its content.
func (p *Provisioner) Delete(_ context.Context, v *corev1.PersistentVolume) error {
	if v.Spec.HostPath == nil {
		return fmt.Errorf("volume %s is no hostPath", v.Name)
	}
	dir := v.Spec.HostPath.Path
	// A volume is an object that people can write: nothing but what lies directly in
	// our directory is ours to remove.
	if filepath.Clean(dir) != dir || filepath.Dir(dir) != filepath.Clean(p.Dir) {
		return fmt.Errorf("volume %s: %s is not a directory of this provisioner, whose are in %s", v.Name, dir, p.Dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove volume %s: %w", v.Name, err)
	}
	return nil
}
