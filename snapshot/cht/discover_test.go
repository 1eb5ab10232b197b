package cht

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

func TestDiscoverFinds(t *testing.T) {
	mount := func(inv Inventory, i int) *corev1.VolumeMount {
		return &inv.couch("couchdb").Spec.Containers[0].VolumeMounts[i]
	}
	tests := []struct {
		name   string
		nodes  int
		change func(inv *Inventory)
		want   string // services in order
		check  func(t *testing.T, n Node)
	}{
		{name: "one node", want: "couchdb", check: func(t *testing.T, n Node) {
			want := Node{Service: "couchdb", DataSubPath: "data", ConfigSubPath: "local.d", ConfigOnVolume: true,
				Pod:   Pod{Name: "cht-couchdb-5d8f-abcde", UID: "pod-uid", Container: "cht-couchdb", NodeName: "worker-1", IP: "10.0.0.7", Image: "medicmobile/cht-couchdb:5.0.0"},
				Claim: Claim{Name: "couchdb-claim0", UID: "uid-claim", StorageClass: "gp3", Capacity: 100 << 30, Volume: "pv-couchdb-claim0", Driver: "ebs.csi.aws.com", Source: "a volume of CSI driver ebs.csi.aws.com"}}
			if n != want {
				t.Errorf("got %+v\nwant %+v", n, want)
			}
		}},
		{name: "three nodes", nodes: 3, want: "couchdb-1 couchdb-2 couchdb-3"},
		{name: "ten nodes, by number and not by name", nodes: 10, want: "couchdb-1 couchdb-2 couchdb-3 couchdb-4 couchdb-5 couchdb-6 couchdb-7 couchdb-8 couchdb-9 couchdb-10"},
		{name: "only CouchDB", want: "couchdb", change: func(inv *Inventory) { inv.Pods, inv.Deployments = inv.Pods[:1], inv.Deployments[:1] }},
		{name: "a bare pod without a workload", want: "couchdb", change: func(inv *Inventory) { inv.Deployments = nil }},
		{name: "a StatefulSet", want: "couchdb", change: func(inv *Inventory) {
			set := appsv1.StatefulSet{}
			set.Spec.Template.Labels = map[string]string{ServiceLabel: "couchdb"}
			inv.Deployments, inv.StatefulSets = nil, []appsv1.StatefulSet{set}
		}},
		{name: "Nouveau first in the pod", want: "couchdb", change: func(inv *Inventory) {
			p := inv.couch("couchdb")
			p.Spec.Containers = append([]corev1.Container{{Name: "nouveau", Image: "couchdb:nouveau",
				VolumeMounts: []corev1.VolumeMount{{Name: "couchdb-claim0", MountPath: "/data/nouveau", SubPath: "data"}}}}, p.Spec.Containers...)
		}, check: func(t *testing.T, n Node) {
			if n.Pod.Container != "cht-couchdb" || n.DataSubPath != "data" {
				t.Errorf("took %+v", n)
			}
		}},
		{name: "an emptyDir at the data path of a sidecar", want: "couchdb", change: func(inv *Inventory) {
			p := inv.couch("couchdb")
			p.Spec.Volumes = append([]corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}, p.Spec.Volumes...)
			p.Spec.Containers = append([]corev1.Container{{Name: "sidecar", VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: DataMount}}}}, p.Spec.Containers...)
		}, check: func(t *testing.T, n Node) {
			if n.Pod.Container != "cht-couchdb" {
				t.Errorf("took container %s", n.Pod.Container)
			}
		}},
		{name: "a migrated installation", want: "couchdb", change: func(inv *Inventory) { mount(*inv, 0).SubPath = "storage/medic-core/couchdb/data" },
			check: func(t *testing.T, n Node) {
				if n.DataSubPath != "storage/medic-core/couchdb/data" || n.ConfigSubPath != "local.d" {
					t.Errorf("sub-paths %q, %q", n.DataSubPath, n.ConfigSubPath)
				}
			}},
		{name: "the volume's root", want: "couchdb", change: func(inv *Inventory) { mount(*inv, 0).SubPath = "" }, check: func(t *testing.T, n Node) {
			if n.DataSubPath != "" {
				t.Errorf("sub-path %q", n.DataSubPath)
			}
		}},
		{name: "local.d not mounted", want: "couchdb", change: func(inv *Inventory) {
			c := &inv.couch("couchdb").Spec.Containers[0]
			c.VolumeMounts = c.VolumeMounts[:1]
		}, check: func(t *testing.T, n Node) {
			if n.ConfigOnVolume || n.ConfigSubPath != "" {
				t.Errorf("config on the volume: %v %q", n.ConfigOnVolume, n.ConfigSubPath)
			}
		}},
		{name: "local.d from elsewhere", want: "couchdb", change: func(inv *Inventory) { mount(*inv, 1).Name = "config" }, check: func(t *testing.T, n Node) {
			if n.ConfigOnVolume {
				t.Error("takes another volume's local.d for the claim's")
			}
		}},
		{name: "a duplicate on its way out", want: "couchdb", change: func(inv *Inventory) {
			now, old := metav1.Now(), pod("old", "couchdb", "couchdb-claim0")
			old.DeletionTimestamp = &now
			inv.Pods = append([]corev1.Pod{old}, inv.Pods...)
		}, check: func(t *testing.T, n Node) {
			if n.Pod.Name == "old" {
				t.Error("took the pod that is going")
			}
		}},
		{name: "leftovers of an eviction and of a job", want: "couchdb", change: func(inv *Inventory) {
			evicted, done := pod("evicted", "couchdb", "couchdb-claim0"), pod("done", "couchdb", "couchdb-claim0")
			evicted.Status.Phase, done.Status.Phase = corev1.PodFailed, corev1.PodSucceeded
			inv.Pods = append([]corev1.Pod{evicted, done}, inv.Pods...)
		}, check: func(t *testing.T, n Node) {
			if n.Pod.Name != "cht-couchdb-5d8f-abcde" {
				t.Errorf("took %s", n.Pod.Name)
			}
		}},
		{name: "a component whose name begins alike", want: "couchdb", change: func(inv *Inventory) {
			inv.Deployments = append(inv.Deployments, deployment("x", "couchdb-exporter", 0), deployment("y", "couchdb-01", 0), deployment("z", "my-couchdb-1", 0))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inv := instance(tt.nodes)
			if tt.change != nil {
				tt.change(&inv)
			}
			got, err := Discover(inv)
			if err != nil {
				t.Fatal(err)
			}
			var services []string
			for i, n := range got.Nodes {
				services = append(services, n.Service)
				if want := n.Service + "-claim0"; n.Claim.Name != want {
					t.Errorf("node %d has claim %s, want %s", i, n.Claim.Name, want)
				}
			}
			if s := strings.Join(services, " "); s != tt.want {
				t.Errorf("nodes %s, want %s", s, tt.want)
			}
			if got.Namespace != ns || got.User != "medic" || got.Password != "password" {
				t.Errorf("instance %+v", got)
			}
			if tt.check != nil {
				tt.check(t, got.Nodes[0])
			}
		})
	}
}

