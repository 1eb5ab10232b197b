package ec2_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	fake "github.com/medic/cht-backup/integration/ec2"
)

const (
	east  = "us-east-1"
	west  = "us-west-2"
	other = "444455556666"
)

// began is when the fake's time begins; it moves only by Advance.
var began = time.Date(2026, 3, 1, 1, 2, 3, 0, time.UTC)

func cloud(o fake.Options) *fake.Cloud {
	o.Now = func() time.Time { return began }
	if o.Timing == nil {
		t := fake.DefaultTiming()
		t.Snapshot, t.Copy, t.Volume = fake.Exactly(10*time.Second), fake.Exactly(20*time.Second), fake.Exactly(time.Second)
		o.Timing = &t
	}
	return fake.New(o)
}

// client calls without retries, in process.
func client(c *fake.Cloud, region, account string) *sdk.Client {
	return sdk.New(sdk.Options{
		Region: region, HTTPClient: c.HTTPClient(), Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(credentials(account)),
	})
}

func add(t *testing.T, c *fake.Cloud, v fake.Volume) string {
	t.Helper()
	if v.Zone == "" {
		v.Zone = east + "a"
	}
	id, err := c.AddVolume(v)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// wantCode fails unless err is EC2's of that code; "" for none.
func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	var e smithy.APIError
	got := ""
	if errors.As(err, &e) {
		got = e.ErrorCode()
	} else if err != nil {
		got = err.Error()
	}
	if got != code {
		t.Fatalf("%s: got %q (%v), want %q", what, got, err, code)
	}
}

func TestSnapshotCompletes(t *testing.T) {
	c := cloud(fake.Options{})
	server := httptest.NewServer(c)
	defer server.Close()
	e := sdk.New(sdk.Options{Region: east, BaseEndpoint: &server.URL, Credentials: aws.CredentialsProviderFunc(credentials(other))})
	vol := add(t, c, fake.Volume{Account: other, SizeGiB: 7, Encrypted: true})
	s, err := e.CreateSnapshot(t.Context(), &sdk.CreateSnapshotInput{
		VolumeId: &vol, Description: aws.String("a <b>"),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("")}}}},
	})
	wantCode(t, "create", err, "")
	if s.State != types.SnapshotStatePending || *s.OwnerId != other || *s.VolumeSize != 7 || !*s.Encrypted || !s.StartTime.Equal(began) || len(s.Tags) != 1 || *s.Description != "a <b>" {
		t.Fatalf("created %+v", s)
	}
	for _, step := range []struct {
		by       time.Duration
		state    types.SnapshotState
		progress string
	}{{0, "pending", "0%"}, {4 * time.Second, "pending", "40%"}, {5 * time.Second, "pending", "90%"}, {time.Second, "completed", "100%"}} {
		c.Advance(step.by)
		d, err := e.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{SnapshotIds: []string{*s.SnapshotId}})
		wantCode(t, "describe", err, "")
		if got := d.Snapshots[0]; got.State != step.state || *got.Progress != step.progress {
			t.Fatalf("after %s: %s %s, want %s %s", step.by, got.State, *got.Progress, step.state, step.progress)
		}
	}
	_, err = client(c, west, other).DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{SnapshotIds: []string{*s.SnapshotId}})
	wantCode(t, "in another Region", err, "InvalidSnapshot.NotFound")
	_, err = client(c, east, fake.DefaultAccount).DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{SnapshotIds: []string{*s.SnapshotId}})
	wantCode(t, "by another account", err, "InvalidSnapshot.NotFound")
	_, err = e.DeleteSnapshot(t.Context(), &sdk.DeleteSnapshotInput{SnapshotId: s.SnapshotId})
	wantCode(t, "delete", err, "")
	_, err = e.DeleteSnapshot(t.Context(), &sdk.DeleteSnapshotInput{SnapshotId: s.SnapshotId})
	wantCode(t, "delete again", err, "InvalidSnapshot.NotFound")
}

