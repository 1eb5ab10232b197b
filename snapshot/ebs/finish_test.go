package ebs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	api "github.com/medic/cht-backup/api/v1alpha1"
	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/ebs/account"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

func TestWhatBecomesOfASnapshot(t *testing.T) {
	for _, tt := range []struct {
		name    string
		arrange func(w *world, v *api.VolumeStatus)
		text    string // of the final error; "" for none
		ready   bool
	}{
		{name: "completed", arrange: func(w *world, _ *api.VolumeStatus) { w.Advance(time.Hour) }, ready: true},
		{name: "pending for long", arrange: func(w *world, _ *api.VolumeStatus) {
			w.Advance(59 * time.Second) // of the minute it takes
		}},
		{name: "an error", arrange: func(w *world, v *api.VolumeStatus) {
			if err := w.End(v.Handle, "Given key ID is not accessible"); err != nil {
				w.t.Fatal(err)
			}
		}, text: "Given key ID is not accessible"},
		{name: "somebody deleted it", arrange: func(w *world, v *api.VolumeStatus) {
			w.Advance(time.Hour)
			v.Handle = "snap-0123456789abcdef0"
		}, text: "somebody deleted it"},
		{name: "not seen yet", arrange: func(_ *world, v *api.VolumeStatus) { v.Handle = "snap-0123456789abcdef0" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 2)
			volumes, err := w.cut(backup(1))
			if err != nil {
				t.Fatal(err)
			}
			tt.arrange(w, &volumes[1])
			err = w.Refresh(t.Context(), nil, pointers(volumes)...)
			if tt.text == "" {
				if err != nil || volumes[1].Ready != tt.ready {
					t.Errorf("ready %v, %v", volumes[1].Ready, err)
				}
				return
			}
			if e := wantReason(t, err, api.ReasonSnapshotFailed); !e.Final || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), "couchdb-2") {
				t.Errorf("final %v: %v", e.Final, err)
			}
		})
	}
}

// Somebody who may tag writes our tags on a snapshot that he wants gone.
func TestAForgedSnapshotIsNotDeleted(t *testing.T) {
	w := newWorld(t, 2)
	b := backup(1)
	volumes, err := w.cut(b)
	if err != nil {
		t.Fatal(err)
	}
	ours := w.find(volumes[0].Handle)
	forge := func(change func(*fake.Snapshot)) string {
		s := fake.Snapshot{Region: region, VolumeID: ours.VolumeID, SizeGiB: 1, Tags: ours.Tags, Description: ours.Description}
		change(&s)
		id, err := w.AddSnapshot(s)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	foreign := []string{
		forge(func(s *fake.Snapshot) { s.Description = "the payroll" }),
		forge(func(s *fake.Snapshot) { s.Description = "" }),
		forge(func(s *fake.Snapshot) { s.VolumeID = "vol-0bbbbbbbbbbbbbbbb" }), // of the description's volume it is not
		forge(func(s *fake.Snapshot) {
			s.VolumeID = "vol-0bbbbbbbbbbbbbbbb"
			s.Description = description(b, "1", s.VolumeID) // not one that was to be cut
		}),
		forge(func(s *fake.Snapshot) { s.Description = description(b, "1", "i-of-nothing") }),
		forge(func(s *fake.Snapshot) { s.Tags = map[string]string{tags.BackupUID: string(b.UID)} }),
		forge(func(s *fake.Snapshot) {
			s.Tags = map[string]string{tags.BackupUID: string(b.UID), tags.Backup: "another", tags.Namespace: ns, tags.Attempt: "1"}
		}),
	}
	for i := range b.Status.Volumes { // as of an attempt that broke off
		b.Status.Volumes[i].Handle = ""
	}
	w.restart()
	w.discard(b)
	if left := w.left(); len(left) != len(foreign) {
		t.Errorf("%d of %d foreign snapshots are left: %+v", len(left), len(foreign), left)
	}
	// Nor one whose id somebody wrote into the status.
	b.Status.Phase, b.Status.Volumes[0].Handle, b.Status.Volumes[1].Handle = api.PhaseCompleted, foreign[0], foreign[1]
	w.discard(b)
	if left := w.left(); len(left) != len(foreign) {
		t.Errorf("%d of %d foreign snapshots are left", len(left), len(foreign))
	}
	if err := w.Keep(t.Context(), b, &b.Status.Volumes[0]); err == nil {
		t.Error("a foreign snapshot was marked as the backup's")
	}
}

func TestWhatEC2DoesNotLetGoIsNamedAndCounted(t *testing.T) {
	for _, word := range []string{"SnapshotLocked", "InvalidSnapshot.InUse"} {
		w := newWorld(t, 2)
		b := backup(1)
		volumes, err := w.cut(b)
		if err != nil {
			t.Fatal(err)
		}
		b.Status.Phase = api.PhaseCompleted
		w.AddFault(fake.Fault{Action: "DeleteSnapshot", With: volumes[0].Handle, Error: &fake.Failure{Code: word, Message: "it is needed"}})
		left, err := w.Discard(t.Context(), b)
		if left != 1 || err == nil || !strings.Contains(err.Error(), volumes[0].Handle) || !strings.Contains(err.Error(), word) {
			t.Errorf("%d left, %v", left, err)
		}
		if s := w.left(); len(s) != 1 {
			t.Errorf("%d snapshots are left: the others go all the same", len(s))
		}
		w.ClearFaults()
		w.discard(b)
		if s := w.left(); len(s) != 0 {
			t.Errorf("%d snapshots are left", len(s))
		}
	}
}

// The mark that failed is made up for when the snapshots are ready.
func TestKeepMarksWhatIsNotMarkedYet(t *testing.T) {
	w := newWorld(t, 2)
	b := backup(1)
	volumes, err := w.cut(b)
	if err != nil {
		t.Fatal(err)
	}
	w.AddFault(fake.Fault{Action: "CreateTags", Times: 1, Error: &fake.Failure{Code: "InvalidParameterValue"}})
	if err := w.Mark(t.Context(), b, pointers(volumes)...); err == nil {
		t.Fatal("the mark did not fail: this test proves nothing")
	}
	w.restart()
	if err := w.Keep(t.Context(), b, pointers(volumes)...); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Hour)
	if sets := w.reassemble(); len(sets) != 1 || !sets[0].Whole() {
		t.Errorf("%+v", sets)
	}
}

