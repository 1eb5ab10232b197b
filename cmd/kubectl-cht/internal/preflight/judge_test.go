package preflight

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
)

const gi = 1 << 30

func node(name, zone string, ready bool) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pool": "cht"}}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}}}}
	if zone != "" {
		n.Labels[corev1.LabelTopologyZone] = zone
	}
	if ready {
		n.Status.Conditions[0].Status = corev1.ConditionTrue
	}
	return n
}

// fine is a cluster that lacks nothing for what three is.
func fine() Cluster {
	return Cluster{Ours: true, Snapshots: true, System: "sys", Controllers: []Controller{{Name: "cht-backup", Image: "registry:5000/cht-backup:0.1.0", Ready: 1}},
		Drivers: []string{"csi.one", cht.EBSDriver}, Missing: true, Nodes: []corev1.Node{node("a", "z1", true), node("b", "z2", false)},
		Classes: []Class{{Name: "fast", Driver: "csi.one", Zones: []string{"z1"}}, {Name: "gp3", Driver: cht.EBSDriver, Default: true}}}
}

func three() Needs {
	n := Needs{Namespace: "medic", Create: true, Version: "v0.1.0"}
	for _, service := range []string{"couchdb-1", "couchdb-2", "couchdb-3"} {
		n.Volumes = append(n.Volumes, Volume{Node: service, Driver: "csi.one", Class: "fast", Bytes: 10 * gi})
	}
	return n
}

