package nights

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8s "k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/ebs"
	"github.com/medic/cht-backup/snapshot/ebs/account"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

const (
	region = "eu-west-1"
	zone   = region + "a"
)

// world is the account and what is in it.
type world struct {
	o         Options
	cloud     *fake.Cloud
	ours      *ebs.Snapshotter
	instances []*instance
}

// instance is one CHT and its backups, oldest first.
type instance struct {
	namespace string
	nodes     []cht.Node
	backups   []*api.Backup
}

func newWorld(ctx context.Context, o Options) (*world, error) {
	timing := fake.DefaultTiming()
	timing.Snapshot, timing.Visible = o.Snapshot, fake.Between(0, 2*time.Second)
	w := &world{o: o, cloud: fake.New(fake.Options{Seed: o.Seed, Timing: &timing, Regions: map[string]string{region: "abc"}, KeepCalls: 1})}
	w.cloud.AddFault(fake.Fault{Delay: o.Call})
	w.cloud.AddFault(fake.Fault{Action: "CreateSnapshot", Delay: fake.Between(max(0, o.Cut.Least-o.Call.Least), max(0, o.Cut.Most-o.Call.Most))})
	w.ours = &ebs.Snapshotter{
		Cluster: func(context.Context) (string, error) { return "nights", nil },
		Cloud: ebs.On(account.New(account.Settings{Load: []func(*config.LoadOptions) error{
			config.WithRegion(region), config.WithHTTPClient(w.cloud.HTTPClient()),
			config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: fake.AccessKey(fake.DefaultAccount), SecretAccessKey: "not checked"}, nil
			})),
		}})),
	}
	for i := range o.Instances {
		if err := w.install(i); err != nil {
			return nil, err
		}
	}
	if err := w.past(ctx); err != nil {
		return nil, fmt.Errorf("the backups of before: %w", err)
	}
	for range o.Others {
		if _, err := w.cloud.AddSnapshot(fake.Snapshot{Region: region, VolumeID: "vol-0ffffffffffffffff", SizeGiB: 1, Tags: map[string]string{"team": "others"}}); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *world) install(i int) error {
	n := &instance{namespace: fmt.Sprintf("cht-%04d", i)}
	for j := range perInstance {
		vol, err := w.cloud.AddVolume(fake.Volume{Zone: zone, SizeGiB: 100})
		if err != nil {
			return err
		}
		service := fmt.Sprintf("couchdb-%d", j+1)
		n.nodes = append(n.nodes, cht.Node{
			Service: service, ErlangName: "couchdb@" + service + "." + n.namespace, DataSubPath: "data",
			Claim: cht.Claim{Name: service + "-claim", Driver: cht.EBSDriver, EBS: &cht.EBS{VolumeID: vol, Zone: zone}},
		})
	}
	w.instances = append(w.instances, n)
	return nil
}

func (n *instance) backup(night int) *api.Backup {
	name := fmt.Sprintf("nightly-%03d", night)
	return &api.Backup{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name, UID: k8s.UID(fmt.Sprintf("00000000-0000-4000-8000-%s-%03d", n.namespace, night))},
		Status:     api.BackupStatus{Attempt: 1},
	}
}

// past fills the account with the backups of the nights before: the first instance's
// first one is taken, the others are made after its pattern without a call.
func (w *world) past(ctx context.Context) error {
	if w.o.Keep == 0 {
		return nil
	}
	pattern := w.instances[0].backup(0)
	if err := w.take(ctx, w.instances[0], pattern, &result{}); err != nil {
		return err
	}
	made := map[string]fake.Snapshot{}
	for _, s := range w.cloud.Snapshots("", region) {
		made[s.VolumeID] = s
	}
	for _, n := range w.instances {
		for night := range w.o.Keep {
			b := n.backup(night - w.o.Keep)
			for j, v := range pattern.Status.Volumes {
				of, node := made[v.EBS.VolumeID], n.nodes[j]
				old, now := string(pattern.UID), string(b.UID)
				of.ID, of.VolumeID, of.State = "", node.Claim.EBS.VolumeID, ""
				of.Description = strings.NewReplacer(old, now, v.EBS.VolumeID, of.VolumeID, pattern.Namespace+"/"+pattern.Name, b.Namespace+"/"+b.Name).Replace(of.Description)
				of.Tags = maps.Clone(of.Tags)
				of.Tags[tags.BackupUID], of.Tags[tags.Backup], of.Tags[tags.Namespace], of.Tags[tags.Name] = now, b.Name, b.Namespace, b.Namespace+"/"+b.Name
				of.Tags[tags.NodeName], of.Tags[tags.Instance] = node.ErlangName, "nights/"+b.Namespace
				id, err := w.cloud.AddSnapshot(of)
				if err != nil {
					return err
				}
				volume := *v.EBS
				volume.VolumeID = of.VolumeID
				v.EBS, v.Handle = &volume, id
				b.Status.Volumes = append(b.Status.Volumes, v)
			}
			n.backups = append(n.backups, b)
		}
	}
	if left, err := w.ours.Discard(ctx, pattern); left > 0 || err != nil {
		return fmt.Errorf("discard the pattern: %d left, %w", left, err)
	}
	w.cloud.ForgetCalls()
	return nil
}
