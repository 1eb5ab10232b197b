package ec2_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	fake "github.com/medic/cht-backup/integration/ec2"
)

func TestVolumes(t *testing.T) {
	c := cloud(fake.Options{})
	e := client(c, east, fake.DefaultAccount)
	from := stored(t, c, fake.Snapshot{SizeGiB: 10, Encrypted: true, KMSKeyID: fake.DefaultKey(fake.DefaultAccount, east)})
	zone := aws.String(east + "b")
	for name, x := range map[string]struct {
		in   sdk.CreateVolumeInput
		code string
	}{
		"no zone":               {sdk.CreateVolumeInput{SnapshotId: from}, "MissingParameter"},
		"wrong zone":            {sdk.CreateVolumeInput{SnapshotId: from, AvailabilityZone: aws.String(west + "a")}, "InvalidZone.NotFound"},
		"too small":             {sdk.CreateVolumeInput{SnapshotId: from, AvailabilityZone: zone, Size: aws.Int32(9)}, "InvalidParameterValue"},
		"no snapshot":           {sdk.CreateVolumeInput{SnapshotId: aws.String("snap-0"), AvailabilityZone: zone}, "InvalidSnapshot.NotFound"},
		"pending":               {sdk.CreateVolumeInput{SnapshotId: stored(t, c, fake.Snapshot{State: fake.Pending}), AvailabilityZone: zone}, "IncorrectState"},
		"gp2 with iops":         {sdk.CreateVolumeInput{SnapshotId: from, AvailabilityZone: zone, VolumeType: "gp2", Iops: aws.Int32(300)}, "InvalidParameterCombination"},
		"io2 without":           {sdk.CreateVolumeInput{SnapshotId: from, AvailabilityZone: zone, VolumeType: "io2"}, "MissingParameter"},
		"throughput over iops":  {sdk.CreateVolumeInput{SnapshotId: from, AvailabilityZone: zone, VolumeType: "gp3", Throughput: aws.Int32(1000)}, "InvalidParameterValue"},
		"initialization alone":  {sdk.CreateVolumeInput{Size: aws.Int32(1), AvailabilityZone: zone, VolumeInitializationRate: aws.Int32(100)}, "InvalidParameterCombination"},
		"initialization beyond": {sdk.CreateVolumeInput{SnapshotId: from, AvailabilityZone: zone, VolumeInitializationRate: aws.Int32(400)}, "InvalidParameterValue"},
	} {
		_, err := e.CreateVolume(t.Context(), &x.in)
		wantCode(t, name, err, x.code)
	}
	in := sdk.CreateVolumeInput{
		SnapshotId: from, AvailabilityZone: zone, VolumeType: "gp3", Iops: aws.Int32(4000), Throughput: aws.Int32(500), VolumeInitializationRate: aws.Int32(200),
		ClientToken: aws.String("t1"), TagSpecifications: []types.TagSpecification{{ResourceType: "volume", Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}},
	}
	v, err := e.CreateVolume(t.Context(), &in)
	wantCode(t, "create", err, "")
	if v.State != "creating" || *v.Size != 10 || !*v.Encrypted || *v.Iops != 4000 || *v.Throughput != 500 || *v.VolumeInitializationRate != 200 {
		t.Fatalf("created %+v", v)
	}
	again, err := e.CreateVolume(t.Context(), &in)
	wantCode(t, "the same token", err, "")
	if *again.VolumeId != *v.VolumeId {
		t.Fatalf("the same token made %s beside %s", *again.VolumeId, *v.VolumeId)
	}
	in.Size = aws.Int32(11)
	_, err = e.CreateVolume(t.Context(), &in)
	wantCode(t, "the token with another request", err, "IdempotentParameterMismatch")
	c.Advance(time.Second)
	d, err := e.DescribeVolumes(t.Context(), &sdk.DescribeVolumesInput{Filters: []types.Filter{{Name: aws.String("tag:a"), Values: []string{"b"}}, {Name: aws.String("status"), Values: []string{"available"}}}})
	wantCode(t, "describe", err, "")
	if len(d.Volumes) != 1 || *d.Volumes[0].VolumeId != *v.VolumeId {
		t.Fatalf("found %+v", d.Volumes)
	}
	i, err := c.AddInstance(fake.Instance{Zone: *zone, Volumes: []fake.Attachment{{Device: "/dev/xvda", VolumeID: *v.VolumeId}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.DeleteVolume(t.Context(), &sdk.DeleteVolumeInput{VolumeId: v.VolumeId})
	wantCode(t, "delete what is attached to "+i, err, "VolumeInUse")
	if err := c.Detach(*v.VolumeId); err != nil {
		t.Fatal(err)
	}
	_, err = e.DeleteVolume(t.Context(), &sdk.DeleteVolumeInput{VolumeId: v.VolumeId})
	wantCode(t, "delete", err, "")
	_, err = e.DescribeVolumes(t.Context(), &sdk.DescribeVolumesInput{VolumeIds: []string{*v.VolumeId}})
	wantCode(t, "gone", err, "InvalidVolume.NotFound")
}

func TestInstance(t *testing.T) {
	c := cloud(fake.Options{})
	e := client(c, east, fake.DefaultAccount)
	root, one, two := add(t, c, fake.Volume{}), add(t, c, fake.Volume{}), add(t, c, fake.Volume{})
	id, err := c.AddInstance(fake.Instance{Zone: east + "a", Volumes: []fake.Attachment{{"/dev/xvda", root}, {"/dev/xvdb", one}, {"/dev/xvdc", two}}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := e.DescribeInstances(t.Context(), &sdk.DescribeInstancesInput{InstanceIds: []string{id}})
	wantCode(t, "describe", err, "")
	if got := d.Reservations[0].Instances[0]; len(got.BlockDeviceMappings) != 3 || *got.RootDeviceName != "/dev/xvda" || *got.Placement.AvailabilityZone != east+"a" {
		t.Fatalf("instance %+v", got)
	}
	_, err = e.CreateSnapshots(t.Context(), &sdk.CreateSnapshotsInput{InstanceSpecification: &types.InstanceSpecification{InstanceId: &id, ExcludeDataVolumeIds: []string{"vol-0"}}})
	wantCode(t, "exclude what is not attached", err, "InvalidParameterValue")
	made, err := e.CreateSnapshots(t.Context(), &sdk.CreateSnapshotsInput{InstanceSpecification: &types.InstanceSpecification{InstanceId: &id, ExcludeBootVolume: aws.Bool(true), ExcludeDataVolumeIds: []string{two}}})
	wantCode(t, "create", err, "")
	if len(made.Snapshots) != 1 || *made.Snapshots[0].VolumeId != one || made.Snapshots[0].State != "pending" {
		t.Fatalf("made %+v", made.Snapshots)
	}
	_, err = e.CreateSnapshots(t.Context(), &sdk.CreateSnapshotsInput{InstanceSpecification: &types.InstanceSpecification{InstanceId: &id}})
	wantCode(t, "all of them, one too soon", err, "SnapshotCreationPerVolumeRateExceeded")
	if n := len(c.Snapshots("", "")); n != 1 {
		t.Fatalf("a call that failed left %d snapshots", n-1)
	}
}

func TestPermissions(t *testing.T) {
	c := cloud(fake.Options{})
	e := client(c, east, fake.DefaultAccount)
	vol := add(t, c, fake.Volume{})
	tagged := sdk.CreateSnapshotInput{VolumeId: &vol, TagSpecifications: []types.TagSpecification{{ResourceType: "snapshot", Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}}}
	c.Allow(fake.DefaultAccount, []string{"ec2:CreateSnapshot", "ec2:Describe*", "ec2:CopySnapshot"})
	_, err := e.CreateSnapshot(t.Context(), &tagged)
	wantCode(t, "tags without ec2:CreateTags", err, "UnauthorizedOperation")
	_, err = e.DeleteSnapshot(t.Context(), &sdk.DeleteSnapshotInput{SnapshotId: aws.String("snap-0"), DryRun: aws.Bool(true)})
	wantCode(t, "dry run without permission", err, "UnauthorizedOperation")
	_, err = e.CreateSnapshot(t.Context(), &sdk.CreateSnapshotInput{VolumeId: &vol, DryRun: aws.Bool(true)})
	wantCode(t, "dry run", err, "DryRunOperation")
	if n := len(c.Snapshots("", "")); n != 0 {
		t.Fatalf("%d snapshots", n)
	}
	made, err := e.CopySnapshot(t.Context(), &sdk.CopySnapshotInput{SourceRegion: aws.String(east), SourceSnapshotId: stored(t, c, fake.Snapshot{}), Encrypted: aws.Bool(true), KmsKeyId: aws.String("k1")})
	wantCode(t, "copy with a key, without KMS", err, "")
	c.Advance(time.Minute)
	if s := state(t, e, made.SnapshotId); s.State != "error" || aws.ToString(s.StateMessage) == "" {
		t.Fatalf("ended %s: %s", s.State, aws.ToString(s.StateMessage))
	}
	c.Allow(fake.DefaultAccount, nil)
	c.ForgetCalls()
	_, err = e.CreateSnapshot(t.Context(), &tagged)
	wantCode(t, "allowed again", err, "")
	if got, want := c.Needed(fake.DefaultAccount), []string{"ec2:CreateSnapshot", "ec2:CreateTags"}; !slices.Equal(got, want) {
		t.Fatalf("needed %v, want %v", got, want)
	}
}

// broken is a backing that fails.
type broken struct{ fake.Backing }

func (broken) Snapshot(context.Context, string, string) error { return errors.New("disk full") }

func TestFaults(t *testing.T) {
	c := cloud(fake.Options{})
	server := httptest.NewServer(c)
	defer server.Close()
	for name, e := range map[string]*sdk.Client{
		"in process": client(c, east, fake.DefaultAccount),
		"socket":     sdk.New(sdk.Options{Region: east, BaseEndpoint: &server.URL, Retryer: aws.NopRetryer{}, Credentials: aws.CredentialsProviderFunc(credentials(fake.DefaultAccount))}),
	} {
		t.Run(name, func(t *testing.T) {
			a, b := add(t, c, fake.Volume{}), add(t, c, fake.Volume{})
			snap := func(ctx context.Context, id string) error {
				_, err := e.CreateSnapshot(ctx, &sdk.CreateSnapshotInput{VolumeId: &id})
				return err
			}
			c.AddFault(fake.Fault{Action: "CreateSnapshot", With: a, Skip: 1, Times: 1, Error: &fake.Failure{Code: "Unavailable"}})
			wantCode(t, "skipped", snap(t.Context(), a), "")
			c.Advance(15 * time.Second)
			wantCode(t, "another volume", snap(t.Context(), b), "")
			wantCode(t, "hit", snap(t.Context(), a), "Unavailable")
			wantCode(t, "over", snap(t.Context(), a), "")
			before := len(c.Snapshots("", ""))
			c.AddFault(fake.Fault{Action: "CreateSnapshot", Lose: true})
			c.Advance(15 * time.Second)
			if err := snap(t.Context(), a); err == nil {
				t.Fatal("a lost answer arrived")
			}
			if n := len(c.Snapshots("", "")); n != before+1 {
				t.Fatalf("a lost answer made %d snapshots", n-before)
			}
			c.ClearFaults()
			c.AddFault(fake.Fault{Action: "CreateSnapshot", Hang: true})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := snap(ctx, b); err == nil {
				t.Fatal("an answer from what hangs")
			}
			c.ClearFaults()
			if n := len(c.Snapshots("", "")); n != before+1 {
				t.Fatalf("what hangs made %d snapshots", n-before-1)
			}
		})
	}
	c = cloud(fake.Options{Backing: broken{}})
	id := add(t, c, fake.Volume{})
	_, err := client(c, east, fake.DefaultAccount).CreateSnapshot(t.Context(), &sdk.CreateSnapshotInput{VolumeId: &id})
	wantCode(t, "backing", err, "InternalError")
	if n := len(c.Snapshots("", "")); n != 0 {
		t.Fatalf("%d snapshots without bytes", n)
	}
}
