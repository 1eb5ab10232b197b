package hollow

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/cht"
)

// Instance is a CHT of one CouchDB node on a Node: all its objects, and one pod.
type Instance struct {
	Namespace string
	// User and Password of its CouchDB.
	User, Password string
	// Node that the pod runs on, its Taint, and the Driver of its volume.
	Node, Taint, Driver string
	// Labels of what is outside of the namespace.
	Labels map[string]string
}

// Objects are all but the namespace.
func (i Instance) Objects() ([]client.Object, error) {
	o := cht.Defaults(i.Namespace, cht.Images{CouchDB: "hollow/couchdb", HAProxy: "hollow/haproxy", Tools: "hollow/tools"})
	o.Nodes, o.Components.Ingress = 1, false
	o.User, o.Password, o.Hostname = i.User, i.Password, i.Node
	if i.Taint != "" {
		o.Toleration = &corev1.Toleration{Key: i.Taint, Operator: corev1.TolerationOpExists}
	}
	o.StaticVolumes = []cht.StaticVolume{{Source: corev1.PersistentVolumeSource{
		CSI: &corev1.CSIPersistentVolumeSource{Driver: i.Driver, VolumeHandle: "volume-" + i.Namespace, FSType: "ext4"}}}}
	objects, err := cht.Objects(o)
	if err != nil {
		return nil, err
	}
	none := int32(0)
	for _, o := range objects {
		switch o := o.(type) {
		case *corev1.PersistentVolume:
			o.Labels = i.Labels
		case *corev1.Service:
			o.Spec.Selector = nil // an address on loopback is none for an endpoint
		case *appsv1.Deployment:
			if o.Labels[cht.Label] != "couchdb" {
				o.Spec.Replicas = &none // its object is backed up, its pods are not asked
			}
		}
	}
	return objects, nil
}
