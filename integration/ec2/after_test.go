package ec2_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	fake "github.com/medic/cht-backup/integration/ec2"
)

// stored adds a completed snapshot.
func stored(t *testing.T, c *fake.Cloud, s fake.Snapshot) *string {
	t.Helper()
	if s.Region == "" {
		s.Region = east
	}
	id, err := c.AddSnapshot(s)
	if err != nil {
		t.Fatal(err)
	}
	return &id
}

func state(t *testing.T, e *sdk.Client, id *string) types.Snapshot {
	t.Helper()
	d, err := e.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{SnapshotIds: []string{*id}})
	wantCode(t, "describe "+*id, err, "")
	return d.Snapshots[0]
}

func TestCopy(t *testing.T) {
	key := "arn:aws:kms:" + west + ":" + fake.DefaultAccount + ":key/k1"
	c := cloud(fake.Options{})
	e := client(c, west, fake.DefaultAccount)
	plain, encrypted := stored(t, c, fake.Snapshot{SizeGiB: 3}), stored(t, c, fake.Snapshot{SizeGiB: 3, Encrypted: true, KMSKeyID: fake.DefaultKey(fake.DefaultAccount, east)})
	for name, x := range map[string]struct {
		in    sdk.CopySnapshotInput
		code  string
		key   string
		state types.SnapshotState
	}{
		"plain":           {in: sdk.CopySnapshotInput{SourceSnapshotId: plain}, state: "completed"},
		"encrypted":       {in: sdk.CopySnapshotInput{SourceSnapshotId: encrypted}, key: fake.DefaultKey(fake.DefaultAccount, west), state: "completed"},
		"with a key":      {in: sdk.CopySnapshotInput{SourceSnapshotId: plain, Encrypted: aws.Bool(true), KmsKeyId: aws.String("k1")}, key: key, state: "completed"},
		"key of another":  {in: sdk.CopySnapshotInput{SourceSnapshotId: plain, Encrypted: aws.Bool(true), KmsKeyId: aws.String("arn:aws:kms:eu-west-1:1:key/k1")}, state: "error"},
		"key alone":       {in: sdk.CopySnapshotInput{SourceSnapshotId: plain, KmsKeyId: aws.String("k1")}, code: "InvalidParameterDependency"},
		"odd minutes":     {in: sdk.CopySnapshotInput{SourceSnapshotId: plain, CompletionDurationMinutes: aws.Int32(20)}, code: "InvalidParameterValue"},
		"missing source":  {in: sdk.CopySnapshotInput{SourceSnapshotId: aws.String("snap-0")}, code: "InvalidSnapshot.NotFound"},
		"pending source":  {in: sdk.CopySnapshotInput{SourceSnapshotId: stored(t, c, fake.Snapshot{State: fake.Pending})}, code: "IncorrectState"},
		"another account": {in: sdk.CopySnapshotInput{SourceSnapshotId: stored(t, c, fake.Snapshot{Account: other})}, code: "InvalidSnapshot.NotFound"},
		"shared":          {in: sdk.CopySnapshotInput{SourceSnapshotId: stored(t, c, fake.Snapshot{Account: other, SharedWith: []string{fake.DefaultAccount}}), CompletionDurationMinutes: aws.Int32(30)}, state: "completed"},
	} {
		t.Run(name, func(t *testing.T) {
			x.in.SourceRegion = aws.String(east)
			made, err := e.CopySnapshot(t.Context(), &x.in)
			wantCode(t, "copy", err, x.code)
			if x.code != "" {
				return
			}
			if s := state(t, e, made.SnapshotId); s.State != types.SnapshotStatePending || *s.OwnerId != fake.DefaultAccount {
				t.Fatalf("at first %+v", s)
			}
			c.Advance(20 * time.Second)
			s := state(t, e, made.SnapshotId)
			if s.State != x.state || aws.ToString(s.KmsKeyId) != x.key && x.state != "error" || *s.VolumeId != "vol-ffffffff" {
				t.Fatalf("in the end %s, key %s", s.State, aws.ToString(s.KmsKeyId))
			}
			if (s.TransferType == types.TransferTypeTimeBased) != (x.in.CompletionDurationMinutes != nil) {
				t.Fatalf("transfer type %s", s.TransferType)
			}
		})
	}
	for range 20 {
		_, err := e.CopySnapshot(t.Context(), &sdk.CopySnapshotInput{SourceRegion: aws.String(east), SourceSnapshotId: plain})
		wantCode(t, "one of 20 copies", err, "")
	}
	_, err := e.CopySnapshot(t.Context(), &sdk.CopySnapshotInput{SourceRegion: aws.String(east), SourceSnapshotId: plain})
	wantCode(t, "the 21st copy", err, "ResourceLimitExceeded")
}

