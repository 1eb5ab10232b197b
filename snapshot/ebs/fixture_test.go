package ebs

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/cut"
	"github.com/medic/cht-backup/snapshot/ebs/account"
	"github.com/medic/cht-backup/snapshot/ebs/rate"
	"github.com/medic/cht-backup/snapshot/reason"
)

const (
	ns     = "cht-kilifi"
	region = "eu-west-1"
)

// world is an AWS account with the volumes of one CHT, and a snapshotter in it. Its
// clock stands unless somebody sleeps.
type world struct {
	*Snapshotter
	*fake.Cloud
	t     *testing.T
	nodes []cht.Node
	limit rate.Limits
}

type clock struct{ *fake.Cloud }

func (c clock) Sleep(ctx context.Context, d time.Duration) error {
	c.Advance(d)
	return ctx.Err()
}

var start = time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)

func newWorld(t *testing.T, volumes int, change ...func(*fake.Options)) *world {
	t.Helper()
	for _, name := range []string{"AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2"} {
		t.Setenv(name, "") // the machine's own settings are none of this test's
	}
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	quotas := fake.Published()
	timing := fake.Timing{Snapshot: fake.Exactly(time.Minute)}
	o := fake.Options{Now: func() time.Time { return start }, Quotas: &quotas, Timing: &timing}
	for _, f := range change {
		f(&o)
	}
	w := &world{Cloud: fake.New(o), t: t, limit: rate.Default}
	for i := range volumes {
		w.addNode(i+1, volumes)
	}
	w.restart()
	return w
}

func (w *world) addNode(number, of int) {
	service := "couchdb"
	if of > 1 {
		service = fmt.Sprintf("couchdb-%d", number)
	}
	id, err := w.AddVolume(fake.Volume{Zone: region + "a", SizeGiB: int32(100 + number), IOPS: 3000, Throughput: 125}) //nolint:gosec // few
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.AddInstance(fake.Instance{Zone: region + "a", Volumes: []fake.Attachment{{Device: "/dev/xvda", VolumeID: w.root()}, {Device: "/dev/xvdba", VolumeID: id}}}); err != nil {
		w.t.Fatal(err)
	}
	w.nodes = append(w.nodes, cht.Node{Service: service, ErlangName: service + "@" + service + ".svc", DataSubPath: "data", ConfigSubPath: "local.d", ConfigOnVolume: true,
		Claim: cht.Claim{Name: service + "-claim0", FSType: "ext4", Driver: cht.EBSDriver, Source: "a volume of CSI driver " + cht.EBSDriver, EBS: &cht.EBS{VolumeID: id, Zone: region + "a"}}})
}

func (w *world) root() string {
	id, err := w.AddVolume(fake.Volume{Zone: region + "a", SizeGiB: 20})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// restart is another process: it knows nothing of what the one before did.
func (w *world) restart() {
	w.account(func(*account.Settings) {})
}

func (w *world) account(change func(*account.Settings)) {
	s := account.Settings{Version: "test", Rates: &w.limit, Clock: clock{w.Cloud}, Load: []func(*config.LoadOptions) error{
		config.WithRegion("us-east-1"), config.WithHTTPClient(w.HTTPClient()),
		config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: fake.AccessKey(fake.DefaultAccount), SecretAccessKey: "not checked"}, nil
		}))}}
	change(&s)
	w.Snapshotter = &Snapshotter{Cloud: On(account.New(s)), Clock: clock{w.Cloud},
		Cluster: func(context.Context) (string, error) { return "nairobi", nil }}
}

func backup(attempt int32) *api.Backup {
	return &api.Backup{ObjectMeta: metav1.ObjectMeta{Name: "nightly", Namespace: ns, UID: "0f3c2a5e-1111-2222-3333-444455556666"},
		Spec: api.BackupSpec{EBS: &api.EBSPolicy{Tags: map[string]string{"team": "health"}}}, Status: api.BackupStatus{Attempt: attempt}}
}

// ready prepares a cut, and writes down what the reconciler does before it is made.
func (w *world) ready(b *api.Backup) cut.Prepared {
	w.t.Helper()
	p, err := w.Prepare(w.t.Context(), b, w.nodes)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Done)
	b.Status.Volumes = p.Volumes
	if err := p.Warm(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// cut makes a whole cut.
func (w *world) cut(b *api.Backup) ([]api.VolumeStatus, error) {
	w.t.Helper()
	p := w.ready(b)
	defer p.Done()
	volumes, err := p.Make(w.t.Context())
	if err == nil {
		b.Status.Volumes = volumes
	}
	return volumes, err
}

// discard goes on until nothing is left, as the reconciler does.
func (w *world) discard(b *api.Backup) {
	w.t.Helper()
	for range 100 {
		left, err := w.Discard(w.t.Context(), b)
		if err != nil {
			w.t.Fatal(err)
		}
		if left == 0 {
			return
		}
		w.Advance(time.Second)
	}
	w.t.Fatal("100 s and something is still left")
}

func (w *world) left() []fake.Snapshot { return w.Snapshots(fake.DefaultAccount, region) }

// made counts calls of an action that were not rehearsals.
func (w *world) made(action string) (n int) {
	for _, c := range w.Calls() {
		if c.Action == "ec2:"+action && c.Code != "DryRunOperation" {
			n++
		}
	}
	return n
}

func wantReason(t *testing.T, err error, want string) *reason.Error {
	t.Helper()
	e := reason.Of(err)
	if e == nil || e.Reason != want {
		t.Fatalf("error %v, wanted one of reason %s", err, want)
	}
	return e
}

func pointers(volumes []api.VolumeStatus) (all []*api.VolumeStatus) {
	for i := range volumes {
		all = append(all, &volumes[i])
	}
	return all
}
