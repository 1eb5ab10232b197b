package after

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const (
	// optimizing takes an hour for a TiB.
	fastPoll = 2 * time.Minute
	// recheck finds what changed without an event, as that a backup was found bad.
	recheck = time.Hour
)

// newestFast names the backups of b's group that are to have fast restore: the newest
// good ones of its schedule, as many as the newest of them asks for, so that a schedule
// that asks for it no more ends it with its next backup. Of those that no schedule
// made, only those that ask for it count.
func newestFast(b *api.Backup, all []api.Backup) map[string]bool {
	schedule := b.Labels[api.ScheduleLabel]
	var group []*api.Backup
	for i := range all {
		o := &all[i]
		if o.DeletionTimestamp != nil || !o.Good() || o.Status.CutTime == nil || o.Labels[api.ScheduleLabel] != schedule || o.Status.Imported != nil || schedule == "" && fastOf(o) == nil {
			continue
		}
		group = append(group, o)
	}
	slices.SortFunc(group, func(x, y *api.Backup) int {
		if d := y.Status.CutTime.Compare(x.Status.CutTime.Time); d != 0 {
			return d
		}
		return strings.Compare(string(y.UID), string(x.UID))
	})
	have := map[string]bool{}
	if len(group) == 0 || fastOf(group[0]) == nil {
		return have
	}
	for _, o := range group[:min(len(group), int(max(fastOf(group[0]).Newest, 1)))] {
		if fastOf(o) != nil && len(originals(o)) > 0 {
			have[string(o.UID)] = true
		}
	}
	return have
}

func fastOf(b *api.Backup) *api.EBSFastRestore {
	if b.Spec.EBS == nil {
		return nil
	}
	return b.Spec.EBS.FastRestore
}

// hasFast tells whether a backup may have it, by its condition: that is written down
// before EC2 is asked.
func hasFast(b *api.Backup) bool {
	c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionFastRestore)
	return c != nil && c.Reason != api.ReasonFastRestoreOff && c.Reason != api.ReasonNotEBS
}

// fast enables fast restore on the newest backups, and disables it on those that are
// no longer among them.
func (j *job) fast(ctx context.Context) (again time.Duration, err error) {
	// One that does not have it asks what is known already; only if it seems to be among
	// the newest it is looked at closely.
	all, err := j.groups.list(ctx, j.Kube, j.b.Namespace, j.now, hasFast(j.b))
	if err != nil {
		return 0, err
	}
	have := newestFast(j.b, all)
	if have[string(j.b.UID)] && !hasFast(j.b) {
		if all, err = j.groups.list(ctx, j.Kube, j.b.Namespace, j.now, true); err != nil {
			return 0, err
		}
		have = newestFast(j.b, all)
	}
	wanted := have[string(j.b.UID)]
	switch {
	case !wanted && !hasFast(j.b):
		j.fastOff()
		return 0, nil
	case wanted && !hasFast(j.b):
		j.wakeOthers(all, have)
		j.progress(api.ConditionFastRestore, "fast snapshot restore is being enabled")
		return next, nil
	case wanted && isDone(j.b, api.ConditionFastRestore):
		j.wakeOthers(all, have)
		return recheck, nil
	case wanted:
		return j.enableFast(ctx)
	}
	if err := j.disableFast(ctx, j.b); err != nil {
		return 0, err
	}
	j.fastOff()
	j.wakeOthers(all, have)
	return next, nil // the archive may have waited for it
}

func (j *job) fastOff() {
	j.set(api.ConditionFastRestore, metav1.ConditionFalse, api.ReasonFastRestoreOff, "this backup is not among the newest, which have fast snapshot restore")
}

// wakeOthers hands those of the group to the workers that have what they should not
// have, or the other way round.
func (w *Worker) wakeOthers(all []api.Backup, have map[string]bool) {
	for i := range all {
		o := &all[i]
		if fastOf(o) != nil && o.DeletionTimestamp == nil && have[string(o.UID)] != hasFast(o) && o.Status.Phase == api.PhaseCompleted {
			w.wake(client.ObjectKeyFromObject(o))
		}
	}
}

// zoned is fast restore of one snapshot in one zone.
type zoned struct{ handle, zone string }

// zonesOf are the zones it is to be enabled in, by snapshot.
func zonesOf(b *api.Backup) []zoned {
	var all []zoned
	for _, v := range b.Status.Volumes {
		if v.Method != api.MethodEBS || v.EBS == nil || v.Handle == "" {
			continue
		}
		zones := b.Spec.EBS.FastRestore.Zones
		if len(zones) == 0 && v.EBS.Zone != "" {
			zones = []string{v.EBS.Zone}
		}
		for _, z := range zones {
			all = append(all, zoned{v.Handle, z})
		}
	}
	return all
}

// toEnable sorts out, by zone, on which snapshots it must be enabled, and counts where
// it is.
func toEnable(want []zoned, is map[zoned]types.FastSnapshotRestoreStateCode) (byZone map[string][]string, enabled int) {
	byZone = map[string][]string{}
	for _, z := range want {
		switch is[z] {
		case types.FastSnapshotRestoreStateCodeEnabled:
			enabled++
		case types.FastSnapshotRestoreStateCodeEnabling, types.FastSnapshotRestoreStateCodeOptimizing, types.FastSnapshotRestoreStateCodeDisabling:
		default: // disabled, or never enabled
			byZone[z.zone] = append(byZone[z.zone], z.handle)
		}
	}
	return byZone, enabled
}