func TestShare(t *testing.T) {
	c := cloud(fake.Options{})
	e, foreign := client(c, east, fake.DefaultAccount), client(c, east, other)
	share := func(id *string, m types.CreateVolumePermissionModifications, code string) {
		t.Helper()
		_, err := e.ModifySnapshotAttribute(t.Context(), &sdk.ModifySnapshotAttributeInput{SnapshotId: id, Attribute: types.SnapshotAttributeNameCreateVolumePermission, CreateVolumePermission: &m})
		wantCode(t, "share", err, code)
	}
	to := []types.CreateVolumePermission{{UserId: aws.String(other)}}
	share(stored(t, c, fake.Snapshot{Encrypted: true, KMSKeyID: fake.DefaultKey(fake.DefaultAccount, east)}), types.CreateVolumePermissionModifications{Add: to}, "OperationNotPermitted")
	id := stored(t, c, fake.Snapshot{})
	share(id, types.CreateVolumePermissionModifications{}, "InvalidParameterCombination")
	share(id, types.CreateVolumePermissionModifications{Add: to}, "")
	state(t, foreign, id)
	d, err := e.DescribeSnapshotAttribute(t.Context(), &sdk.DescribeSnapshotAttributeInput{SnapshotId: id, Attribute: types.SnapshotAttributeNameCreateVolumePermission})
	wantCode(t, "read back", err, "")
	if len(d.CreateVolumePermissions) != 1 || *d.CreateVolumePermissions[0].UserId != other {
		t.Fatalf("permissions %+v", d.CreateVolumePermissions)
	}
	_, err = foreign.DeleteSnapshot(t.Context(), &sdk.DeleteSnapshotInput{SnapshotId: id})
	wantCode(t, "delete of a shared one", err, "UnauthorizedOperation")
	share(id, types.CreateVolumePermissionModifications{Remove: to}, "")
	_, err = foreign.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{SnapshotIds: []string{*id}})
	wantCode(t, "no longer shared", err, "InvalidSnapshot.NotFound")
}

