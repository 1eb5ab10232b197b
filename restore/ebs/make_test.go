package ebs

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Whoever is killed makes every volume once, whether EC2 lists what it made, or not
// yet, and whether anything was noted, or not.
func TestMadeOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		noted  bool
		hidden bool
	}{{"listed, not noted", false, false}, {"noted, not listed yet", true, true}, {"neither: the token finds it", false, true}} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud()
			first := ids(t, c, nil)
			if len(c.volumes) != 3 {
				t.Fatalf("made %v", c.volumes)
			}
			known := map[string]string{}
			if tt.noted {
				known = first
			}
			for id := range c.volumes {
				c.hidden[id] = tt.hidden
			}
			if again := ids(t, c, known); !maps.Equal(first, again) || len(c.volumes) != 3 {
				t.Errorf("%v, then %v: %d volumes", first, again, len(c.volumes))
			}
		})
	}
}

// An abort does not keep the answer from being heard.
func TestMakeIsHeardOut(t *testing.T) {
	c := newCloud()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := Make(ctx, c, orders(), nil); err != nil || len(got) != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

// What one volume lacks does not make the others forgotten, and the reason is told.
func TestMakeFails(t *testing.T) {
	for code, want := range map[string]string{"UnauthorizedOperation": api.ReasonAccessDenied, "InvalidSnapshot.NotFound": api.ReasonSnapshotMissing,
		"VolumeLimitExceeded": api.ReasonVolumeFailed, "RequestLimitExceeded": "", "InternalError": ""} {
		c, n := newCloud(), 0
		c.fail = func(call string) string {
			if call == "CreateVolume" {
				if n++; n == 2 {
					return code
				}
			}
			return ""
		}
		got, err := Make(t.Context(), c, orders(), nil)
		why := ""
		if e := reason.Of(err); e != nil {
			why = e.Reason
		}
		if len(got) != 2 || err == nil || why != want || !strings.Contains(err.Error(), "snap-") {
			t.Errorf("%s: %v, %q %v", code, got, why, err)
		}
	}
}

func TestAvailable(t *testing.T) {
	c := newCloud()
	made := ids(t, c, nil)
	settled := map[string]bool{}
	if waitingFor, err := Available(t.Context(), c, orders(), made, settled); err != nil || waitingFor != "" || len(settled) != 3 {
		t.Errorf("all are there: %q, %v", waitingFor, err)
	}
	c.volumes[made["couchdb-2"]].State = types.VolumeStateCreating
	if waitingFor, err := Available(t.Context(), c, orders(), made, settled); err != nil || !strings.Contains(waitingFor, made["couchdb-2"]+" (couchdb-2)") || strings.Contains(waitingFor, "couchdb-1") {
		t.Errorf("one is made: %q, %v", waitingFor, err)
	}
	encrypted := orders(func(r *api.Restore) { r.Spec.EBS = &api.EBSRestore{KMSKeyID: "alias/theirs"} })
	delete(c.volumes, made["couchdb-2"])
	if waitingFor, err := Available(t.Context(), c, encrypted, made, map[string]bool{}); err != nil || !strings.Contains(waitingFor, "does not list") {
		t.Errorf("one is not listed yet: %q, %v", waitingFor, err)
	}
	if _, err := Available(t.Context(), c, encrypted, made, settled); reason.Of(err) == nil || reason.Of(err).Reason != api.ReasonVolumeFailed || !strings.Contains(err.Error(), "alias/theirs") {
		t.Errorf("one is given up: %v", err)
	}
	c.volumes[made["couchdb-1"]].State = types.VolumeStateError
	if _, err := Available(t.Context(), c, encrypted, made, settled); reason.Of(err) == nil || reason.Of(err).Reason != api.ReasonVolumeFailed {
		t.Errorf("one failed: %v", err)
	}
}

// Nothing is deleted but what bears the restore's tag, on the nodes named, and has no
// PersistentVolume.
func TestDrop(t *testing.T) {
	c := newCloud()
	made := ids(t, c, nil)
	foreign := func(id string, tags ...string) {
		v := &types.Volume{VolumeId: &id, State: types.VolumeStateAvailable}
		for i := 0; i < len(tags); i += 2 {
			v.Tags = append(v.Tags, types.Tag{Key: &tags[i], Value: &tags[i+1]})
		}
		c.volumes[id] = v
	}
	foreign("vol-other-restore", restoreTag, "uid-2", nodeTag, "couchdb-1")
	foreign("vol-of-nobody", nodeTag, "couchdb-1")
	foreign("vol-no-node", restoreTag, "uid-1")
	foreign("vol-other-node", restoreTag, "uid-1", nodeTag, "couchdb-9")
	nodes := []string{"couchdb-1", "couchdb-2", "couchdb-3"}
	c.volumes[made["couchdb-3"]].State = types.VolumeStateInUse
	waitingFor, err := Drop(t.Context(), c, "uid-1", nodes, func(id string) bool { return id == made["couchdb-2"] })
	if err != nil || !strings.Contains(waitingFor, made["couchdb-3"]) || len(c.deleted) != 1 || c.deleted[0] != made["couchdb-1"] {
		t.Errorf("deleted %v, waiting for %q, %v", c.deleted, waitingFor, err)
	}
	c.volumes[made["couchdb-3"]].State = types.VolumeStateAvailable
	if waitingFor, err = Drop(t.Context(), c, "uid-1", nodes, func(string) bool { return false }); err != nil || waitingFor != "" || len(c.deleted) != 3 || len(c.volumes) != 4 {
		t.Errorf("deleted %v, waiting for %q, %v; left %v", c.deleted, waitingFor, err, c.volumes)
	}
	ids(t, c, nil)
	c.fail = func(call string) string { return map[string]string{"DeleteVolume": "IncorrectState"}[call] }
	if waitingFor, err = Drop(t.Context(), c, "uid-1", nodes, func(string) bool { return false }); err != nil || !strings.Contains(waitingFor, "IncorrectState") {
		t.Errorf("waiting for %q, %v", waitingFor, err)
	}
}

func TestUsable(t *testing.T) {
	const key = "arn:aws:kms:eu-west-1:222233334444:key/1"
	good := func(n string) types.Snapshot {
		return types.Snapshot{SnapshotId: new("snap-" + n), State: types.SnapshotStateCompleted, OwnerId: new("111122223333"), VolumeSize: new(int32(10))}
	}
	for _, tt := range []struct {
		name   string
		change func(*types.Snapshot)
		reason string
		says   string
	}{
		{"good", func(*types.Snapshot) {}, "", ""},
		{"pending", func(s *types.Snapshot) { s.State, s.Progress = types.SnapshotStatePending, new("41%") }, api.ReasonBackupNotReady, "41%"},
		{"failed", func(s *types.Snapshot) { s.State = types.SnapshotStateError }, api.ReasonSnapshotMissing, "failed in EC2"},
		{"archived", func(s *types.Snapshot) { s.StorageTier = types.StorageTierArchive }, api.ReasonSnapshotArchived, "restore-snapshot-tier --region eu-west-1 --snapshot-id snap-2"},
		{"in the bin", func(s *types.Snapshot) { s.State = types.SnapshotStateRecoverable }, api.ReasonSnapshotMissing, "restore-snapshot-from-recycle-bin"},
		{"gone", func(s *types.Snapshot) { s.SnapshotId = new("snap-x") }, api.ReasonSnapshotMissing, "snap-2"},
		{"of a foreign key", func(s *types.Snapshot) { s.Encrypted, s.KmsKeyId = new(true), new(key) }, "", key},
		{"of its owner's key", func(s *types.Snapshot) { s.Encrypted, s.KmsKeyId, s.OwnerId = new(true), new(key), new("222233334444") }, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud()
			second := good("2")
			tt.change(&second)
			c.snapshots = []types.Snapshot{good("1"), second, good("3")}
			cautions, err := Usable(t.Context(), c, orders())
			why, said := "", strings.Join(cautions, " ")
			if e := reason.Of(err); e != nil {
				why, said = e.Reason, err.Error()
			}
			if why != tt.reason || !strings.Contains(said, tt.says) || tt.says == "" && said != "" {
				t.Errorf("%q %s, %v", why, said, err)
			}
		})
	}
}

// Permission is asked for without making anything, and told once.
func TestAllowed(t *testing.T) {
	c := newCloud()
	if err := Allowed(t.Context(), c, orders()); err != nil || len(c.volumes) != 0 {
		t.Errorf("%v, made %v", err, c.volumes)
	}
	asked := 0
	c.fail = func(call string) string { asked++; return "UnauthorizedOperation" }
	err := Allowed(t.Context(), c, orders())
	if e := reason.Of(err); e == nil || e.Reason != api.ReasonAccessDenied || asked != 1 || !strings.Contains(err.Error(), "restore.json") {
		t.Errorf("asked %d times: %v", asked, err)
	}
}
