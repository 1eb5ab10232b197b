package ebs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// oneInstance has all volumes of the CHT, and others, on one instance.
func oneInstance(t *testing.T, volumes, others int) (w *world, instance string) {
	t.Helper()
	w = newWorld(t, volumes)
	on := []fake.Attachment{{Device: "/dev/xvda", VolumeID: w.root()}}
	for i, n := range w.nodes {
		if err := w.Detach(n.Claim.EBS.VolumeID); err != nil {
			t.Fatal(err)
		}
		on = append(on, fake.Attachment{Device: fmt.Sprintf("/dev/xvdb%c", 'a'+i), VolumeID: n.Claim.EBS.VolumeID})
	}
	for i := range others {
		on = append(on, fake.Attachment{Device: fmt.Sprintf("/dev/xvdz%d", i), VolumeID: w.root()})
	}
	instance, err := w.AddInstance(fake.Instance{Zone: region + "a", Volumes: on})
	if err != nil {
		t.Fatal(err)
	}
	return w, instance
}

func TestOneCallCutsAllVolumesOfAnInstance(t *testing.T) {
	w, instance := oneInstance(t, 3, 2)
	b := backup(1)
	volumes, err := w.cut(b)
	if err != nil || len(volumes) != 3 || w.made("CreateSnapshots") != 1 || w.made("CreateSnapshot") != 0 {
		t.Fatalf("%d calls, %+v, %v", w.made("CreateSnapshots"), volumes, err)
	}
	if left := w.left(); len(left) != 3 || !strings.Contains(left[0].Description, instance) {
		t.Fatalf("it cut more than its own: %+v", left)
	}
	if err := w.Mark(t.Context(), b, pointers(volumes)...); err != nil {
		t.Fatal(err)
	}
	for i, v := range volumes {
		if v.EBS.VolumeID != w.nodes[i].Claim.EBS.VolumeID || v.Node != w.nodes[i].Service {
			t.Errorf("%+v", v)
		}
		if s := w.find(v.Handle); s.Tags[tags.Node] != v.Node || s.Tags[tags.DataSubPath] != "data" || s.Tags[tags.Complete] != "true" || s.VolumeID != v.EBS.VolumeID {
			t.Errorf("%+v", s)
		}
	}
	b.Status.Volumes = volumes
	w.discard(b)
	if left := w.left(); len(left) != 0 {
		t.Errorf("left behind: %+v", left)
	}
}

func (w *world) find(id string) fake.Snapshot {
	all := w.left()
	i := slices.IndexFunc(all, func(s fake.Snapshot) bool { return s.ID == id })
	if i < 0 {
		w.t.Fatalf("there is no snapshot %s", id)
	}
	return all[i]
}

// A volume that comes to the instance at the last moment is cut with the others. Its
// snapshot is ours to remove.
func TestAVolumeAttachedAtTheLastMoment(t *testing.T) {
	w, instance := oneInstance(t, 2, 0)
	b := backup(1)
	p := w.ready(b)
	if err := w.Attach(instance, fake.Attachment{Device: "/dev/xvdzz", VolumeID: w.root()}); err != nil {
		t.Fatal(err)
	}
	_, err := p.Make(t.Context())
	_ = wantReason(t, err, api.ReasonSnapshotFailed)
	if len(w.left()) != 3 {
		t.Fatalf("%d snapshots: this test proves nothing", len(w.left()))
	}
	w.discard(b)
	if left := w.left(); len(left) != 0 {
		t.Errorf("left behind: %+v", left)
	}
	// The next attempt sees it, and leaves it out.
	if _, err := w.cut(backup(2)); err != nil || len(w.left()) != 2 {
		t.Errorf("%d snapshots, %v", len(w.left()), err)
	}
}

func TestWhereOneCallCannotCutAll(t *testing.T) {
	for name, arrange := range map[string]func(w *world){
		"too many others": func(*world) {},
		"instances may not be looked at": func(w *world) {
			w.Allow(fake.DefaultAccount, []string{"ec2:DescribeVolumes", "ec2:CreateSnapshot", "ec2:CreateTags"})
		},
		"one is detached": func(w *world) {
			if err := w.Detach(w.nodes[0].Claim.EBS.VolumeID); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			others := 0
			if name == "too many others" {
				others = mostExcluded + 1
			}
			w, _ := oneInstance(t, 2, others)
			arrange(w)
			if _, err := w.cut(backup(1)); err != nil || w.made("CreateSnapshots") != 0 || w.made("CreateSnapshot") != 2 || len(w.left()) != 2 {
				t.Errorf("%d and %d calls, %d snapshots, %v", w.made("CreateSnapshots"), w.made("CreateSnapshot"), len(w.left()), err)
			}
		})
	}
}

func TestExcludingWithoutARoot(t *testing.T) {
	targets := []target{{volume: api.EBSVolume{VolumeID: "vol-1"}, node: cht.Node{}}}
	i := types.Instance{InstanceId: aws.String("i-1"), BlockDeviceMappings: []types.InstanceBlockDeviceMapping{{DeviceName: aws.String("/dev/sda1"), Ebs: &types.EbsInstanceBlockDevice{VolumeId: aws.String("vol-1")}}}}
	if spec := excluding(&i, targets); spec != nil {
		t.Errorf("nobody knows which is the root: %+v", spec)
	}
	i.RootDeviceName = aws.String("/dev/sda1")
	if spec := excluding(&i, targets); spec != nil {
		t.Errorf("the root itself is to be cut: %+v", spec)
	}
	i.RootDeviceName = aws.String("/dev/xvda")
	if spec := excluding(&i, targets); spec == nil || !*spec.ExcludeBootVolume || len(spec.ExcludeDataVolumeIds) != 0 {
		t.Errorf("%+v", spec)
	}
}
