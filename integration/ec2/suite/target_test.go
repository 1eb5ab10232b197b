package suite

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/ebs/account"
)

const (
	east  = "us-east-1"
	west  = "us-west-2"
	other = "444455556666"
)

// target is something that stands in for EC2.
type target struct {
	name string
	url  string
	// account that our access key belongs to.
	account string
	// cloud is nil for what is not our fake.
	cloud *fake.Cloud
	// differs names the cases that it is known to fail, and why.
	differs map[string]string
}

// startFake serves our fake on a socket.
func startFake(t *testing.T) *target {
	t.Helper()
	timing := fake.DefaultTiming()
	timing.Snapshot, timing.Copy = fake.Exactly(time.Second), fake.Exactly(time.Second)
	quotas := fake.Published()
	quotas.Reading, quotas.Unpaged = fake.Bucket{}, fake.Bucket{} // the cases look more often than is good for an account
	c := fake.New(fake.Options{Timing: &timing, Quotas: &quotas})
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return &target{name: "fake", url: server.URL, account: fake.DefaultAccount, cloud: c}
}

// startMoto starts a moto of its own on a free port of loopback.
func startMoto(t *testing.T) *target {
	t.Helper()
	program, err := exec.LookPath("moto_server")
	if err != nil {
		t.Skip("moto_server is not installed (python package moto[server]), so there is nothing to compare with")
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	moto := exec.CommandContext(ctx, program, "-H", "127.0.0.1", "-p", fmt.Sprint(address.Port))
	moto.Env = append(os.Environ(), "MOTO_EC2_LOAD_DEFAULT_AMIS=false")
	moto.Stdout, moto.Stderr = io.Discard, io.Discard
	moto.WaitDelay = 5 * time.Second
	if err := moto.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = moto.Wait() })
	m := &target{name: "moto", url: "http://" + address.String(), account: "123456789012", differs: motoDiffers}
	for deadline := time.Now().Add(time.Minute); ; {
		r, err := http.Get(m.url + "/moto-api/data.json")
		if err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return m
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("moto does not answer within a minute: %v", err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// load are the options of the SDK that lead to the target.
func (g *target) load(region string) []func(*config.LoadOptions) error {
	return []func(*config.LoadOptions) error{
		config.WithRegion(region), config.WithBaseEndpoint(g.url),
		config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: fake.AccessKey(g.account), SecretAccessKey: "not checked"}, nil
		})),
	}
}

// as is the SDK with an account's key.
func (g *target) as(region, accessKey, session string) *ec2.Client {
	return ec2.New(ec2.Options{Region: region, BaseEndpoint: &g.url, Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: "not checked", SessionToken: session}, nil
		})})
}

func (g *target) ec2(region string) *ec2.Client { return g.as(region, fake.AccessKey(g.account), "") }

func (g *target) sts() *sts.Client {
	return sts.New(sts.Options{Region: east, BaseEndpoint: &g.url,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: fake.AccessKey(g.account), SecretAccessKey: "not checked"}, nil
		})})
}

// ours is an account as our code opens it.
func (g *target) ours() *account.Account { return account.New(account.Settings{Load: g.load(east)}) }

// volume makes one, and waits until it can be used.
func (g *target) volume(ctx context.Context, in ec2.CreateVolumeInput) (string, error) {
	e := g.ec2(east)
	if in.AvailabilityZone == nil {
		in.AvailabilityZone = aws.String(east + "a")
	}
	if in.Size == nil && in.SnapshotId == nil {
		in.Size = aws.Int32(2)
	}
	if in.VolumeType == "" {
		in.VolumeType = "gp3"
	}
	v, err := e.CreateVolume(ctx, &in)
	if err != nil {
		return "", err
	}
	return *v.VolumeId, wait(ctx, func() (bool, error) {
		d, err := e.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{*v.VolumeId}})
		return err == nil && d.Volumes[0].State == types.VolumeStateAvailable, err
	})
}

// wait until something is so.
func wait(ctx context.Context, so func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if yes, err := so(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// instance makes one with volumes attached to it beside its root volume.
func (g *target) instance(ctx context.Context, volumes ...string) (string, error) {
	devices := []string{"/dev/xvdb", "/dev/xvdc", "/dev/xvdd"}
	if g.cloud != nil {
		root, err := g.cloud.AddVolume(fake.Volume{Account: g.account, Zone: east + "a"})
		if err != nil {
			return "", err
		}
		i := fake.Instance{Account: g.account, Zone: east + "a", Volumes: []fake.Attachment{{Device: "/dev/xvda", VolumeID: root}}}
		for n, v := range volumes {
			i.Volumes = append(i.Volumes, fake.Attachment{Device: devices[n], VolumeID: v})
		}
		return g.cloud.AddInstance(i)
	}
	e, one := g.ec2(east), aws.Int32(1)
	r, err := e.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: aws.String("ami-12c6146b"), MinCount: one, MaxCount: one, Placement: &types.Placement{AvailabilityZone: aws.String(east + "a")}})
	if err != nil {
		return "", err
	}
	id := *r.Instances[0].InstanceId
	for n, v := range volumes {
		if _, err := e.AttachVolume(ctx, &ec2.AttachVolumeInput{InstanceId: &id, VolumeId: &v, Device: &devices[n]}); err != nil {
			return "", err
		}
	}
	return id, nil
}
