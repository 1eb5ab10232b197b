package cht

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestEBSVolumes(t *testing.T) {
	csi := func(driver, handle string) func(*corev1.PersistentVolume) {
		return func(v *corev1.PersistentVolume) {
			v.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: handle, FSType: "xfs", VolumeAttributes: map[string]string{"partition": "1"}}
		}
	}
	inTree := func(id string) func(*corev1.PersistentVolume) {
		return func(v *corev1.PersistentVolume) {
			v.Spec.CSI = nil
			v.Spec.AWSElasticBlockStore = &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: id, FSType: "xfs", Partition: 1}
		}
	}
	affinity := func(key string, zones ...string) func(*corev1.PersistentVolume) {
		return func(v *corev1.PersistentVolume) {
			v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
				{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "other", Operator: corev1.NodeSelectorOpIn, Values: []string{"x"}}, {Key: key, Operator: corev1.NodeSelectorOpIn, Values: zones}}}}}}
		}
	}
	label := func(key, zone string) func(*corev1.PersistentVolume) {
		return func(v *corev1.PersistentVolume) { v.Labels = map[string]string{key: zone} }
	}
	const id = "vol-0a1b2c3d4e5f60718"
	for _, tt := range []struct {
		name   string
		change []func(*corev1.PersistentVolume)
		want   *EBS
	}{
		{"CSI", []func(*corev1.PersistentVolume){csi(EBSDriver, id)}, &EBS{id, ""}},
		{"CSI, the driver's label", []func(*corev1.PersistentVolume){csi(EBSDriver, id), affinity("topology.ebs.csi.aws.com/zone", "eu-west-1a")}, &EBS{id, "eu-west-1a"}},
		{"CSI, the common label", []func(*corev1.PersistentVolume){csi(EBSDriver, id), affinity("topology.kubernetes.io/zone", "us-gov-west-1b")}, &EBS{id, "us-gov-west-1b"}},
		{"CSI, the label of the past", []func(*corev1.PersistentVolume){csi(EBSDriver, id), affinity("failure-domain.beta.kubernetes.io/zone", "eu-west-1a")}, &EBS{id, "eu-west-1a"}},
		{"CSI, on the volume itself", []func(*corev1.PersistentVolume){csi(EBSDriver, id), label("failure-domain.beta.kubernetes.io/zone", "eu-west-1a")}, &EBS{id, "eu-west-1a"}},
		{"CSI, of several zones", []func(*corev1.PersistentVolume){csi(EBSDriver, id), affinity("topology.kubernetes.io/zone", "eu-west-1a", "eu-west-1b")}, &EBS{id, ""}},
		{"CSI, a zone's id", []func(*corev1.PersistentVolume){csi(EBSDriver, id), affinity("topology.kubernetes.io/zone", "euw1-az1")}, &EBS{id, ""}},
		{"another driver", []func(*corev1.PersistentVolume){csi("efs.csi.aws.com", id)}, nil},
		{"no id", []func(*corev1.PersistentVolume){csi(EBSDriver, "fs-1")}, nil},
		{"hostile", []func(*corev1.PersistentVolume){csi(EBSDriver, id+"\nx")}, nil},
		{"in-tree", []func(*corev1.PersistentVolume){inTree(id)}, &EBS{id, ""}},
		{"in-tree, a short id", []func(*corev1.PersistentVolume){inTree("vol-1a2b3c4d")}, &EBS{"vol-1a2b3c4d", ""}},
		{"in-tree with its zone", []func(*corev1.PersistentVolume){inTree("aws://eu-west-1c/" + id)}, &EBS{id, "eu-west-1c"}},
		{"in-tree with an empty zone", []func(*corev1.PersistentVolume){inTree("aws:///" + id), affinity("failure-domain.beta.kubernetes.io/zone", "eu-west-1a")}, &EBS{id, "eu-west-1a"}},
		{"in-tree, cut off", []func(*corev1.PersistentVolume){inTree("aws://eu-west-1c")}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inv := instance(0)
			for _, change := range tt.change {
				inv.changeVolume("couchdb-claim0", change)
			}
			i, err := Discover(inv)
			if err != nil {
				t.Fatal(err)
			}
			c := i.Nodes[0].Claim
			if (c.EBS == nil) != (tt.want == nil) || c.EBS != nil && *c.EBS != *tt.want {
				t.Errorf("%+v", c.EBS)
			}
			if c.FSType != "xfs" || c.Partition != "1" {
				t.Errorf("file system %q, partition %q", c.FSType, c.Partition)
			}
			if c.EBS != nil && c.Storage() != EBSDriver {
				t.Errorf("it counts as %q where backups are bounded by driver", c.Storage())
			}
		})
	}
}

func TestRegionOf(t *testing.T) {
	for zone, want := range map[string]string{
		"us-east-1a": "us-east-1", "eu-central-1b": "eu-central-1", "us-gov-west-1a": "us-gov-west-1", "ap-southeast-2c": "ap-southeast-2",
		"us-west-2-lax-1a": "us-west-2", "us-east-1-wl1-bos-wlz-1": "us-east-1", "cn-northwest-1a": "cn-northwest-1",
		"": "", "euw1-az1": "", "eu-west-1": "", "europe-west1-b": "", "zone-a": "", "eu-west-1a/../x": "",
	} {
		if got := RegionOf(zone); got != want {
			t.Errorf("%q is in %q, not %q", zone, got, want)
		}
	}
}
