package ebs

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/reason"
)

func TestChoose(t *testing.T) {
	copied := func(region, handle string) func(*catalog.Node) {
		return func(n *catalog.Node) {
			n.Copies = append(n.Copies, catalog.Copy{Name: "away", Region: region, Handle: handle})
		}
	}
	both := []catalog.Node{node(1, copied("eu-north-1", "snap-c1")), node(2, copied("eu-north-1", "snap-c2"))}
	half := []catalog.Node{node(1, copied("eu-north-1", "snap-c1")), node(2)}
	mixed := append(slices.Clone(both), catalog.Node{Service: "couchdb-3", Driver: "d"})
	for _, tt := range []struct {
		name           string
		nodes          []catalog.Node
		asked, cluster string
		region, first  string
		says           []string // of the refusal
	}{
		{"at home", both, "", "eu-west-1", "eu-west-1", "snap-1", nil},
		{"nobody knows where", both, "", "", "eu-west-1", "snap-1", nil},
		{"beside a copy", both, "", "eu-north-1", "eu-north-1", "snap-c1", nil},
		{"asked for", both, "eu-north-1", "", "eu-north-1", "snap-c1", nil},
		{"asked for, of no use here", both, "eu-north-1", "eu-west-1", "", "", []string{"cannot be attached", "eu-north-1, eu-west-1"}},
		{"asked for, not there", both, "us-east-1", "", "", "", []string{"us-east-1", "spec.ebs.region", "eu-north-1, eu-west-1"}},
		{"half a copy is none", half, "", "eu-north-1", "", "", []string{"sets in eu-west-1", "copy-snapshot --region eu-north-1 --source-region eu-west-1 --source-snapshot-id snap-1"}},
		{"with others that CSI cut", mixed, "", "eu-north-1", "eu-north-1", "snap-c1", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := Choose(tt.nodes, tt.asked, tt.cluster)
			if set.Region != tt.region || set.Snapshots["couchdb-1"] != tt.first || (err != nil) != (tt.says != nil) {
				t.Errorf("%+v, %v", set, err)
			}
			for _, text := range tt.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%v does not say %q", err, text)
				}
			}
		})
	}
}

func TestZones(t *testing.T) {
	abc := []string{"a", "b", "c"}
	for _, tt := range []struct {
		name     string
		sources  []string
		possible [][]string
		want     string
	}{
		{"as it was", []string{"c", "a", "b"}, [][]string{abc, abc, abc}, "c a b"},
		{"all that there is", []string{"x", "y", "z"}, [][]string{{"a"}, {"a"}, {"a"}}, "a a a"},
		{"apart again", []string{"x", "y", "z"}, [][]string{abc, abc, abc}, "a b c"},
		{"together again", []string{"x", "x", "x"}, [][]string{abc, abc, abc}, "a a a"},
		{"one zone is lost", []string{"a", "b", "x"}, [][]string{abc, abc, abc}, "a b c"},
		{"a pod of one zone only", []string{"x", "x", "x"}, [][]string{abc, {"b"}, abc}, "a b b"},
		{"nowhere", []string{"a", "b"}, [][]string{abc, nil}, "a "},
		{"unknown", []string{"", ""}, [][]string{abc, abc}, "a a"},
	} {
		if got := strings.Join(Zones(tt.sources, tt.possible), " "); got != tt.want {
			t.Errorf("%s: %q, not %q", tt.name, got, tt.want)
		}
	}
}