func TestLocks(t *testing.T) {
	c := cloud(fake.Options{})
	e := client(c, east, fake.DefaultAccount)
	id := stored(t, c, fake.Snapshot{})
	lock := func(what string, in sdk.LockSnapshotInput, code string, state types.LockState) {
		t.Helper()
		in.SnapshotId = id
		out, err := e.LockSnapshot(t.Context(), &in)
		wantCode(t, what, err, code)
		if err == nil && out.LockState != state {
			t.Fatalf("%s: %s, want %s", what, out.LockState, state)
		}
	}
	remove := func(what, code string) {
		t.Helper()
		_, err := e.DeleteSnapshot(t.Context(), &sdk.DeleteSnapshotInput{SnapshotId: id})
		wantCode(t, what, err, code)
	}
	unlock := func(what, code string) {
		t.Helper()
		_, err := e.UnlockSnapshot(t.Context(), &sdk.UnlockSnapshotInput{SnapshotId: id})
		wantCode(t, what, err, code)
	}
	unlock("not locked", "IncorrectState")
	lock("no duration", sdk.LockSnapshotInput{LockMode: "governance"}, "InvalidParameterCombination", "")
	lock("cool-off in governance", sdk.LockSnapshotInput{LockMode: "governance", LockDuration: aws.Int32(1), CoolOffPeriod: aws.Int32(1)}, "InvalidParameterCombination", "")
	lock("governance", sdk.LockSnapshotInput{LockMode: "governance", LockDuration: aws.Int32(5)}, "", "governance")
	remove("locked", "SnapshotLocked")
	unlock("governance", "")
	lock("compliance", sdk.LockSnapshotInput{LockMode: "compliance", LockDuration: aws.Int32(5), CoolOffPeriod: aws.Int32(2)}, "", "compliance-cooloff")
	c.Advance(time.Hour)
	lock("shorter while cooling off", sdk.LockSnapshotInput{LockMode: "compliance", LockDuration: aws.Int32(3), CoolOffPeriod: aws.Int32(1)}, "", "compliance-cooloff")
	c.Advance(time.Hour)
	unlock("after the cool-off", "IncorrectState")
	lock("shorter", sdk.LockSnapshotInput{LockMode: "compliance", LockDuration: aws.Int32(2)}, "IncorrectState", "")
	lock("another mode", sdk.LockSnapshotInput{LockMode: "governance", LockDuration: aws.Int32(4)}, "IncorrectState", "")
	lock("longer", sdk.LockSnapshotInput{LockMode: "compliance", LockDuration: aws.Int32(4)}, "", "compliance")
	d, err := e.DescribeLockedSnapshots(t.Context(), &sdk.DescribeLockedSnapshotsInput{SnapshotIds: []string{*id}})
	wantCode(t, "describe", err, "")
	if len(d.Snapshots) != 1 || d.Snapshots[0].LockState != "compliance" || *d.Snapshots[0].LockDuration != 4 || d.Snapshots[0].LockExpiresOn == nil {
		t.Fatalf("locked %+v", d.Snapshots)
	}
	c.Advance(96 * time.Hour)
	d, err = e.DescribeLockedSnapshots(t.Context(), &sdk.DescribeLockedSnapshotsInput{})
	wantCode(t, "describe", err, "")
	if len(d.Snapshots) != 1 || d.Snapshots[0].LockState != "expired" {
		t.Fatalf("in the end %+v", d.Snapshots)
	}
	remove("expired", "")
}

// A lock on a pending snapshot lasts from its completion.
func TestLockOfPending(t *testing.T) {
	c := cloud(fake.Options{})
	e := client(c, east, fake.DefaultAccount)
	vol := add(t, c, fake.Volume{})
	s, err := e.CreateSnapshot(t.Context(), &sdk.CreateSnapshotInput{VolumeId: &vol})
	wantCode(t, "create", err, "")
	l, err := e.LockSnapshot(t.Context(), &sdk.LockSnapshotInput{SnapshotId: s.SnapshotId, LockMode: "governance", LockDuration: aws.Int32(1)})
	wantCode(t, "lock", err, "")
	if l.LockDurationStartTime != nil || !l.LockExpiresOn.Equal(began.Add(10*time.Second+24*time.Hour)) {
		t.Fatalf("locked from %v until %v", l.LockDurationStartTime, l.LockExpiresOn)
	}
}

