package after_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	api "github.com/medic/cht-backup/api/v1alpha1"
	ec2fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/ebs/account"
	"github.com/medic/cht-backup/snapshot/ebs/after"
	"github.com/medic/cht-backup/snapshot/ebs/rate"
)

const (
	ns      = "cht-kilifi"
	home    = "us-east-1"
	there   = "eu-west-1"
	far     = "eu-central-1"
	other   = "444455556666"
	role    = "arn:aws:iam::" + other + ":role/copies"
	uidTag  = "communityhealthtoolkit.org/backup-uid"
	nodeTag = "communityhealthtoolkit.org/node"
	copyTag = "communityhealthtoolkit.org/copy"
)

// world is EC2, an API server and a worker, all by one clock.
type world struct {
	t     *testing.T
	cloud *ec2fake.Cloud
	kube  client.WithWatch
	w     *after.Worker
	woken map[types.NamespacedName]bool
	limit int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Setenv("AWS_CA_BUNDLE", "") // the stand-in is called in process
	scheme := runtime.NewScheme()
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	unlimited := ec2fake.Unlimited()
	began := time.Now()
	var past time.Duration
	timing := ec2fake.Timing{Snapshot: ec2fake.Exactly(time.Minute), Copy: ec2fake.Exactly(10 * time.Minute), Enable: ec2fake.Exactly(time.Minute),
		Optimize: ec2fake.Exactly(30 * time.Minute), Archive: ec2fake.Exactly(24 * time.Hour), Unarchive: ec2fake.Exactly(24 * time.Hour)}
	// It stands still but for Advance.
	cloud := ec2fake.New(ec2fake.Options{Seed: 1, Quotas: &unlimited, Timing: &timing, Now: func() time.Time { return began.Add(past) }})
	w := &world{t: t, cloud: cloud, kube: fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&api.Backup{}).Build(), limit: 20}
	w.restart()
	return w
}

// restart is a controller that starts anew, and knows nothing but what is written down.
func (w *world) restart() {
	w.woken = map[types.NamespacedName]bool{}
	credentials := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: ec2fake.AccessKey(ec2fake.DefaultAccount), SecretAccessKey: "s"}, nil
	})
	as := func(more ...func(*config.LoadOptions) error) *account.Account {
		load := append([]func(*config.LoadOptions) error{config.WithRegion(home), config.WithCredentialsProvider(credentials), config.WithHTTPClient(w.cloud.HTTPClient()),
			config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} })}, more...)
		return account.New(account.Settings{Rates: &rate.Limits{Each: rate.Limit{PerSecond: 1e6, Burst: 1e6}}, Load: load})
	}
	clients := after.On(as(), as)
	w.w = &after.Worker{EC2: clients.For, Kube: w.kube, Now: w.cloud.Now, Copies: w.limit}
	w.w.WakeWith(func(k types.NamespacedName) { w.woken[k] = true })
	var all api.BackupList
	if err := w.kube.List(w.t.Context(), &all); err != nil {
		w.t.Fatal(err)
	}
	for i := range all.Items {
		w.w.Know(&all.Items[i])
	}
}