func (j *job) enableFast(ctx context.Context) (again time.Duration, err error) {
	want := zonesOf(j.b)
	if len(want) == 0 {
		return 0, &fault{kind: wrong, text: "no zone of the volumes is known; name some in spec.ebs.fastRestore.zones"}
	}
	is, p, err := j.fastStates(ctx, j.b)
	if err != nil {
		return 0, err
	}
	byZone, enabled := toEnable(want, is)
	for zone, ids := range inTens(byZone) {
		what := fmt.Sprintf("enable fast snapshot restore of %s in zone %s", strings.Join(ids, ", "), zone)
		c, err := j.client(ctx, p, "EnableFastSnapshotRestores", what)
		if err != nil {
			return 0, err
		}
		out, err := c.EnableFastSnapshotRestores(ctx, &ec2.EnableFastSnapshotRestoresInput{AvailabilityZones: []string{zone}, SourceSnapshotIds: ids})
		if err != nil {
			return 0, faultOf(err, p, "EnableFastSnapshotRestores", what)
		}
		for _, u := range out.Unsuccessful {
			for _, e := range u.FastSnapshotRestoreStateErrors {
				if e.Error != nil {
					return 0, itemFault(p, "EnableFastSnapshotRestores", fmt.Sprintf("enable fast snapshot restore of %s in zone %s", aws.ToString(u.SnapshotId), zone), e.Error.Code, e.Error.Message)
				}
			}
		}
	}
	if enabled < len(want) {
		j.progress(api.ConditionFastRestore, fmt.Sprintf("fast snapshot restore is enabled on %d of %d snapshots and zones; EC2 takes about an hour for each TiB", enabled, len(want)))
		return fastPoll, nil
	}
	j.done(api.ConditionFastRestore, fmt.Sprintf("fast snapshot restore is enabled on all %d snapshots and zones", len(want)))
	return recheck, nil
}

// disableFast disables it wherever it is, also where the spec does not say.
func (w *Worker) disableFast(ctx context.Context, b *api.Backup) error {
	is, p, err := w.fastStates(ctx, b)
	if err != nil {
		return err
	}
	byZone := map[string][]string{}
	for z, state := range is {
		if state != types.FastSnapshotRestoreStateCodeDisabled && state != types.FastSnapshotRestoreStateCodeDisabling {
			byZone[z.zone] = append(byZone[z.zone], z.handle)
		}
	}
	for zone, ids := range inTens(byZone) {
		what := fmt.Sprintf("disable fast snapshot restore of %s in zone %s", strings.Join(ids, ", "), zone)
		c, err := w.client(ctx, p, "DisableFastSnapshotRestores", what)
		if err != nil {
			return err
		}
		out, err := c.DisableFastSnapshotRestores(ctx, &ec2.DisableFastSnapshotRestoresInput{AvailabilityZones: []string{zone}, SourceSnapshotIds: ids})
		if err != nil {
			return faultOf(err, p, "DisableFastSnapshotRestores", what)
		}
		for _, u := range out.Unsuccessful {
			for _, e := range u.FastSnapshotRestoreStateErrors {
				if e.Error != nil {
					return itemFault(p, "DisableFastSnapshotRestores", what, e.Error.Code, e.Error.Message)
				}
			}
		}
	}
	return nil
}

// inTens gives the snapshots of each zone, in the order of the zones and no more at
// once than EC2 takes.
func inTens(byZone map[string][]string) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		for _, zone := range slices.Sorted(maps.Keys(byZone)) {
			slices.Sort(byZone[zone])
			for ids := range slices.Chunk(byZone[zone], 10) {
				if !yield(zone, ids) {
					return
				}
			}
		}
	}
}

// fastStates reads the states of the backup's snapshots, which lie in one Region.
func (w *Worker) fastStates(ctx context.Context, b *api.Backup) (map[zoned]types.FastSnapshotRestoreStateCode, Place, error) {
	is := map[zoned]types.FastSnapshotRestoreStateCode{}
	all := originals(b)
	if len(all) == 0 {
		return is, Place{}, nil
	}
	p, ids := all[0].place, handles(all)
	what := "read the fast snapshot restore of " + strings.Join(ids, ", ")
	c, err := w.client(ctx, p, "DescribeFastSnapshotRestores", what)
	if err != nil {
		return nil, p, err
	}
	in := &ec2.DescribeFastSnapshotRestoresInput{Filters: []types.Filter{{Name: aws.String("snapshot-id"), Values: ids}}}
	for {
		out, err := c.DescribeFastSnapshotRestores(ctx, in)
		if err != nil {
			return nil, p, faultOf(err, p, "DescribeFastSnapshotRestores", what)
		}
		for _, f := range out.FastSnapshotRestores {
			is[zoned{aws.ToString(f.SnapshotId), aws.ToString(f.AvailabilityZone)}] = f.State
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			return is, p, nil
		}
	}
}

// groups are the backups of namespaces, as they were a moment ago.
type groups struct {
	mutex sync.Mutex
	known map[string]group
}

type group struct {
	at  time.Time
	all []api.Backup
}

// recent is how old a list may be for a backup that does not have fast restore: at a
// start, hundreds ask at once.
const recent = 30 * time.Second

func (g *groups) list(ctx context.Context, c client.Reader, namespace string, now time.Time, anew bool) ([]api.Backup, error) {
	g.mutex.Lock()
	k, ok := g.known[namespace]
	g.mutex.Unlock()
	if ok && !anew && now.Sub(k.at) < recent {
		return k.all, nil
	}
	var list api.BackupList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list the backups of %s: %w", namespace, err)
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.known == nil {
		g.known = map[string]group{}
	}
	for name, k := range g.known { // no more than what is of use
		if now.Sub(k.at) >= recent {
			delete(g.known, name)
		}
	}
	g.known[namespace] = group{at: now, all: list.Items}
	return list.Items, nil
}