func TestFastRestore(t *testing.T) {
	c := cloud(fake.Options{})
	e := client(c, east, fake.DefaultAccount)
	var ids []string
	for range 7 {
		ids = append(ids, *stored(t, c, fake.Snapshot{SizeGiB: 1}))
	}
	on, err := e.EnableFastSnapshotRestores(t.Context(), &sdk.EnableFastSnapshotRestoresInput{SourceSnapshotIds: append(ids, "snap-0"), AvailabilityZones: []string{east + "a"}})
	wantCode(t, "enable", err, "")
	if len(on.Successful) != 5 || len(on.Unsuccessful) != 3 || aws.ToString(on.Unsuccessful[0].FastSnapshotRestoreStateErrors[0].Error.Code) == "" {
		t.Fatalf("enabled %d, not %d: %+v", len(on.Successful), len(on.Unsuccessful), on.Unsuccessful)
	}
	is := func(want types.FastSnapshotRestoreStateCode) {
		t.Helper()
		d, err := e.DescribeFastSnapshotRestores(t.Context(), &sdk.DescribeFastSnapshotRestoresInput{Filters: []types.Filter{{Name: aws.String("snapshot-id"), Values: ids[:1]}}})
		wantCode(t, "describe", err, "")
		if len(d.FastSnapshotRestores) != 1 || d.FastSnapshotRestores[0].State != want {
			t.Fatalf("%+v, want %s", d.FastSnapshotRestores, want)
		}
	}
	is("enabling")
	c.Advance(500 * time.Millisecond)
	is("optimizing")
	c.Advance(time.Second)
	is("enabled")
	v, err := e.CreateVolume(t.Context(), &sdk.CreateVolumeInput{AvailabilityZone: aws.String(east + "a"), SnapshotId: &ids[0]})
	wantCode(t, "volume", err, "")
	if !*v.FastRestored {
		t.Fatal("the volume is not fast restored")
	}
	off, err := e.DisableFastSnapshotRestores(t.Context(), &sdk.DisableFastSnapshotRestoresInput{SourceSnapshotIds: []string{ids[0], ids[6]}, AvailabilityZones: []string{east + "a"}})
	wantCode(t, "disable", err, "")
	if len(off.Successful) != 1 || len(off.Unsuccessful) != 1 {
		t.Fatalf("disabled %+v", off)
	}
	is("disabling")
	c.Advance(time.Second)
	is("disabled")
}

func TestTiers(t *testing.T) {
	c := cloud(fake.Options{})
	e := client(c, east, fake.DefaultAccount)
	id := stored(t, c, fake.Snapshot{SizeGiB: 1})
	is := func(tier types.StorageTier, last types.TieringOperationStatus) {
		t.Helper()
		if got := state(t, e, id).StorageTier; got != tier {
			t.Fatalf("tier %s, want %s", got, tier)
		}
		d, err := e.DescribeSnapshotTierStatus(t.Context(), &sdk.DescribeSnapshotTierStatusInput{Filters: []types.Filter{{Name: aws.String("snapshot-id"), Values: []string{*id}}}})
		wantCode(t, "status", err, "")
		if len(d.SnapshotTierStatuses) != 1 || d.SnapshotTierStatuses[0].LastTieringOperationStatus != last {
			t.Fatalf("%+v, want %s", d.SnapshotTierStatuses, last)
		}
	}
	_, err := e.RestoreSnapshotTier(t.Context(), &sdk.RestoreSnapshotTierInput{SnapshotId: id, PermanentRestore: aws.Bool(true)})
	wantCode(t, "restore of what is not archived", err, "IncorrectState")
	_, err = e.ModifySnapshotTier(t.Context(), &sdk.ModifySnapshotTierInput{SnapshotId: id, StorageTier: "archive"})
	wantCode(t, "archive", err, "")
	is("standard", "archival-in-progress")
	c.Advance(2 * time.Second)
	is("archive", "archival-completed")
	_, err = e.CreateVolume(t.Context(), &sdk.CreateVolumeInput{AvailabilityZone: aws.String(east + "a"), SnapshotId: id})
	wantCode(t, "volume of an archived one", err, "IncorrectState")
	_, err = e.RestoreSnapshotTier(t.Context(), &sdk.RestoreSnapshotTierInput{SnapshotId: id, TemporaryRestoreDays: aws.Int32(2)})
	wantCode(t, "restore", err, "")
	is("archive", "temporary-restore-in-progress")
	c.Advance(2 * time.Second)
	is("standard", "temporary-restore-completed")
	c.Advance(48 * time.Hour)
	is("archive", "temporary-restore-completed")
}
