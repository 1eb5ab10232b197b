package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/bench/page"
	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/ebs"
	"github.com/medic/cht-backup/snapshot/ebs/account"
	"github.com/medic/cht-backup/snapshot/quiesce"
)

const (
	region = "eu-west-1"
	// maxStall is large enough for the baseline.
	maxStall = 2 * time.Minute
	// target is by how much a stall may be longer than its slowest call.
	target = 500 * time.Millisecond
)

// one is what one cut took.
type one struct{ slowest, sum, stall time.Duration }

func (o one) over() time.Duration { return o.stall - o.slowest }

// rig is the fake on a socket and our code in front of it.
type rig struct {
	o     options
	cloud *fake.Cloud
	ours  *ebs.Snapshotter
	aws   *account.Account
	rand  *rand.Rand
	n     int
}

// stalls measures both ways in turn, with the same delays.
func stalls(ctx context.Context, o options, out, say io.Writer) error {
	unlimited := fake.Unlimited() // the account is not what is measured
	r := &rig{o: o, cloud: fake.New(fake.Options{Seed: o.nights.Seed, Quotas: &unlimited}), rand: rand.New(rand.NewPCG(o.nights.Seed, 0))}
	server := httptest.NewServer(r.cloud)
	defer server.Close()
	r.aws = account.New(account.Settings{Load: []func(*config.LoadOptions) error{
		config.WithRegion(region), config.WithBaseEndpoint(server.URL),
		config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: fake.AccessKey(fake.DefaultAccount), SecretAccessKey: "not checked"}, nil
		})),
	}})
	r.ours = &ebs.Snapshotter{Cloud: ebs.On(r.aws), Cluster: func(context.Context) (string, error) { return "bench", nil }}

	page.Line(out, "cut", "%d volumes on %d instances, CreateSnapshot takes %s to %s, %d runs", o.nodes, o.nodes, o.least, o.most, o.runs)
	table := page.NewTable(out, "run", "slowest call", "stall", "over it", "one by one", "times as long")
	var worst, sum, serialSum, slowestSum time.Duration
	for i := range o.runs {
		_, _ = fmt.Fprintf(say, "cut %d of %d\n", i+1, o.runs)
		delays := make([]time.Duration, o.nodes)
		for j := range delays {
			delays[j] = o.least + time.Duration(r.rand.Int64N(int64(o.most-o.least)+1))
		}
		ours, err := r.cut(ctx, delays, true)
		if err != nil {
			return err
		}
		serial, err := r.cut(ctx, delays, false)
		if err != nil {
			return err
		}
		table.Row(fmt.Sprint(i+1), ms(ours.slowest), ms(ours.stall), ms(ours.over()), ms(serial.stall), fmt.Sprintf("%.2f", serial.stall.Seconds()/ours.stall.Seconds()))
		worst, sum, serialSum, slowestSum = max(worst, ours.over()), sum+ours.stall, serialSum+serial.stall, slowestSum+ours.slowest
	}
	table.End()
	page.Line(out, "stall", "%.3f times the slowest call on average; one by one %.2f times", sum.Seconds()/slowestSum.Seconds(), serialSum.Seconds()/slowestSum.Seconds())
	page.Line(out, "target", "no stall longer than its slowest call + %s: at most + %s, %s", target, ms(worst), page.Met(worst <= target))
	return nil
}

func ms(d time.Duration) string { return d.Round(time.Millisecond).String() }

// cut makes volumes, and cuts them under a hold: by our code, or one after the other.
func (r *rig) cut(ctx context.Context, delays []time.Duration, ours bool) (one, error) {
	var o one
	var nodes []cht.Node
	r.cloud.ClearFaults()
	for i, d := range delays {
		vol, err := r.cloud.AddVolume(fake.Volume{Zone: region + "a", SizeGiB: 10})
		if err != nil {
			return o, err
		}
		if _, err := r.cloud.AddInstance(fake.Instance{Zone: region + "a", Volumes: []fake.Attachment{{Device: "/dev/xvda", VolumeID: vol}}}); err != nil {
			return o, err
		}
		service := fmt.Sprintf("couchdb-%d", i+1)
		nodes = append(nodes, cht.Node{Service: service, Claim: cht.Claim{Name: service, Driver: cht.EBSDriver, EBS: &cht.EBS{VolumeID: vol, Zone: region + "a"}}})
		o.slowest, o.sum = max(o.slowest, d), o.sum+d
	}
	streams, err := hold(ctx, len(nodes))
	if err != nil {
		return o, err
	}
	defer quiesce.CloseAll(streams)
	cut, done, err := r.prepare(ctx, nodes, ours)
	if err != nil {
		return o, err
	}
	defer done()
	for i, d := range delays {
		r.cloud.AddFault(fake.Fault{Action: "CreateSnapshot", With: nodes[i].Claim.EBS.VolumeID, Delay: fake.Exactly(d)})
	}
	times, err := quiesce.Stall(ctx, streams, maxStall, cut)
	o.stall = times.Released.Sub(times.Start)
	return o, err
}

// prepare gets a cut ready.
func (r *rig) prepare(ctx context.Context, nodes []cht.Node, ours bool) (cut func(context.Context) error, done func(), err error) {
	r.n++
	if !ours {
		client, err := r.aws.EC2(ctx, region)
		return func(ctx context.Context) error {
			for _, n := range nodes {
				if _, err := client.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: &n.Claim.EBS.VolumeID}); err != nil {
					return err
				}
			}
			return nil
		}, func() {}, err
	}
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "cht", Name: "bench", UID: types.UID(fmt.Sprintf("bench-%d", r.n))}, Status: api.BackupStatus{Attempt: 1}}
	p, err := r.ours.Prepare(ctx, b, nodes)
	if err != nil {
		return nil, nil, err
	}
	if err := p.Warm(ctx); err != nil {
		p.Done()
		return nil, nil, err
	}
	return func(ctx context.Context) error { _, err := p.Make(ctx); return err }, p.Done, nil
}
