package account

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/ebs/rate"
)

// nowhere is a machine that is none of AWS: no setting, and a metadata service whose
// address swallows everything.
func nowhere(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2", "AWS_EC2_METADATA_DISABLED"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://"+silent.Addr().String())
}

// A machine that is none of AWS is not waited for: neither for its credentials nor for
// its Region, and the second backup does not even ask.
func TestNoAWS(t *testing.T) {
	nowhere(t)
	a := New(Settings{})
	bounded, cancel := context.WithTimeout(t.Context(), 3*findWithin)
	defer cancel()
	if err := a.Check(bounded); err == nil || bounded.Err() != nil || !strings.Contains(err.Error(), "IRSA") {
		t.Fatalf("%v", err)
	}
	if _, err := a.Region(bounded); err == nil || bounded.Err() != nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Fatalf("%v", err)
	}
	asked := 0
	err := a.find(t.Context(), "credentials", func(context.Context) error { asked++; return nil })
	if err == nil || asked != 0 {
		t.Errorf("what was not there a moment ago was asked for again: %v", err)
	}
}

// transport notes what is sent.
type transport struct {
	http.RoundTripper
	agents []string
	calls  int
}

func (tr *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	tr.agents = append(tr.agents, r.UserAgent())
	tr.calls++
	return tr.RoundTripper.RoundTrip(r)
}

func TestClients(t *testing.T) {
	nowhere(t)
	cloud := fake.New(fake.Options{})
	tr := &transport{RoundTripper: cloud}
	retrieved := 0
	a := New(Settings{Version: "1.2.3", Rates: &rate.Limits{Each: rate.Limit{PerSecond: 100, Burst: 1}}, Load: []func(*config.LoadOptions) error{
		config.WithHTTPClient(&http.Client{Transport: tr}),
		config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			retrieved++
			return aws.Credentials{AccessKeyID: fake.AccessKey(fake.DefaultAccount), SecretAccessKey: "not checked", CanExpire: true, Expires: time.Now().Add(time.Minute)}, nil
		})),
	}})
	c, err := a.EC2(t.Context(), "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.EC2(t.Context(), "eu-west-1"); err != nil || again != c {
		t.Errorf("a client of its own for the same Region: its retries would know nothing of the other's, %v", err)
	}
	if _, err := c.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{}); err != nil {
		t.Fatal(err)
	}
	if len(tr.agents) != 1 || !strings.Contains(tr.agents[0], "cht-backup/1.2.3") {
		t.Errorf("user agents %q", tr.agents)
	}
	// Outside of a freeze a throttled call is tried again.
	cloud.AddFault(fake.Fault{Action: "DescribeVolumes", Times: 1, Error: &fake.Failure{Code: "RequestLimitExceeded", Status: 503}})
	if _, err := c.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{}); err != nil {
		t.Error(err)
	}
	// Under one it is made once, with the credentials that are at hand.
	held, err := a.Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, asked := tr.calls, retrieved
	cloud.AddFault(fake.Fault{Action: "DescribeVolumes", Times: 1, Error: &fake.Failure{Code: "RequestLimitExceeded", Status: 503}})
	if _, err := c.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{}, held); err == nil || tr.calls != before+1 {
		t.Errorf("%d calls under a freeze, %v", tr.calls-before, err)
	}
	if retrieved != asked {
		t.Errorf("credentials were asked for under a freeze")
	}
}

// Every try of a call that changes something comes out of its bucket, unless it was
// taken beforehand.
func TestCallsComeOutOfTheirBuckets(t *testing.T) {
	nowhere(t)
	cloud := fake.New(fake.Options{})
	clock := &counting{}
	a := New(Settings{Rates: &rate.Limits{Each: rate.Limit{PerSecond: 1, Burst: 1}}, Clock: clock, Load: []func(*config.LoadOptions) error{
		config.WithHTTPClient(cloud.HTTPClient()), config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: fake.AccessKey(fake.DefaultAccount), SecretAccessKey: "not checked"}, nil
		}))}})
	c, err := a.EC2(t.Context(), "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	call := func(ctx context.Context) {
		_, _ = c.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String("snap-0123456789abcdef0")}) // there is none, which is enough
		_, _ = c.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})
	}
	call(t.Context())
	call(rate.Paid(t.Context()))
	if clock.slept != 0 {
		t.Errorf("slept %s", clock.slept)
	}
	call(t.Context())
	if clock.slept < 900*time.Millisecond {
		t.Errorf("slept %s: the second deletion did not wait", clock.slept)
	}
}

// counting is a clock that only notes how long somebody would have slept.
type counting struct{ slept time.Duration }

func (c *counting) Now() time.Time { return time.Unix(1e9, 0).Add(c.slept) }

func (c *counting) Sleep(_ context.Context, d time.Duration) error {
	c.slept += d
	return nil
}