func TestProvision(t *testing.T) {
	all := Cluster{Driver: true, Kinds: true}
	for _, tt := range []struct {
		name  string
		asked *api.EBSRestore
		has   Cluster
		part  string
		want  api.EBSProvision
		says  string
	}{
		{name: "the driver can", has: all, want: api.ProvisionDriver},
		{name: "no snapshot kinds", has: Cluster{Driver: true}, want: api.ProvisionStatic},
		{name: "no class", has: Cluster{Driver: true, Kinds: true, Classless: []string{"c"}}, want: api.ProvisionStatic},
		{name: "a partition", has: all, part: "1", want: api.ProvisionStatic},
		{name: "a wish that a class decides", asked: &api.EBSRestore{VolumeType: "io2"}, has: all, want: api.ProvisionStatic},
		{name: "as asked for", asked: &api.EBSRestore{Provision: api.ProvisionStatic}, has: all, want: api.ProvisionStatic},
		{name: "not even that without the driver", asked: &api.EBSRestore{Provision: api.ProvisionStatic}, has: Cluster{Kinds: true}, says: "not installed"},
		{name: "asked for, and all against it", asked: &api.EBSRestore{Provision: api.ProvisionDriver, Zone: "a"}, has: Cluster{Driver: true, Classless: []string{"c1"}}, part: "1", says: "no VolumeSnapshot kinds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Provision(tt.asked, []catalog.Node{node(1, func(n *catalog.Node) { n.Partition = tt.part })}, tt.has)
			if (err != nil) != (tt.says != "") || err == nil && got != tt.want || err != nil && (!strings.Contains(err.Error(), tt.says) || reason.Of(err).Reason != api.ReasonDriverMissing) {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
}

func TestClass(t *testing.T) {
	class := func(name, driver string) storagev1.StorageClass {
		return storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: driver}
	}
	intree, gp3, io2 := class("gp2", "kubernetes.io/aws-ebs"), class("gp3", Driver), class("io2", Driver)
	for _, tt := range []struct {
		name     string
		of       string
		asked    bool
		fallback *storagev1.StorageClass
		classes  []storagev1.StorageClass
		want     string
		refused  bool
	}{
		{"the same", "gp3", false, nil, []storagev1.StorageClass{gp3, io2}, "gp3", false},
		{"in-tree to the only one", "gp2", false, &intree, []storagev1.StorageClass{intree, gp3}, "gp3", false},
		{"in-tree to the default", "gp2", false, &io2, []storagev1.StorageClass{intree, gp3, io2}, "io2", false},
		{"in-tree, several", "gp2", false, &intree, []storagev1.StorageClass{intree, gp3, io2}, "", false},
		{"none", "gp2", false, nil, nil, "", false},
		{"asked for", "io2", true, &gp3, []storagev1.StorageClass{gp3, io2}, "io2", false},
		{"asked for, in-tree", "gp2", true, &gp3, []storagev1.StorageClass{gp3, intree}, "", true},
	} {
		got, err := Class(tt.of, tt.asked, tt.fallback, tt.classes)
		name := ""
		if got != nil {
			name = got.Name
		}
		if name != tt.want || (err != nil) != tt.refused {
			t.Errorf("%s: %q, %v", tt.name, name, err)
		}
	}
}

func TestInput(t *testing.T) {
	o := orders()[0]
	in := o.input()
	if in.VolumeType != types.VolumeTypeGp3 || *in.Iops != 4000 || *in.Throughput != 250 || *in.Size != 10 || *in.SnapshotId != "snap-1" || *in.AvailabilityZone != "eu-west-1b" || in.KmsKeyId != nil || len(*in.ClientToken) != 64 {
		t.Errorf("%+v", in)
	}
	for key, want := range map[string]string{"kubernetes.io/created-for/pvc/name": "couchdb-1-claim0", "kubernetes.io/created-for/pvc/namespace": "clone", "kubernetes.io/created-for/pv/name": "cht-uid-1-couchdb-1",
		"ebs.csi.aws.com/cluster": "true", "CSIVolumeName": "cht-uid-1-couchdb-1", restoreTag: "uid-1", nodeTag: "couchdb-1", "KubernetesCluster": ""} {
		if got := tag(in.TagSpecifications[0].Tags, key); got != want {
			t.Errorf("tag %s is %q", key, got)
		}
	}
	o.Cluster = "prod"
	if tags := o.tags(); tag(tags, "KubernetesCluster") != "prod" || tag(tags, "kubernetes.io/cluster/prod") != "owned" {
		t.Errorf("%v", tags)
	}
	wish := orders(func(r *api.Restore) {
		r.Spec.EBS = &api.EBSRestore{VolumeType: "gp2", KMSKeyID: "alias/ours", InitializationRateMiBps: new(int32(200))}
	})[0]
	wish.Bytes = 10<<30 + 1
	if in := wish.input(); in.VolumeType != "gp2" || in.Iops != nil || in.Throughput != nil || *in.KmsKeyId != "alias/ours" || !*in.Encrypted || *in.VolumeInitializationRate != 200 || *in.Size != 11 {
		t.Errorf("%+v", in)
	}
	for _, bad := range []api.EBSRestore{{VolumeType: "gp2", IOPS: new(int32(3000))}, {VolumeType: "io2", ThroughputMiBps: new(int32(300)), IOPS: new(int32(300))}, {VolumeType: "io1"}} {
		if err := Invalid(&bad, node(1)); reason.Of(err) == nil || reason.Of(err).Reason != api.ReasonRemapInvalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestPersistentVolume(t *testing.T) {
	o := orders()[0]
	o.Node.Partition, o.Node.FSType = "1", "xfs"
	retain := corev1.PersistentVolumeReclaimRetain
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "gp3"}, MountOptions: []string{"noatime"}}
	pv := o.PersistentVolume("vol-1", class, nil)
	if c := pv.Spec.CSI; c.Driver != Driver || c.VolumeHandle != "vol-1" || c.FSType != "xfs" || c.VolumeAttributes["partition"] != "1" {
		t.Errorf("%+v", c)
	}
	if ref := pv.Spec.ClaimRef; ref.Namespace != "clone" || ref.Name != "couchdb-1-claim0" || ref.UID != "" || pv.Spec.StorageClassName != "gp3" || pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || pv.Annotations[provisionedBy] != Driver {
		t.Errorf("%+v", pv)
	}
	if zone := pv.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0]; zone.Key != corev1.LabelTopologyZone || zone.Values[0] != "eu-west-1b" {
		t.Errorf("%+v", zone)
	}
	class.ReclaimPolicy = &retain
	if pv := o.PersistentVolume("vol-1", class, nil); pv.Spec.PersistentVolumeReclaimPolicy != retain {
		t.Errorf("%+v", pv.Spec)
	}
	if pv := o.PersistentVolume("vol-1", nil, nil); pv.Spec.PersistentVolumeReclaimPolicy != retain || pv.Spec.StorageClassName != "" {
		t.Errorf("%+v", pv.Spec)
	}
}