// A volume's kind is told in words; whether it can be cut is the driver's matter.
func TestDiscoverVolumes(t *testing.T) {
	for _, tt := range []struct {
		name, driver, partition, source string
		volume                          corev1.PersistentVolumeSource
	}{
		{"static CSI with a partition", "ebs.csi.aws.com", "1", "CSI driver ebs.csi.aws.com",
			corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "ebs.csi.aws.com", VolumeHandle: "vol-1", VolumeAttributes: map[string]string{"partition": "1"}}}},
		{"in-tree EBS", "", "", "in-tree EBS volume (aws://eu-west-2b/vol-1)", corev1.PersistentVolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "aws://eu-west-2b/vol-1"}}},
		{"hostPath", "", "", "hostPath volume (/srv/cht)", corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv/cht"}}},
		{"local", "", "", "local volume (/mnt/d)", corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/mnt/d"}}},
		{"NFS", "", "", "not a CSI volume", corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "s"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inv := instance(0)
			inv.changeVolume("couchdb-claim0", func(v *corev1.PersistentVolume) { v.Spec.PersistentVolumeSource = tt.volume })
			inv.changeClaim("couchdb-claim0", func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = nil })
			got, err := Discover(inv)
			if err != nil {
				t.Fatal(err)
			}
			if c := got.Nodes[0].Claim; c.Partition != tt.partition || c.Driver != tt.driver || !strings.Contains(c.Source, tt.source) || c.StorageClass != "" {
				t.Errorf("claim %+v", c)
			}
		})
	}
}

