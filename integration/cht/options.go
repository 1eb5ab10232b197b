package cht

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Options say which CHT is deployed. Start from Defaults.
type Options struct {
	Namespace string
	// Nodes of CouchDB. 1 is the charts' single form: one Deployment cht-couchdb
	// whose node is named couchdb@127.0.0.1. More is the clustered form.
	Nodes int
	// Nouveau adds the second container to each CouchDB pod, on the same claim.
	Nouveau bool
	// DataSubPath of the data mount in the claim; "" mounts the volume's root; %d
	// stands for the node's number.
	DataSubPath string
	// ConfigInImage leaves local.d where the image has it: admins, secret and uuid
	// then come from the Secret at every start.
	ConfigInImage bool
	// StorageClass of the claims; "" is the cluster's default.
	StorageClass string
	Size         resource.Quantity
	// StaticVolumes, one a node, are attached through PersistentVolumes named as
	// the charts name those of pre-existing data. None: claims are provisioned.
	StaticVolumes []StaticVolume
	Components    Components
	Images        Images
	User          string
	// Password may hold anything, also what must be escaped in a URL.
	Password string
	// Secret signs cookies, UUID is the server's.
	Secret, UUID string
	// SMSGatewayURL is where Sentinel posts each message; "" posts nowhere.
	SMSGatewayURL string
	// IngressClass and IngressHost may both be empty, as on k3s.
	IngressClass, IngressHost string
	// Hostname pins the CouchDB pods by kubernetes.io/hostname.
	Hostname   string
	Toleration *corev1.Toleration
}

// StaticVolume is pre-existing storage for one node.
type StaticVolume struct {
	Source corev1.PersistentVolumeSource
	// NodeName is needed by local volumes: the machine that has the path.
	NodeName string
}

// Components are the parts beside CouchDB.
type Components struct {
	HAProxy, Healthcheck, API, Sentinel, UpgradeService, Ingress bool
}

// AllComponents is every part.
var AllComponents = Components{HAProxy: true, Healthcheck: true, API: true, Sentinel: true, UpgradeService: true, Ingress: true}

// Images by part. A part without one of its own runs Tools, which stands in for
// it by a subcommand of that name.
type Images struct {
	CouchDB, HAProxy                                    string
	Nouveau, Healthcheck, API, Sentinel, UpgradeService string
	Tools                                               string
}

// Defaults is a clustered CHT of three nodes with all its parts.
func Defaults(namespace string, images Images) Options {
	return Options{
		Namespace: namespace, Nodes: 3, DataSubPath: "data", Size: resource.MustParse("1Gi"), Components: AllComponents, Images: images,
		User: "medic", Password: "p@ss/w:rd?%+&#1 2", Secret: "7bd1e2c7a4f04e4a9a0b1f6c3d5e8f90", UUID: "0f5bb7d4c4b14f6c8e2a9d3b7c6a5e41",
	}
}

// Services are the CouchDB nodes as their label and their Service call them.
func (o Options) Services() []string {
	if o.Nodes == 1 {
		return []string{"couchdb"}
	}
	names := make([]string, o.Nodes)
	for i := range names {
		names[i] = fmt.Sprintf("couchdb-%d", i+1)
	}
	return names
}

// Servers are the full host names of the CouchDB nodes.
func (o Options) Servers() []string {
	names := o.Services()
	for i, name := range names {
		names[i] = o.host(name)
	}
	return names
}

// ErlangNames are the names under which CouchDB's nodes know each other.
func (o Options) ErlangNames() []string {
	if o.Nodes == 1 {
		return []string{"couchdb@127.0.0.1"}
	}
	names := o.Servers()
	for i, name := range names {
		names[i] = "couchdb@" + name
	}
	return names
}

// Claim is the claim of the i-th node, from 0.
func (o Options) Claim(i int) string { return o.Services()[i] + "-claim0" }

// Volume is the static PersistentVolume of the i-th node, from 0.
func (o Options) Volume(i int) string {
	if o.Nodes == 1 {
		return "couchdb-pv-" + o.Namespace
	}
	return fmt.Sprintf("couchdb-pv-%s-%d", o.Namespace, i+1)
}

func (o Options) host(service string) string {
	return service + "." + o.Namespace + ".svc.cluster.local"
}

func (o Options) dataSubPath(i int) string {
	return strings.ReplaceAll(o.DataSubPath, "%d", fmt.Sprint(i+1))
}

// check refuses what would deploy something that is no CHT.
func (o Options) check() error {
	switch {
	case o.Namespace == "":
		return fmt.Errorf("deploy a CHT: no namespace given")
	case o.Nodes < 1:
		return fmt.Errorf("deploy a CHT in %s: %d nodes", o.Namespace, o.Nodes)
	case o.User == "" || o.Password == "":
		return fmt.Errorf("deploy a CHT in %s: no user or no password", o.Namespace)
	case len(o.StaticVolumes) > 0 && len(o.StaticVolumes) != o.Nodes:
		return fmt.Errorf("deploy a CHT in %s: %d static volumes for %d nodes", o.Namespace, len(o.StaticVolumes), o.Nodes)
	case o.Images.CouchDB == "" || o.Images.Tools == "":
		return fmt.Errorf("deploy a CHT in %s: no image given for CouchDB or the tools", o.Namespace)
	case o.Components.HAProxy && o.Images.HAProxy == "":
		return fmt.Errorf("deploy a CHT in %s: no image given for HAProxy", o.Namespace)
	}
	return nil
}
