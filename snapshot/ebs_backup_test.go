package snapshot

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	ec2 "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/ebs"
	"github.com/medic/cht-backup/snapshot/ebs/account"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// Whole backups of an in-tree EBS volume, with EC2 played by the fake.

type ec2Clock struct{ *ec2.Cloud }

func (c ec2Clock) Sleep(_ context.Context, d time.Duration) error { c.Advance(d); return nil }

// onEC2 is a bench whose volume is an in-tree one of a fake EC2. Its time is EC2's.
func onEC2(t *testing.T) (*bench, *ec2.Cloud) {
	t.Helper()
	t.Setenv("AWS_CA_BUNDLE", "")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	cloud := ec2.New(ec2.Options{Now: func() time.Time { return epoch }, Timing: &ec2.Timing{Snapshot: ec2.Exactly(time.Minute), Visible: ec2.Exactly(5 * time.Second)}})
	id, err := cloud.AddVolume(ec2.Volume{Zone: "eu-west-1a", SizeGiB: 100})
	if err != nil {
		t.Fatal(err)
	}
	objects := append(instance(), backup(func(b *api.Backup) { b.Spec.ReadyTimeout.Duration = time.Hour }))
	for _, o := range objects {
		if pv, ok := o.(*corev1.PersistentVolume); ok {
			pv.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "aws://eu-west-1a/" + id, FSType: "ext4", Partition: 2}}
		}
	}
	b := newBench(t, objects...)
	b.Now = cloud.Now
	b.restartEBS(cloud)
	return b, cloud
}

// restartEBS is another process.
func (b *bench) restartEBS(cloud *ec2.Cloud) {
	a := account.New(account.Settings{Clock: ec2Clock{cloud}, Load: []func(*config.LoadOptions) error{config.WithHTTPClient(cloud.HTTPClient()),
		config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: ec2.AccessKey(ec2.DefaultAccount), SecretAccessKey: "not checked"}, nil
		}))}})
	b.Snapshotter = &ebs.Snapshotter{Cloud: ebs.On(a), Clock: ec2Clock{cloud}, Cluster: func(context.Context) (string, error) { return "nairobi", nil }}
}

// until reconciles as often as the reconciler asks for, and lets that time pass.
func (b *bench) until(cloud *ec2.Cloud, phase api.Phase) *api.Backup {
	b.t.Helper()
	var stored *api.Backup
	for range 300 {
		var wait time.Duration
		var err error
		if stored, wait, err = b.reconcile(); stored.Status.Phase == phase {
			return stored
		}
		if Ended(stored.Status.Phase) {
			break
		}
		if err != nil {
			wait = time.Second
		}
		cloud.Advance(wait)
	}
	b.t.Fatalf("phase %s, not %s: %+v", stored.Status.Phase, phase, ready(stored))
	return nil
}

func wantSnapshots(t *testing.T, cloud *ec2.Cloud, n int) {
	t.Helper()
	cloud.Advance(time.Minute) // nothing comes to light any more
	if all := cloud.Snapshots(ec2.DefaultAccount, ""); len(all) != n {
		t.Errorf("%d snapshots, not %d: %+v", len(all), n, all)
	}
}

func TestABackupByEC2(t *testing.T) {
	for name, fault := range map[string]*ec2.Fault{
		"nothing goes wrong": nil,
		"throttled":          {Action: "CreateSnapshot", Skip: 1, Times: 1, Error: &ec2.Failure{Code: "RequestLimitExceeded", Status: 503}},
		"the answer is lost": {Action: "CreateSnapshot", Skip: 1, Times: 1, Lose: true},
	} {
		t.Run(name, func(t *testing.T) {
			b, cloud := onEC2(t)
			attempts := int32(1)
			if fault != nil {
				cloud.AddFault(*fault)
				attempts = 2
			}
			got := b.until(cloud, api.PhaseCompleted)
			v := got.Status.Volumes[0]
			if got.Status.Attempt != attempts || v.Method != api.MethodEBS || !v.Ready || v.Progress != "100%" || v.EBS.Region != "eu-west-1" {
				t.Errorf("attempt %d: %+v", got.Status.Attempt, v)
			}
			r, err := b.Records.Get(t.Context(), got.Status.Record)
			if err != nil {
				t.Fatal(err)
			}
			if n := r.Nodes[0]; n.Method != api.MethodEBS || n.SnapshotHandle != v.Handle || n.EBS.VolumeID != v.EBS.VolumeID || n.EBS.Account != ec2.DefaultAccount || n.FSType != "ext4" || n.Partition != "2" || n.RestoreBytes != 100<<30 {
				t.Errorf("record %+v", n)
			}
			wantSnapshots(t, cloud, 1)
			if s := cloud.Snapshots(ec2.DefaultAccount, "")[0]; s.Tags[tags.Complete] != "true" || s.Tags[tags.NodeName] != "couchdb@127.0.0.1" || s.Tags[tags.Partition] != "2" {
				t.Errorf("%+v", s)
			}
			if err := b.objects.Delete(t.Context(), got); err != nil {
				t.Fatal(err)
			}
			if gone, _, err := b.reconcile(); err != nil || gone.Name != "" {
				t.Errorf("%v", err)
			}
			wantSnapshots(t, cloud, 0)
		})
	}
}

// The controller is killed while the cut's call is under way; EC2 does the work, and
// shows it later.
func TestAControllerKilledInACutByEC2(t *testing.T) {
	b, cloud := onEC2(t)
	cloud.AddFault(ec2.Fault{Action: "CreateSnapshot", Skip: 1, Times: 1, Lose: true})
	written := b.Client
	b.Client = dying{written, func() bool { return len(cloud.Snapshots(ec2.DefaultAccount, "")) > 0 }}
	if stored, _, err := b.reconcile(); err == nil || stored.Status.Phase != api.PhaseCutting || len(stored.Status.Volumes) != 1 {
		t.Fatalf("%+v, %v", stored.Status, err)
	}
	wantOne := cloud.Snapshots(ec2.DefaultAccount, "")
	if len(wantOne) != 1 {
		t.Fatalf("the call was not done: this test proves nothing: %+v", wantOne)
	}
	b.Client = written
	b.restartEBS(cloud)
	if got := b.until(cloud, api.PhaseCompleted); got.Status.Attempt != 2 || got.Status.Volumes[0].Handle == wantOne[0].ID {
		t.Errorf("attempt %d, %+v", got.Status.Attempt, got.Status.Volumes)
	}
	wantSnapshots(t, cloud, 1)
}

// dying is a client that writes no status any more once it is dead.
type dying struct {
	client.WithWatch
	dead func() bool
}

func (d dying) Status() client.SubResourceWriter { return deadStatus{d.WithWatch.Status(), d.dead} }

type deadStatus struct {
	client.SubResourceWriter
	dead func() bool
}

func (d deadStatus) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	if d.dead() {
		return context.Canceled
	}
	return d.SubResourceWriter.Patch(ctx, o, p, opts...)
}
