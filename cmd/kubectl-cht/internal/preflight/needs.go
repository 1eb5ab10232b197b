package preflight

import (
	"slices"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
)

// Needs are what a restore asks of a cluster.
type Needs struct {
	// Namespace to restore into. Create tells that the plugin may make it.
	Namespace string
	Create    bool
	// Running tells that it goes into a CHT that runs there.
	Running bool
	// Version of the plugin, "" where it has none.
	Version string
	Volumes []Volume
	// Zone that was asked for; "" for any.
	Zone string
	// Selector is the node selector that was asked for; nil for the record's own.
	Selector map[string]string
}

// Volume is one that will be made.
type Volume struct {
	// Node is the value of cht.service.
	Node   string
	Driver string
	// EBS tells that it was cut by EC2 itself: it needs no kinds of the snapshot
	// controller, nor a class.
	EBS bool
	// Files tells that it can be filled from files: it needs no driver, and a class of any.
	Files bool
	// Class of the claim; "" for the cluster's default.
	Class string
	// Remapped tells that the class was asked for and is not the record's.
	Remapped bool
	Bytes    int64
}

// Of gives what a record and a remap need.
func Of(record catalog.Record, remap *api.Remap, from api.DataFrom) Needs {
	var n Needs
	if remap != nil {
		n.Zone = remap.Zone
		if remap.NodeSelector != nil {
			n.Selector = map[string]string{}
			for k, v := range *remap.NodeSelector {
				n.Selector[k] = string(v)
			}
		}
	}
	for _, node := range record.Nodes {
		v := Volume{Node: node.Service, Driver: node.Driver, EBS: node.Method == api.MethodEBS, Class: node.StorageClass, Bytes: max(node.CapacityBytes, node.RestoreBytes)}
		if v.Files = node.File != nil && node.File.Complete && from != api.DataSnapshot; v.Files {
			v.Driver, v.EBS, v.Bytes = "", false, node.CapacityBytes
		}
		if v.EBS && v.Driver == "" {
			v.Driver = cht.EBSDriver
		}
		if remap != nil && remap.StorageClassName != "" {
			v.Class, v.Remapped = remap.StorageClassName, true
		}
		if remap != nil && remap.ClaimSize != nil {
			v.Bytes = max(remap.ClaimSize.Value(), node.RestoreBytes)
			if v.Files {
				v.Bytes = remap.ClaimSize.Value()
			}
		}
		n.Volumes = append(n.Volumes, v)
	}
	return n
}

// drivers gives the volumes' drivers, each once.
func (n Needs) drivers() (names []string) {
	for _, v := range n.Volumes {
		if v.Driver != "" && !slices.Contains(names, v.Driver) {
			names = append(names, v.Driver)
		}
	}
	return names
}

// of gives the nodes whose volumes a test takes.
func (n Needs) of(test func(Volume) bool) (nodes []string) {
	for _, v := range n.Volumes {
		if test(v) {
			nodes = append(nodes, v.Node)
		}
	}
	return nodes
}
