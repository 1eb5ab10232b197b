package preflight

import (
	corev1 "k8s.io/api/core/v1"
)

// Cluster is what was seen. What the user may not see is nil, or false in Seen.
type Cluster struct {
	// Ours tells that the kinds of cht-backup are there, Snapshots those of the
	// snapshot controller.
	Ours, Snapshots bool
	// System is the controller's namespace, Controllers its Deployments there.
	System      string
	Controllers []Controller
	Drivers     []string
	Classes     []Class
	Nodes       []corev1.Node
	Capacities  []Capacity
	// Held is what of a CHT stands in the namespace already, "" if nothing. Missing
	// tells that the namespace does not exist, Ending that it is being deleted.
	Held            string
	Missing, Ending bool
	// Denied are the rights that the user lacks.
	Denied []Right
	// Unseen names what the user may not look at.
	Unseen []string
}

// Saw tells whether the user could look at something.
func (c Cluster) saw(what string) bool {
	for _, u := range c.Unseen {
		if u == what {
			return false
		}
	}
	return true
}

// Controller is a Deployment of cht-backup.
type Controller struct {
	Name  string
	Image string
	// Ready is the number of its pods that are.
	Ready int32
}

// Class is a storage class.
type Class struct {
	Name, Driver string
	Default      bool
	// Zones it is bound to; none for all.
	Zones []string
}

// Capacity is what a CSI driver says is left.
type Capacity struct {
	Class string
	// Most is the largest volume that can be made, in bytes; 0 if it does not say.
	// Left is what there is in all.
	Most, Left int64
}

// Right is one that the plugin needs.
type Right struct {
	Verb, Group, Resource, Namespace string
	// For says what it is needed for.
	For string
}

// The things that may be unseen.
const (
	SeeControllers = "the controller's Deployment"
	SeeDrivers     = "the CSI drivers"
	SeeClasses     = "the storage classes"
	SeeNodes       = "the nodes"
	SeeCapacities  = "what the storage has left"
	SeeNamespace   = "what is in the namespace"
	SeeRights      = "your own rights"
)