func TestDiscoverRefuses(t *testing.T) {
	tests := []struct {
		name   string
		nodes  int
		change func(inv *Inventory)
		reason string
		text   string
	}{
		{"empty namespace", 0, func(inv *Inventory) { inv.Pods, inv.Deployments = nil, nil }, api.ReasonNoInstance, ns},
		{"a gap", 3, func(inv *Inventory) { inv.drop("couchdb-2") }, api.ReasonInstanceIncomplete, "couchdb-2"},
		{"the first is missing", 3, func(inv *Inventory) { inv.drop("couchdb-1") }, api.ReasonInstanceIncomplete, "couchdb-1"},
		{"only the second is left of two", 2, func(inv *Inventory) { inv.drop("couchdb-1") }, api.ReasonInstanceIncomplete, "couchdb-1"},
		{"both shapes at once", 2, func(inv *Inventory) { inv.Pods = append(inv.Pods, pod("x", "couchdb", "couchdb-claim0")) }, api.ReasonInstanceIncomplete, "couchdb"},
		{"a workload without a pod", 3, func(inv *Inventory) { inv.couch("couchdb-3").Labels = nil }, api.ReasonPodNotReady, "couchdb-3"},
		{"scaled to 0", 3, func(inv *Inventory) { inv.Deployments[0] = deployment("cht-couchdb-3", "couchdb-3", 0) }, api.ReasonInstanceIncomplete, "cht-couchdb-3"},
		{"pod not ready", 3, func(inv *Inventory) { inv.couch("couchdb-2").Status.Conditions[1].Status = corev1.ConditionFalse }, api.ReasonPodNotReady, "couchdb-2"},
		{"pod without conditions yet", 0, func(inv *Inventory) { inv.couch("couchdb").Status.Conditions = nil }, api.ReasonPodNotReady, "couchdb"},
		{"two pods serve one node", 0, func(inv *Inventory) { inv.Pods = append(inv.Pods, pod("second", "couchdb", "couchdb-claim0")) }, api.ReasonInstanceIncomplete, "second"},
		{"only a pod on its way out", 0, func(inv *Inventory) { now := metav1.Now(); inv.couch("couchdb").DeletionTimestamp = &now }, api.ReasonPodNotReady, "couchdb"},
		{"claim pending", 3, func(inv *Inventory) {
			inv.changeClaim("couchdb-2-claim0", func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimPending })
		}, api.ReasonClaimNotBound, "couchdb-2-claim0"},
		{"claim lost", 0, func(inv *Inventory) {
			inv.changeClaim("couchdb-claim0", func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimLost })
		}, api.ReasonClaimNotBound, "couchdb-claim0"},
		{"claim gone", 0, func(inv *Inventory) { delete(inv.Claims, "couchdb-claim0") }, api.ReasonClaimNotBound, "couchdb-claim0"},
		{"the volume of another tenant's claim", 0, func(inv *Inventory) {
			v := inv.Volumes["pv-couchdb-claim0"]
			v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "victim", Name: "couchdb-claim0", UID: v.Spec.ClaimRef.UID}
			inv.Volumes[v.Name] = v
		}, api.ReasonClaimNotBound, "bound to another claim"},
		{"volume gone", 0, func(inv *Inventory) { delete(inv.Volumes, "pv-couchdb-claim0") }, api.ReasonClaimNotBound, "pv-couchdb-claim0"},
		{"no secret", 0, func(inv *Inventory) { inv.Credentials = nil }, api.ReasonNoInstance, CredentialsSecret},
		{"secret without password", 0, func(inv *Inventory) { delete(inv.Credentials.Data, "COUCHDB_PASSWORD") }, api.ReasonCredentials, "COUCHDB_PASSWORD"},
		{"secret without user", 0, func(inv *Inventory) { inv.Credentials.Data["COUCHDB_USER"] = nil }, api.ReasonCredentials, "COUCHDB_USER"},
		{"one claim for two nodes", 3, func(inv *Inventory) {
			inv.couch("couchdb-3").Spec.Volumes[0].PersistentVolumeClaim.ClaimName = "couchdb-1-claim0"
		}, api.ReasonInstanceIncomplete, "couchdb-1-claim0"},
		{"no claim at the data path", 0, func(inv *Inventory) { inv.couch("couchdb").Spec.Volumes = nil }, api.ReasonInstanceIncomplete, DataMount},
		{"subPathExpr", 0, func(inv *Inventory) {
			inv.couch("couchdb").Spec.Containers[0].VolumeMounts[0].SubPathExpr = "$(POD_NAME)"
		}, api.ReasonInstanceIncomplete, "subPathExpr"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inv := instance(tt.nodes)
			tt.change(&inv)
			_, err := Discover(inv)
			e := reason.Of(err)
			if e == nil || e.Reason != tt.reason || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v, want reason %s and a text with %q", err, tt.reason, tt.text)
			}
			if !e.Final {
				t.Error("trying again cannot help here")
			}
			if strings.Contains(err.Error(), "password") && tt.reason != api.ReasonCredentials {
				t.Errorf("the password is in the message: %v", err)
			}
		})
	}
}

// drop removes a node without a trace.
func (inv *Inventory) drop(service string) {
	pods, deployments := inv.Pods, inv.Deployments
	inv.Pods, inv.Deployments = nil, nil
	for _, p := range pods {
		if p.Labels[ServiceLabel] != service {
			inv.Pods = append(inv.Pods, p)
		}
	}
	for _, d := range deployments {
		if d.Spec.Template.Labels[ServiceLabel] != service {
			inv.Deployments = append(inv.Deployments, d)
		}
	}
}