func TestPages(t *testing.T) {
	c := cloud(fake.Options{})
	e := client(c, east, fake.DefaultAccount)
	for i := range 25 {
		set := "a"
		if i%2 == 1 {
			set = "b"
		}
		if _, err := c.AddSnapshot(fake.Snapshot{Region: east, VolumeID: "vol-1", Tags: map[string]string{"set": set}}); err != nil {
			t.Fatal(err)
		}
	}
	for name, in := range map[string]struct {
		in   sdk.DescribeSnapshotsInput
		want int
	}{
		"all":         {sdk.DescribeSnapshotsInput{OwnerIds: []string{"self"}}, 25},
		"tag":         {sdk.DescribeSnapshotsInput{Filters: []types.Filter{{Name: aws.String("tag:set"), Values: []string{"a"}}}}, 13},
		"both":        {sdk.DescribeSnapshotsInput{Filters: []types.Filter{{Name: aws.String("tag:set"), Values: []string{"a", "b"}}}}, 25},
		"wildcard":    {sdk.DescribeSnapshotsInput{Filters: []types.Filter{{Name: aws.String("tag:set"), Values: []string{"?"}}, {Name: aws.String("volume-id"), Values: []string{"vol-*"}}}}, 25},
		"tag-key":     {sdk.DescribeSnapshotsInput{Filters: []types.Filter{{Name: aws.String("tag-key"), Values: []string{"set"}}, {Name: aws.String("status"), Values: []string{"completed"}}}}, 25},
		"nothing":     {sdk.DescribeSnapshotsInput{Filters: []types.Filter{{Name: aws.String("tag:set"), Values: []string{"A"}}}}, 0},
		"other owner": {sdk.DescribeSnapshotsInput{OwnerIds: []string{other}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			in.in.MaxResults = aws.Int32(6)
			seen := map[string]bool{}
			for p := sdk.NewDescribeSnapshotsPaginator(e, &in.in); p.HasMorePages(); {
				d, err := p.NextPage(t.Context())
				wantCode(t, "page", err, "")
				if len(d.Snapshots) > 6 {
					t.Fatalf("%d on a page", len(d.Snapshots))
				}
				for _, s := range d.Snapshots {
					if seen[*s.SnapshotId] {
						t.Fatalf("%s twice", *s.SnapshotId)
					}
					seen[*s.SnapshotId] = true
				}
			}
			if len(seen) != in.want {
				t.Fatalf("saw %d, want %d", len(seen), in.want)
			}
		})
	}
	first, err := e.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{MaxResults: aws.Int32(5)})
	wantCode(t, "first page", err, "")
	_, err = e.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{MaxResults: aws.Int32(5), NextToken: first.NextToken, OwnerIds: []string{"self"}})
	wantCode(t, "another query's token", err, "InvalidParameterValue")
	_, err = e.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{MaxResults: aws.Int32(4)})
	wantCode(t, "too small a page", err, "InvalidParameterValue")
	_, err = e.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{MaxResults: aws.Int32(5), SnapshotIds: []string{"snap-1"}})
	wantCode(t, "ids and pages", err, "InvalidParameterCombination")
	_, err = e.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{Filters: []types.Filter{{Name: aws.String("size")}}})
	wantCode(t, "unknown filter", err, "InvalidParameterValue")
}

func TestLimits(t *testing.T) {
	q := fake.Published()
	q.Pending, q.Snapshots = 7, 9
	c := cloud(fake.Options{Quotas: &q})
	e := client(c, east, fake.DefaultAccount)
	snap := func(vol, want string) {
		t.Helper()
		_, err := e.CreateSnapshot(t.Context(), &sdk.CreateSnapshotInput{VolumeId: &vol})
		wantCode(t, "snapshot of "+vol, err, want)
	}
	timing := fake.DefaultTiming()
	timing.Snapshot = fake.Exactly(time.Hour)
	c.SetTiming(timing)
	a, b, cold := add(t, c, fake.Volume{}), add(t, c, fake.Volume{}), add(t, c, fake.Volume{Type: "st1", SizeGiB: 125})
	snap(a, "")
	snap(a, "SnapshotCreationPerVolumeRateExceeded")
	c.Advance(14 * time.Second)
	snap(a, "SnapshotCreationPerVolumeRateExceeded")
	for range 4 {
		c.Advance(15 * time.Second)
		snap(a, "")
	}
	c.Advance(15 * time.Second)
	snap(a, "ConcurrentSnapshotLimitExceeded")
	snap(cold, "")
	c.Advance(15 * time.Second)
	snap(cold, "ConcurrentSnapshotLimitExceeded")
	snap(b, "")
	snap(add(t, c, fake.Volume{}), "PendingSnapshotLimitExceeded")
	c.Advance(time.Hour)
	snap(a, "")
	snap(b, "")
	snap(cold, "SnapshotLimitExceeded")
	snap("vol-0", "InvalidVolume.NotFound")
	snap("x", "InvalidVolumeID.Malformed")
}

