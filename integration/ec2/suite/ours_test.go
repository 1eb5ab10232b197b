package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8s "k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/ebs"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// snapshotter is our code on the target.
func snapshotter(g *target) *ebs.Snapshotter {
	return &ebs.Snapshotter{Cloud: ebs.On(g.ours()), Cluster: func(context.Context) (string, error) { return "suite", nil }}
}

func backup(uid string) *api.Backup {
	return &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "cht", Name: "b-" + uid, UID: k8s.UID(uid)}, Status: api.BackupStatus{Attempt: 1}}
}

// instance is a CHT of three nodes; together has them on one EC2 instance.
func instance(ctx context.Context, g *target, together bool) (nodes []cht.Node, err error) {
	var volumes []string
	for i := range 3 {
		vol, err := g.volume(ctx, ec2.CreateVolumeInput{})
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, vol)
		service := fmt.Sprintf("couchdb-%d", i+1)
		nodes = append(nodes, cht.Node{
			Service: service, ErlangName: "couchdb@" + service, DataSubPath: "data",
			Claim: cht.Claim{Name: service + "-claim", Driver: cht.EBSDriver, EBS: &cht.EBS{VolumeID: vol, Zone: east + "a"}},
		})
	}
	if together {
		_, err = g.instance(ctx, volumes...)
	}
	return nodes, err
}

// take makes a backup's cut and waits until it is kept.
func take(ctx context.Context, s *ebs.Snapshotter, b *api.Backup, nodes []cht.Node) error {
	p, err := s.Prepare(ctx, b, nodes)
	if err != nil {
		return must("prepare", err)
	}
	defer p.Done()
	b.Status.Volumes = p.Volumes
	if err := p.Warm(ctx); err != nil {
		return must("warm", err)
	}
	if b.Status.Volumes, err = p.Make(ctx); err != nil {
		return must("cut", err)
	}
	var all []*api.VolumeStatus
	for i := range b.Status.Volumes {
		all = append(all, &b.Status.Volumes[i])
	}
	if err := s.Mark(ctx, b, all...); err != nil {
		return must("mark", err)
	}
	if err := wait(ctx, func() (bool, error) {
		err := s.Refresh(ctx, nil, all...)
		return !slices.ContainsFunc(b.Status.Volumes, func(v api.VolumeStatus) bool { return !v.Ready }), err
	}); err != nil {
		return must("refresh", err)
	}
	return must("keep", s.Keep(ctx, b, all...))
}

// whole reads a backup's set by its tags.
func whole(ctx context.Context, g *target, b *api.Backup) (tags.Set, error) {
	d, err := g.ec2(east).DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{tagged(tags.BackupUID, string(b.UID))}})
	if err != nil {
		return tags.Set{}, err
	}
	var all []tags.Snapshot
	for _, s := range d.Snapshots {
		one := tags.Snapshot{ID: *s.SnapshotId, Region: east, Account: aws.ToString(s.OwnerId), VolumeID: aws.ToString(s.VolumeId), State: string(s.State), Tags: map[string]string{}}
		for _, t := range s.Tags {
			one.Tags[*t.Key] = aws.ToString(t.Value)
		}
		all = append(all, one)
	}
	sets, strays := tags.Reassemble(all)
	if len(sets) != 1 || len(strays) > 0 || !sets[0].Whole() {
		return tags.Set{}, fmt.Errorf("%d snapshots make the sets %+v, strays %+v", len(all), sets, strays)
	}
	return sets[0], nil
}

// gone discards a backup until nothing is left.
func gone(ctx context.Context, g *target, s *ebs.Snapshotter, b *api.Backup) error {
	if err := wait(ctx, func() (bool, error) { left, err := s.Discard(ctx, b); return left == 0, err }); err != nil {
		return must("discard", err)
	}
	d, err := g.ec2(east).DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{tagged(tags.BackupUID, string(b.UID))}})
	if err == nil && len(d.Snapshots) > 0 {
		err = fmt.Errorf("%d snapshots are left", len(d.Snapshots))
	}
	return err
}