// An attempt that failed before its cut costs no call to EC2.
func TestNothingWasCut(t *testing.T) {
	w := newWorld(t, 2)
	b := backup(1)
	w.ready(b)
	w.ForgetCalls()
	if left, err := w.Discard(t.Context(), b); left != 0 || err != nil || len(w.Calls()) != 0 {
		t.Errorf("%d left, %v, calls %+v", left, err, w.Calls())
	}
}

func TestWhatCannotBeCutSaysWhatToDo(t *testing.T) {
	for _, tt := range []struct {
		name    string
		arrange func(w *world)
		text    string
	}{
		{"no credentials", func(w *world) {
			w.account(func(s *account.Settings) {
				s.Load = append(s.Load, config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
					return aws.Credentials{}, errors.New("no EC2 IMDS role found")
				})))
			})
		}, "IRSA"},
		{"no Region", func(w *world) {
			w.t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			w.account(func(s *account.Settings) { s.Load = append(s.Load, config.WithRegion("")) })
			w.nodes[0].Claim.EBS.Zone = ""
		}, "AWS_REGION"},
		{"no such volume", func(w *world) { w.nodes[0].Claim.EBS.VolumeID = "vol-0123456789abcdef0" }, "check the Region"},
		{"another Region", func(w *world) { w.nodes[0].Claim.EBS.Zone = "" }, "us-east-1"},
		{"no EBS volume", func(w *world) { w.nodes[0].Claim.EBS = nil }, "couchdb-claim0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 1)
			tt.arrange(w)
			_, err := w.Prepare(t.Context(), backup(1), w.nodes)
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("%v", err)
			}
		})
	}
	// A node's label says the zone where the volume does not.
	w := newWorld(t, 1)
	w.nodes[0].Claim.EBS.Zone = ""
	w.nodes[0].Pod.NodeName = "worker-1"
	w.ZoneOf = func(_ context.Context, node string) string { return map[string]string{"worker-1": region + "a"}[node] }
	if _, err := w.cut(backup(1)); err != nil {
		t.Error(err)
	}
}