func TestThrottle(t *testing.T) {
	c := cloud(fake.Options{})
	e := client(c, east, fake.DefaultAccount)
	vol := add(t, c, fake.Volume{})
	snap := func(e *sdk.Client) error {
		_, err := e.CreateSnapshot(t.Context(), &sdk.CreateSnapshotInput{VolumeId: &vol})
		return err
	}
	until := func(what, code string, want int, call func() error) {
		t.Helper()
		for n := 0; ; n++ {
			if err := call(); err != nil {
				var e smithy.APIError
				if errors.As(err, &e) && e.ErrorCode() != code {
					continue // the volume's own limits
				}
				if n != want {
					t.Fatalf("%s: throttled after %d, want %d", what, n, want)
				}
				return
			}
		}
	}
	until("CreateSnapshot", "RequestLimitExceeded", 100, func() error { return snap(e) })
	c.Advance(3 * time.Second)
	until("CreateSnapshot after 3 s", "RequestLimitExceeded", 15, func() error { return snap(e) })
	wantCode(t, "another account", snap(client(c, east, other)), "InvalidVolume.NotFound")
	wantCode(t, "another Region", snap(client(c, west, fake.DefaultAccount)), "InvalidVolume.NotFound")
	until("DescribeSnapshots of all", "RequestLimitExceeded", 50, func() error {
		_, err := e.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{})
		return err
	})
	until("DescribeSnapshots of a page", "RequestLimitExceeded", 100, func() error {
		_, err := e.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{MaxResults: aws.Int32(5)})
		return err
	})
	until("CopySnapshot", "RequestLimitExceeded", 50, func() error {
		_, err := e.CopySnapshot(t.Context(), &sdk.CopySnapshotInput{SourceRegion: aws.String(east), SourceSnapshotId: aws.String("snap-0")})
		return err
	})
}

func TestRole(t *testing.T) {
	c := cloud(fake.Options{})
	mine := sts.New(sts.Options{Region: east, HTTPClient: c.HTTPClient(), Credentials: aws.CredentialsProviderFunc(credentials(fake.DefaultAccount))})
	who, err := mine.GetCallerIdentity(t.Context(), nil)
	wantCode(t, "identity", err, "")
	if *who.Account != fake.DefaultAccount {
		t.Fatalf("account %s", *who.Account)
	}
	_, err = mine.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("nonsense"), RoleSessionName: aws.String("s1")})
	wantCode(t, "no role", err, "ValidationError")
	role, err := mine.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + other + ":role/copies"), RoleSessionName: aws.String("s1")})
	wantCode(t, "assume", err, "")
	vol := add(t, c, fake.Volume{Account: other})
	e := sdk.New(sdk.Options{Region: east, HTTPClient: c.HTTPClient(), Credentials: aws.CredentialsProviderFunc(given(*role.Credentials.AccessKeyId))})
	_, err = e.CreateSnapshot(t.Context(), &sdk.CreateSnapshotInput{VolumeId: &vol})
	wantCode(t, "as the role", err, "")
}

// EC2 may give empty pages with more to come.
func TestSparsePages(t *testing.T) {
	for _, full := range []bool{false, true} {
		c := cloud(fake.Options{FullPages: full})
		for i := range 12 {
			set := "a"
			if i > 9 {
				set = "b"
			}
			stored(t, c, fake.Snapshot{Tags: map[string]string{"set": set}})
		}
		d, err := client(c, east, fake.DefaultAccount).DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{
			MaxResults: aws.Int32(5), Filters: []types.Filter{{Name: aws.String("tag:set"), Values: []string{"b"}}}})
		wantCode(t, "first page", err, "")
		if more := d.NextToken != nil; more == full || (len(d.Snapshots) == 2) != full {
			t.Fatalf("full %v: %d on the first page, more: %v", full, len(d.Snapshots), more)
		}
	}
}
