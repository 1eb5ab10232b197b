package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/restore/ebs"
	"github.com/medic/cht-backup/snapshot/reason"
)

const home1 = "eu-west-1"

// clouded is a bench with an EC2 that has the snapshots of both nodes, and a cluster
// in which their volumes can be used.
func clouded(t *testing.T, restore *api.Restore, objects ...client.Object) (*bench, *fake.Cloud, *work) {
	t.Helper()
	cloud := fake.New(fake.Options{Seed: 1})
	worker := func(name, zone string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone, corev1.LabelTopologyRegion: home1, corev1.LabelHostname: name}}}
	}
	b := newBench(t, append(objects, restore, worker("w1", home1+"a"), worker("w2", home1+"b"))...)
	b.EC2 = func(_ context.Context, region string) (ebs.EC2, error) {
		return ec2.New(ec2.Options{Region: region, HTTPClient: cloud.HTTPClient(), Retryer: aws.NopRetryer{},
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: fake.AccessKey(fake.DefaultAccount), SecretAccessKey: "s"}, nil
			})}), nil
	}
	w := workOf(t, restore)
	for i := range w.record.Nodes {
		n := &w.record.Nodes[i]
		id, err := cloud.AddSnapshot(fake.Snapshot{Region: home1, SizeGiB: 2, VolumeID: fmt.Sprintf("vol-%08d", i)})
		if err != nil {
			t.Fatal(err)
		}
		n.Method, n.Driver, n.SnapshotHandle, n.StorageClass, n.CapacityBytes = api.MethodEBS, "", id, "gp2", 2<<30
		n.EBS = &api.EBSVolume{VolumeID: fmt.Sprintf("vol-%08d", i), Region: home1, Zone: home1 + string("ab"[i]), Type: "gp3", SizeGiB: 2, Account: fake.DefaultAccount}
		restore.Status.Volumes = append(restore.Status.Volumes, api.RestoredVolume{Node: n.Service, Claim: n.Claim})
	}
	return b, cloud, w
}

func ebsDriver() client.Object {
	return &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: ebs.Driver}}
}

func statically(r *api.Restore) { r.Spec.EBS = &api.EBSRestore{Provision: api.ProvisionStatic} }

// checked is the restore with what the check chose.
func (b *bench) checked(w *work) error {
	b.t.Helper()
	var classes storagev1.StorageClassList
	if err := b.Client.List(b.t.Context(), &classes); err != nil {
		b.t.Fatal(err)
	}
	return together(b.checkEBS(b.t.Context(), w, w.record.Nodes, classes.Items))
}