func backupCase(uid string, together bool) func(ctx context.Context, g *target) error {
	return func(ctx context.Context, g *target) error {
		nodes, err := instance(ctx, g, together)
		if err != nil {
			return err
		}
		s, b := snapshotter(g), backup(uid)
		if err := take(ctx, s, b, nodes); err != nil {
			return err
		}
		set, err := whole(ctx, g, b)
		if err != nil {
			return err
		}
		for i, m := range set.Members {
			if v := b.Status.Volumes[i]; m.Node != v.Node || m.Snapshot.ID != v.Handle || m.Snapshot.VolumeID != nodes[i].Claim.EBS.VolumeID || m.NodeName != nodes[i].ErlangName || m.DataSubPath != "data" {
				return fmt.Errorf("by its tags member %d is %+v, by the status %+v", i, m, v)
			}
		}
		return gone(ctx, g, s, b)
	}
}

var oursCases = []behaviour{
	{"a backup of volumes on several instances", backupCase("uid-apart", false)},
	{"a backup of volumes on one instance", backupCase("uid-together", true)},
	{"a backup whose answer was lost leaves nothing", func(ctx context.Context, g *target) error {
		if g.cloud == nil {
			return errors.New("it loses no answer")
		}
		nodes, err := instance(ctx, g, false)
		if err != nil {
			return err
		}
		s, b := snapshotter(g), backup("uid-lost")
		p, err := s.Prepare(ctx, b, nodes)
		if err != nil {
			return err
		}
		defer p.Done()
		b.Status.Volumes = p.Volumes
		g.cloud.AddFault(fake.Fault{Action: "CreateSnapshot", With: nodes[1].Claim.EBS.VolumeID, Lose: true})
		defer g.cloud.ClearFaults()
		if _, err := p.Make(ctx); err == nil {
			return errors.New("a cut without an answer is no error")
		}
		return gone(ctx, g, s, b)
	}},
}

// An independent client sees the set that our code has made.
func TestCommandLine(t *testing.T) {
	program, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the aws command is not installed, so there is no other client to ask")
	}
	for name, start := range map[string]func(*testing.T) *target{"fake": startFake, "moto": startMoto} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t)
			nodes, err := instance(t.Context(), g, false)
			if err != nil {
				t.Fatal(err)
			}
			s, b := snapshotter(g), backup("uid-cli")
			if err := take(t.Context(), s, b, nodes); err != nil {
				t.Fatal(err)
			}
			set, err := whole(t.Context(), g, b)
			if err != nil {
				t.Fatal(err)
			}
			ask := exec.CommandContext(t.Context(), program, "ec2", "describe-snapshots", "--owner-ids", "self", "--output", "json", "--page-size", "5",
				"--filters", "Name=tag:"+tags.Instance+",Values=suite/cht", "Name=tag:"+tags.Complete+",Values=true")
			ask.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "AWS_") }),
				"AWS_ACCESS_KEY_ID="+fake.AccessKey(g.account), "AWS_SECRET_ACCESS_KEY=none", "AWS_DEFAULT_REGION="+east, "AWS_REGION="+east,
				"AWS_ENDPOINT_URL="+g.url, "AWS_PAGER=", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
			out, err := ask.Output()
			if err != nil {
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					t.Fatalf("aws: %s", exit.Stderr)
				}
				t.Fatal(err)
			}
			if got, want := seen(t, out), said(set); got != want {
				t.Fatalf("aws says\n%s\nwe say\n%s", got, want)
			}
		})
	}
}

// seen is a set as the aws command lists it.
func seen(t *testing.T, out []byte) string {
	t.Helper()
	var list struct {
		Snapshots []struct {
			SnapshotID string `json:"SnapshotId"`
			VolumeID   string `json:"VolumeId"`
			State      string
			Tags       []struct{ Key, Value string }
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range list.Snapshots {
		of := map[string]string{}
		for _, tag := range s.Tags {
			of[tag.Key] = tag.Value
		}
		lines = append(lines, strings.Join([]string{of[tags.Node], of[tags.Claim], of[tags.CutTime], of[tags.SetSize], s.SnapshotID, s.VolumeID, s.State}, " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// said is the set as our code reads it.
func said(set tags.Set) string {
	var lines []string
	for _, m := range set.Members {
		lines = append(lines, strings.Join([]string{m.Node, m.Claim, set.CutTime.Format("2006-01-02T15:04:05.000000Z"), fmt.Sprint(set.Size), m.Snapshot.ID, m.Snapshot.VolumeID, m.Snapshot.State}, " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