func ebs(n *Needs) {
	for i := range n.Volumes {
		n.Volumes[i].EBS, n.Volumes[i].Driver, n.Volumes[i].Class = true, cht.EBSDriver, "nothing-here"
	}
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name     string
		needs    func(*Needs)
		cluster  func(*Cluster)
		problems []string // what each says, in order
		notes    []string
	}{
		{name: "nothing lacks"},
		{name: "no kinds", cluster: func(c *Cluster) { c.Ours, c.Controllers = false, nil }, problems: []string{"helm install"}},
		{name: "no controller", cluster: func(c *Cluster) { c.Controllers = nil }, problems: []string{"--system-namespace"}},
		{name: "controller not ready", cluster: func(c *Cluster) { c.Controllers[0].Ready = 0 }, problems: []string{"no pod that is ready; see `kubectl get pods -n sys`"}},
		{name: "another version", needs: func(n *Needs) { n.Version = "0.2.0" }, notes: []string{"of version 0.1.0, this plugin of 0.2.0"}},
		{name: "no snapshot kinds", cluster: func(c *Cluster) { c.Snapshots = false }, problems: []string{"couchdb-1, couchdb-2, couchdb-3"}},
		{name: "no snapshot kinds, EBS", needs: ebs, cluster: func(c *Cluster) { c.Snapshots = false }},
		{name: "no driver", cluster: func(c *Cluster) { c.Drivers = []string{"other"} }, problems: []string{"CSI driver csi.one, which serves the volumes of couchdb-1, couchdb-2, couchdb-3, is not installed here (there is: other)"}},
		{name: "EBS without its driver", needs: ebs, cluster: func(c *Cluster) { c.Drivers = nil }, problems: []string{"(there is: none)"}},
		{name: "no class", needs: func(n *Needs) { n.Volumes[1].Class = "slow" }, problems: []string{"storage class slow of couchdb-2 does not exist here; choose one with --storage-class: fast"}},
		{name: "no default", needs: func(n *Needs) { n.Volumes[0].Class = "" }, cluster: func(c *Cluster) { c.Classes[1].Default = false }, problems: []string{"has no default"}},
		{name: "class of another driver", needs: func(n *Needs) { n.Volumes[0].Class = "gp3" }, problems: []string{"storage class gp3 is of " + cht.EBSDriver}},
		{name: "no class of the driver at all", needs: func(n *Needs) { n.Volumes[0].Driver, n.Volumes[0].Class = "csi.two", "x" }, problems: []string{"CSI driver csi.two", "there is none of driver csi.two"}},
		{name: "zone", needs: func(n *Needs) { n.Zone = "z1" }},
		{name: "zone without a ready node", needs: func(n *Needs) { n.Zone = "z2" }, problems: []string{"makes volumes in zones z1 alone", "zone z2 has no node that is ready"}},
		{name: "no such zone", needs: func(n *Needs) { n.Zone = "z9" }, problems: []string{"alone", "choose another with --zone: z1"}},
		{name: "nodes without zones", needs: func(n *Needs) { n.Zone = "z9" }, cluster: func(c *Cluster) { c.Nodes, c.Classes[0].Zones = []corev1.Node{node("a", "", true)}, nil }, problems: []string{"tell no zone"}},
		{name: "no node", cluster: func(c *Cluster) { c.Nodes[0].Spec.Unschedulable = true }, problems: []string{"uncordon"}},
		{name: "selector", needs: func(n *Needs) { n.Selector = map[string]string{"pool": "cht"} }},
		{name: "selector that none has", needs: func(n *Needs) { n.Selector = map[string]string{"pool": "x"} }, problems: []string{"--node-selector"}},
		{name: "room", cluster: func(c *Cluster) { c.Capacities = []Capacity{{Class: "fast", Left: 30 * gi}, {Class: "gp3", Left: 1}} }},
		{name: "too little in one", cluster: func(c *Cluster) { c.Capacities = []Capacity{{Class: "fast", Left: 9 * gi}} }, problems: []string{"needs 10Gi, and storage class fast can make none larger than 9Gi"}},
		{name: "volumes too large", cluster: func(c *Cluster) { c.Capacities = []Capacity{{Class: "fast", Left: 90 * gi, Most: gi}} }, problems: []string{"none larger than 1Gi"}},
		{name: "only the largest volume told", cluster: func(c *Cluster) { c.Capacities = []Capacity{{Class: "fast", Most: 10 * gi}} }},
		{name: "too little in all", cluster: func(c *Cluster) {
			c.Capacities = []Capacity{{Class: "fast", Left: 15 * gi}, {Class: "fast", Left: 14 * gi}}
		}, notes: []string{"need 30Gi in all", "29Gi are left"}},
		{name: "namespace ending", cluster: func(c *Cluster) { c.Ending, c.Missing = true, false }, problems: []string{"being deleted"}},
		{name: "namespace not to be made", needs: func(n *Needs) { n.Create = false }, problems: []string{"--create-namespace"}},
		{name: "namespace holds a CHT", cluster: func(c *Cluster) { c.Held, c.Missing = "deployment cht-api", false }, problems: []string{"deployment cht-api"}},
		{name: "namespace shall hold one", needs: func(n *Needs) { n.Running = true }, cluster: func(c *Cluster) { c.Held, c.Missing = "deployment cht-api", false }},
		{name: "rights", cluster: func(c *Cluster) { c.Denied = Rights("sys", "medic", true)[1:2] }, problems: []string{"you may not create secrets in namespace sys, to import the record"}},
		{name: "nothing may be seen", needs: func(n *Needs) { n.Zone = "z9" },
			cluster: func(c *Cluster) {
				*c = Cluster{Ours: true, Snapshots: true, System: "sys", Missing: true, Unseen: []string{SeeControllers, SeeDrivers, SeeClasses, SeeNodes, SeeCapacities}}
			}, notes: []string{SeeDrivers}},
		{name: "all at once", cluster: func(c *Cluster) { *c = Cluster{Ours: true, System: "sys", Held: "pod x"} },
			problems: []string{"no controller", "VolumeSnapshots", "csi.one", "class fast", "no node", "pod x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, c := three(), fine()
			if tt.needs != nil {
				tt.needs(&n)
			}
			if tt.cluster != nil {
				tt.cluster(&c)
			}
			problems, notes := Judge(n, c)
			if len(problems) != len(tt.problems) {
				t.Fatalf("problems: %v, want %d", problems, len(tt.problems))
			}
			for i, p := range problems {
				if !strings.Contains(p.String(), tt.problems[i]) || p.What == "" || p.Next == "" {
					t.Errorf("%q does not say %q", p, tt.problems[i])
				}
			}
			all := strings.Join(notes, "\n")
			if len(tt.notes) == 0 && all != "" {
				t.Errorf("notes: %s", all)
			}
			for _, note := range tt.notes {
				if !strings.Contains(all, note) {
					t.Errorf("notes %q do not say %q", all, note)
				}
			}
		})
	}
}

func TestOf(t *testing.T) {
	record := catalog.Record{Nodes: []catalog.Node{
		{Service: "couchdb-1", Driver: "csi.one", StorageClass: "fast", CapacityBytes: gi, RestoreBytes: 2 * gi},
		{Service: "couchdb-2", Method: api.MethodEBS, StorageClass: "in-tree", CapacityBytes: 3 * gi}}}
	n := Of(record, nil, "")
	if len(n.Volumes) != 2 || n.Volumes[0] != (Volume{Node: "couchdb-1", Driver: "csi.one", Class: "fast", Bytes: 2 * gi}) ||
		n.Volumes[1] != (Volume{Node: "couchdb-2", Driver: cht.EBSDriver, EBS: true, Class: "in-tree", Bytes: 3 * gi}) {
		t.Errorf("%+v", n.Volumes)
	}
	size := resource.MustParse("5Gi")
	selector := map[string]api.LabelValue{"pool": "cht"}
	n = Of(record, &api.Remap{StorageClassName: "gp3", ClaimSize: &size, Zone: "z", NodeSelector: &selector}, "")
	if n.Zone != "z" || n.Selector["pool"] != "cht" || n.Volumes[0].Class != "gp3" || !n.Volumes[1].Remapped || n.Volumes[0].Bytes != 5*gi {
		t.Errorf("%+v", n)
	}
}