// What the cluster lacks is told before anything is made, and all of it.
func TestEBSChecks(t *testing.T) {
	gp3 := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "gp3"}, Provisioner: ebs.Driver}
	for _, tt := range []struct {
		name    string
		spec    func(*api.Restore)
		have    []client.Object
		arrange func(*fake.Cloud, *work)
		how     api.EBSProvision
		reason  string
		says    []string
	}{
		{name: "the driver's", have: []client.Object{ebsDriver(), gp3}, how: api.ProvisionDriver},
		{name: "no class", have: []client.Object{ebsDriver()}, how: api.ProvisionStatic},
		{name: "in a zone", spec: func(r *api.Restore) { r.Spec.EBS = &api.EBSRestore{Zone: home1 + "b"} }, have: []client.Object{ebsDriver(), gp3}, how: api.ProvisionStatic},
		{name: "in a zone without nodes", spec: func(r *api.Restore) { r.Spec.EBS = &api.EBSRestore{Zone: home1 + "c"} }, have: []client.Object{ebsDriver()},
			reason: api.ReasonNodeUnavailable, says: []string{home1 + "c (spec.ebs.zone)", "nodes are in: eu-west-1a, eu-west-1b"}},
		{name: "no driver", reason: api.ReasonDriverMissing, says: []string{"ebs.csi.aws.com", "aws-ebs-csi-driver"}},
		{name: "no driver, and no snapshot", arrange: func(_ *fake.Cloud, w *work) { w.record.Nodes[0].SnapshotHandle = "snap-0123456789abcdef0" },
			reason: api.ReasonDriverMissing, says: []string{"things are in the way", "aws-ebs-csi-driver", "snap-0123456789abcdef0"}},
		{name: "of another Region", arrange: func(_ *fake.Cloud, w *work) { w.record.Nodes[0].EBS.Region = "us-east-1" }, have: []client.Object{ebsDriver()},
			reason: api.ReasonSnapshotMissing, says: []string{"this cluster is in Region eu-west-1"}},
		{name: "not allowed", spec: statically, have: []client.Object{ebsDriver()}, arrange: func(c *fake.Cloud, _ *work) {
			c.Allow(fake.DefaultAccount, []string{"ec2:DescribeSnapshots", "ec2:DescribeVolumes"})
		}, reason: api.ReasonAccessDenied, says: []string{"restore.json"}},
		{name: "not allowed, where the driver is", have: []client.Object{ebsDriver(), gp3}, arrange: func(c *fake.Cloud, _ *work) { c.Allow(fake.DefaultAccount, []string{"ec2:DescribeRegions"}) },
			how: api.ProvisionDriver, says: []string{"could not be asked"}},
		{name: "too small", spec: func(r *api.Restore) {
			size := resource.MustParse("1Gi")
			r.Spec.Remap = &api.Remap{ClaimSize: &size}
		}, have: []client.Object{ebsDriver()}, reason: api.ReasonClaimTooSmall, says: []string{"needs 2Gi"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := restoreOf()
			if tt.spec != nil {
				tt.spec(r)
			}
			b, cloud, w := clouded(t, r, tt.have...)
			if tt.arrange != nil {
				tt.arrange(cloud, w)
			}
			err := b.checked(w)
			why, said := "", strings.Join(w.cautions, " ")
			if e := reason.Of(err); e != nil {
				why, said = e.Reason, err.Error()
			} else if err != nil {
				t.Fatal(err)
			}
			if plan := r.Status.Volumes[0].EBS; why != tt.reason || why == "" && plan.Provision != tt.how {
				t.Errorf("%q %+v, %v", why, plan, err)
			}
			for _, text := range tt.says {
				if !strings.Contains(said, text) {
					t.Errorf("%q does not say %q", said, text)
				}
			}
			if made := cloud.Volumes("", ""); len(made) > 0 {
				t.Errorf("made %+v", made)
			}
		})
	}
}

// A copy that the Backup knows of is found, in whose Region the cluster is.
func TestCopyNearby(t *testing.T) {
	r := restoreOf(statically)
	b, cloud, w := clouded(t, r, ebsDriver())
	kept := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "nightly", UID: "u1"}}
	c := api.CopyStatus{Name: "near", Region: home1, Complete: true}
	for i := range w.record.Nodes {
		n := &w.record.Nodes[i]
		c.Volumes = append(c.Volumes, api.CopiedVolume{Node: n.Service, Handle: n.SnapshotHandle, Ready: true})
		n.EBS.Region, n.EBS.Zone, n.SnapshotHandle = "us-east-1", "us-east-1a", fmt.Sprintf("snap-%08d", i)
	}
	kept.Status.Copies = []api.CopyStatus{c}
	if err := b.Client.Create(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.checked(w)); err != nil {
		t.Fatal(err)
	}
	if plan := r.Status.Volumes[1].EBS; plan.Region != home1 || plan.Snapshot != c.Volumes[1].Handle || plan.Zone == "" || len(cloud.Volumes("", "")) > 0 {
		t.Errorf("%+v", plan)
	}
}

// staticVolumes are the names of the restore's PersistentVolumes.
func (b *bench) staticVolumes() (names []string) {
	b.t.Helper()
	var list corev1.PersistentVolumeList
	if err := b.Client.List(b.t.Context(), &list); err != nil {
		b.t.Fatal(err)
	}
	for _, pv := range list.Items {
		names = append(names, pv.Name)
	}
	return names
}