// backup makes a complete backup of two nodes, cut now.
func (w *world) backup(name string, policy api.EBSPolicy, change ...func(*api.Backup)) types.NamespacedName {
	w.t.Helper()
	now := w.cloud.Now()
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns, UID: types.UID("uid-" + name)}, Spec: api.BackupSpec{EBS: &policy}}
	for _, node := range []string{"couchdb-1", "couchdb-2"} {
		id, err := w.cloud.AddSnapshot(ec2fake.Snapshot{Region: home, SizeGiB: 10, Tags: map[string]string{uidTag: string(b.UID), nodeTag: node, "communityhealthtoolkit.org/claim": "claim-" + node, "team": "health"}})
		if err != nil {
			w.t.Fatal(err)
		}
		b.Status.Volumes = append(b.Status.Volumes, api.VolumeStatus{Node: node, Handle: id, Method: api.MethodEBS, Ready: true, EBS: &api.EBSVolume{VolumeID: "vol-1", Region: home, Zone: home + "a"}})
	}
	b.Status.Phase, b.Status.Nodes = api.PhaseCompleted, 2
	b.Status.CutTime, b.Status.CompletionTime = &metav1.MicroTime{Time: now}, &metav1.MicroTime{Time: now}
	b.Status.Conditions = []metav1.Condition{{Type: api.ConditionReady, Status: metav1.ConditionTrue, Reason: api.ReasonCompleted, LastTransitionTime: metav1.NewTime(now)}}
	for _, f := range change {
		f(b)
	}
	status := b.Status
	if err := w.kube.Create(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
	b.Status = status
	if err := w.kube.Status().Update(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
	return client.ObjectKeyFromObject(b)
}

func (w *world) get(key types.NamespacedName) *api.Backup {
	w.t.Helper()
	var b api.Backup
	if err := w.kube.Get(w.t.Context(), key, &b); err != nil {
		w.t.Fatal(err)
	}
	return &b
}

// turn is one turn of the reconciler; one that is not saved is a controller that was
// killed after its calls and before it could write anything down.
func (w *world) turn(key types.NamespacedName, saved bool) time.Duration {
	w.t.Helper()
	b := w.get(key)
	again := w.w.Advance(w.t.Context(), b)
	if saved {
		if err := w.kube.Status().Update(w.t.Context(), b); err != nil {
			w.t.Fatal(err)
		}
	}
	return again
}

// run turns a backup until it does not come again, or some condition has an end that
// would be tried again later; it gives the status.
func (w *world) run(key types.NamespacedName, until ...func(*api.Backup) bool) *api.Backup {
	w.t.Helper()
	for range 400 {
		again := w.turn(key, true)
		b := w.get(key)
		if again == 0 || slices.ContainsFunc(until, func(f func(*api.Backup) bool) bool { return f(b) }) {
			return b
		}
		w.cloud.Advance(again)
	}
	w.t.Fatalf("400 turns and no end: %s", conditions(w.get(key)))
	return nil
}

// failed tells that a condition is False.
func failed(condition string) func(*api.Backup) bool {
	return func(b *api.Backup) bool { return meta.IsStatusConditionFalse(b.Status.Conditions, condition) }
}

func conditions(b *api.Backup) string {
	var lines []string
	for _, c := range b.Status.Conditions {
		lines = append(lines, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(lines, "\n")
}

// want checks one condition: its reason, and texts of its message.
func (w *world) want(b *api.Backup, condition, reason string, texts ...string) {
	w.t.Helper()
	c := meta.FindStatusCondition(b.Status.Conditions, condition)
	if c == nil || c.Reason != reason {
		w.t.Errorf("%s is not %s:\n%s", condition, reason, conditions(b))
		return
	}
	for _, text := range texts {
		if !strings.Contains(c.Message, text) {
			w.t.Errorf("%s does not tell %q: %s", condition, text, c.Message)
		}
	}
}

// calls counts what was done of an action: errors left out.
func (w *world) calls(action string) (n int) {
	for k, count := range w.cloud.Counts() {
		if k.Action == "ec2:"+action && k.Code == "" {
			n += count
		}
	}
	return n
}

// all counts every call.
func (w *world) all() (n int) {
	for _, count := range w.cloud.Counts() {
		n += count
	}
	return n
}

// copies are the snapshots of a copy, and fails if a node has two.
func (w *world) copies(account, region, name string) map[string]ec2fake.Snapshot {
	w.t.Helper()
	found := map[string]ec2fake.Snapshot{}
	for _, s := range w.cloud.Snapshots(account, region) {
		if s.Tags[copyTag] != name {
			continue
		}
		key := s.Tags[uidTag] + "/" + s.Tags[nodeTag]
		if twice, has := found[key]; has {
			w.t.Errorf("%s was copied twice to %s: %s and %s", key, region, twice.ID, s.ID)
		}
		found[key] = s
	}
	return found
}

func pointer[T any](v T) *T { return &v }
