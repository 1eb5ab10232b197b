package cht

import (
	"net"
	"strconv"

	"k8s.io/apimachinery/pkg/types"
)

// The CHT charts' own names.
const (
	// ServiceLabel tells which component a pod is.
	ServiceLabel = "cht.service"
	// CredentialsSecret holds CouchDB's admin user and password.
	CredentialsSecret = "cht-couchdb-credentials"
	// DataMount and ConfigMount are where the CouchDB container has its claim.
	DataMount   = "/opt/couchdb/data"
	ConfigMount = "/opt/couchdb/etc/local.d"
	// Port is CouchDB's HTTP port.
	Port = 5984
	// SingleNodeName is the Erlang name of a one-node CHT, in every namespace.
	SingleNodeName = "couchdb@127.0.0.1"
)

// Instance is one CHT deployment as it runs.
type Instance struct {
	Namespace string
	// Nodes in the order of their numbers.
	Nodes []Node
	// User and Password are CouchDB's admin credentials.
	User, Password string
}

// Node is one CouchDB node.
type Node struct {
	// Service is the value of the label cht.service: couchdb or couchdb-N.
	Service string
	Pod     Pod
	Claim   Claim
	// ErlangName is CouchDB's own name of the node, "" until it was asked.
	ErlangName string
	// DataSubPath and ConfigSubPath are where on the volume CouchDB's data and its
	// local.d lie; "" is the volume's root. ConfigOnVolume is false where local.d
	// is not mounted from the claim.
	DataSubPath    string
	ConfigSubPath  string
	ConfigOnVolume bool
}

// Pod is the part of a CouchDB pod that matters here.
type Pod struct {
	Name      string
	UID       types.UID
	Container string
	NodeName  string
	IP        string
	Image     string
}

// URL is where CouchDB answers in the pod. By address: it is asked while names may
// not resolve, as when no pod is ready.
func (p Pod) URL() string { return "http://" + net.JoinHostPort(p.IP, strconv.Itoa(Port)) }

// Claim is a node's PersistentVolumeClaim and the volume behind it.
type Claim struct {
	Name         string
	UID          types.UID
	StorageClass string
	// Capacity of the volume in bytes.
	Capacity int64
	Volume   string
	// Driver is the CSI driver, "" for a volume that is not CSI.
	Driver string
	// FSType and Partition are what the volume is mounted with, "" where it does not
	// say.
	FSType, Partition string
	// EBS is the EBS volume behind the claim, nil where it is none.
	EBS *EBS
	// Source says in words what the volume is, for messages.
	Source string
}

// EBS is an EBS volume as its PersistentVolume names it.
type EBS struct {
	// VolumeID is vol-….
	VolumeID string
	// Zone is the name of its availability zone, "" where nothing says it.
	Zone string
}

// EBSDriver is the name of the EBS CSI driver. EBS volumes that are not its own count
// as its, too, where backups are bounded by driver: it is the same storage.
const EBSDriver = "ebs.csi.aws.com"

// Storage names what makes the snapshots of the claim's volume: the driver.
func (c Claim) Storage() string {
	if c.EBS != nil {
		return EBSDriver
	}
	return c.Driver
}