// Volumes are made once, in the zones of their pods, whatever is repeated, and go with
// the restore, also those that the cluster knows nothing of.
func TestStaticVolumes(t *testing.T) {
	r := restoreOf(statically)
	b, cloud, w := clouded(t, r, ebsDriver())
	foreign, err := cloud.AddVolume(fake.Volume{Zone: home1 + "a", Tags: map[string]string{"communityhealthtoolkit.org/restore-uid": "restore-6", "communityhealthtoolkit.org/node": "couchdb-1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.checked(w); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.makeStatic(t.Context(), r, w.volumes()); err != nil {
			t.Fatal(err)
		}
	}
	if made := cloud.Volumes("", home1); len(made) != 3 || made[1].Zone == made[2].Zone {
		t.Fatalf("made %+v", made)
	}
	names := b.staticVolumes()
	if want := []string{"cht-restore-5-couchdb-1", "cht-restore-5-couchdb-2"}; !slices.Equal(names, want) {
		t.Fatalf("PersistentVolumes %v", names)
	}
	c := claim(r, w.volumes()[0])
	if c.Spec.VolumeName != names[0] || c.Spec.DataSource != nil || c.Spec.StorageClassName == nil || *c.Spec.StorageClassName != "" {
		t.Errorf("claim %+v", c.Spec)
	}
	// The first is bound: its driver deletes it with its PersistentVolume.
	var pv corev1.PersistentVolume
	if err := b.Client.Get(t.Context(), client.ObjectKey{Name: names[0]}, &pv); err != nil {
		t.Fatal(err)
	}
	pv.Spec.ClaimRef.UID, pv.Status.Phase = "some-claim", corev1.VolumeBound
	if err := b.Client.Update(t.Context(), &pv); err != nil {
		t.Fatal(err)
	}
	if err := b.undo(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	left := cloud.Volumes("", home1)
	if len(left) != 2 || left[0].ID != foreign || left[1].ID != pv.Spec.CSI.VolumeHandle || !slices.Equal(b.staticVolumes(), names[:1]) {
		t.Errorf("left %+v and %v", left, b.staticVolumes())
	}
	if err := b.Client.Delete(t.Context(), &pv); err != nil {
		t.Fatal(err)
	}
	if err := b.undo(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if left := cloud.Volumes("", home1); len(left) != 1 || left[0].ID != foreign {
		t.Errorf("left %+v", left)
	}
}

// EC2 makes a volume and nobody hears of it; then the restore is deleted.
func TestStaticVolumesUnheardOf(t *testing.T) {
	r := restoreOf(statically)
	b, cloud, w := clouded(t, r, ebsDriver())
	if err := b.checked(w); err != nil {
		t.Fatal(err)
	}
	cloud.AddFault(fake.Fault{Action: "CreateVolume", Lose: true})
	if err := b.makeStatic(t.Context(), r, w.volumes()); err == nil || reason.Of(err) != nil {
		t.Fatalf("an answer that was lost: %v", err)
	}
	if made := cloud.Volumes("", home1); len(made) != 2 || r.Status.Volumes[0].EBS.VolumeID != "" || len(b.staticVolumes()) != 0 {
		t.Fatalf("made %+v, noted %+v", made, r.Status.Volumes)
	}
	cloud.ClearFaults()
	if err := b.dropStatic(t.Context(), r); err != nil { // some may still be in the making
		t.Logf("asked again: %v", err)
		if err := retry(t.Context(), func() error {
			if err := b.dropStatic(t.Context(), r); err != nil {
				return notYet{err}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if left := cloud.Volumes("", home1); len(left) != 0 {
		t.Errorf("left %+v", left)
	}
}

// Once a volume is the instance's own, it does not bear the restore's mark, and is
// still known when the step is repeated.
func TestStaticVolumeOfALiveInstance(t *testing.T) {
	r := restoreOf(statically, live)
	b, _, w := clouded(t, r, ebsDriver())
	if err := b.checked(w); err != nil {
		t.Fatal(err)
	}
	nodes := w.volumes()
	if err := b.makeStatic(t.Context(), r, nodes); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if err := b.markVolume(t.Context(), r, claim(r, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.makeStatic(t.Context(), r, nodes); err != nil {
		t.Fatal(err)
	}
	var pv corev1.PersistentVolume
	if err := b.Client.Get(t.Context(), client.ObjectKey{Name: staticName(r, "couchdb-1")}, &pv); err != nil || pv.Labels[api.RestoreUIDLabel] != "" {
		t.Errorf("%v %v", pv.Labels, err)
	}
}

// The record alone, as it comes from a catalog, is enough.
func TestEBSOfARecordOnly(t *testing.T) {
	r := restoreOf(statically, phase(api.PhasePending))
	b, _, w := clouded(t, r, ebsDriver())
	if _, err := b.Records.Put(t.Context(), w.record, []string{target}); err != nil {
		t.Fatal(err)
	}
	got, err := b.reconcile()
	if err != nil || got.Status.Phase != api.PhaseVolumes {
		t.Fatalf("%s %+v, %v", got.Status.Phase, ready(got), err)
	}
	if plan := got.Status.Volumes[1].EBS; plan == nil || plan.Zone != home1+"b" || plan.Provision != api.ProvisionStatic || !strings.Contains(strings.Join(got.Status.Plan.Steps[0].Actions, "\n"), "create EBS volume and PersistentVolume cht-restore-5-couchdb-2 in zone eu-west-1b") {
		t.Errorf("%+v\n%+v", plan, got.Status.Plan)
	}
}

// A key that may not be used shows only when EC2 takes the volume away again.
func TestKeyThatCannotBeUsed(t *testing.T) {
	r := restoreOf(func(r *api.Restore) {
		r.Spec.EBS = &api.EBSRestore{Provision: api.ProvisionStatic, KMSKeyID: "arn:aws:kms:eu-west-1:222233334444:key/theirs"}
	})
	b, cloud, w := clouded(t, r, ebsDriver())
	cloud.Allow(fake.DefaultAccount, []string{"ec2:*"})
	if err := b.checked(w); err != nil {
		t.Fatal(err)
	}
	err := b.makeStatic(t.Context(), r, w.volumes())
	if e := reason.Of(err); e == nil || e.Reason != api.ReasonVolumeFailed || !strings.Contains(err.Error(), "key/theirs") || !strings.Contains(err.Error(), "kms:CreateGrant") {
		t.Errorf("%v", err)
	}
}

// With what the chart's policy allows, and nothing else, volumes are made of encrypted
// snapshots and dropped again.
func TestTheChartsPolicyIsEnough(t *testing.T) {
	text, err := os.ReadFile("../charts/cht-backup/files/iam/restore.json")
	if err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, m := range regexp.MustCompile(`"((?:ec2|kms):[A-Z][A-Za-z]+)"`).FindAllStringSubmatch(string(text), -1) {
		if m[1] != "ec2:CreateAction" {
			allowed = append(allowed, m[1])
		}
	}
	r := restoreOf(func(r *api.Restore) {
		r.Spec.EBS = &api.EBSRestore{Provision: api.ProvisionStatic, KMSKeyID: "arn:aws:kms:eu-west-1:111122223333:key/ours"}
	})
	b, cloud, w := clouded(t, r, ebsDriver())
	cloud.Allow(fake.DefaultAccount, allowed)
	if err := b.checked(w); err != nil {
		t.Fatal(err)
	}
	if err := b.makeStatic(t.Context(), r, w.volumes()); err != nil {
		t.Fatal(err)
	}
	if err := b.undo(t.Context(), r); err != nil || len(cloud.Volumes("", "")) != 0 {
		t.Errorf("left %+v, %v", cloud.Volumes("", ""), err)
	}
	for _, need := range cloud.Needed(fake.DefaultAccount) {
		if !slices.Contains(allowed, need) {
			t.Errorf("%s was needed, and is not in %v", need, allowed)
		}
	}
}
