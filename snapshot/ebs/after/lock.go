package after

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// lock is what EC2 says of a snapshot's lock; the zero value is none.
type lock struct {
	state types.LockState
	days  int32
	until time.Time
}

// serves tells whether a lock is at least what is asked for, since when it could have
// been set. One that has run its time has served.
func (l lock) serves(want api.EBSLock, since time.Time) bool {
	if l.state == "" {
		return false
	}
	long := l.days >= want.Days || !l.until.Before(since.AddDate(0, 0, int(want.Days)))
	if l.state == types.LockStateExpired {
		return long
	}
	return long && (want.Mode != api.LockCompliance || l.state != types.LockStateGovernance)
}

// holds tells whether the snapshot cannot be deleted now.
func (l lock) holds(now time.Time) bool {
	return l.state != "" && l.state != types.LockStateExpired && (l.until.IsZero() || l.until.After(now))
}

// toSet is the call that makes a lock what is asked for. It never weakens one: what is
// Compliance stays so, and a lock that would become shorter serves already.
func (l lock) toSet(want api.EBSLock, handle string) *ec2.LockSnapshotInput {
	in := &ec2.LockSnapshotInput{SnapshotId: &handle, LockMode: types.LockModeGovernance, LockDuration: &want.Days}
	strong := l.state == types.LockStateCompliance || l.state == types.LockStateComplianceCooloff
	if want.Mode == api.LockCompliance || strong {
		in.LockMode = types.LockModeCompliance
		// Past its cool-off, a lock takes no other.
		if hours := aws.ToInt32(want.CoolOffHours); hours > 0 && l.state != types.LockStateCompliance {
			in.CoolOffPeriod = &hours
		}
	}
	return in
}

// lock locks all snapshots, and each copy once it is complete.
func (j *job) lock(ctx context.Context) (again time.Duration, err error) {
	want := *j.b.Spec.EBS.Lock
	all := append(originals(j.b), copied(j.b)...)
	if err := j.readLocks(ctx, all, false); err != nil {
		return 0, err
	}
	for _, s := range all {
		l := j.locks[s.handle]
		j.lockedUntil(l.until)
		if l.serves(want, j.b.Status.CompletionTime.Time) {
			continue
		}
		what := "lock " + s.String()
		c, err := j.client(ctx, s.place, "LockSnapshot", what)
		if err != nil {
			return 0, err
		}
		out, err := c.LockSnapshot(ctx, l.toSet(want, s.handle))
		if err != nil {
			delete(j.locks, s.handle) // it may be locked all the same: look
			return 0, faultOf(err, s.place, "LockSnapshot", what)
		}
		set := lock{state: out.LockState, days: aws.ToInt32(out.LockDuration), until: aws.ToTime(out.LockExpiresOn)}
		set.days = max(set.days, want.Days)
		j.locks[s.handle] = set
		j.lockedUntil(set.until)
	}
	if !copiesComplete(j.b) {
		j.progress(api.ConditionLocked, fmt.Sprintf("%d snapshots are locked%s; those of the other copies will be once they are complete", len(all), untilText(j.b)))
		return 0, nil
	}
	j.done(api.ConditionLocked, fmt.Sprintf("%d snapshots are locked, mode %s%s", len(all), want.Mode, untilText(j.b)))
	return 0, nil
}

func untilText(b *api.Backup) string {
	if b.Status.LockedUntil == nil {
		return ""
	}
	return ", the last until " + b.Status.LockedUntil.UTC().Format(time.RFC3339)
}

// lockedUntil keeps the latest end in the status.
func (j *job) lockedUntil(t time.Time) {
	if t.IsZero() || j.b.Status.LockedUntil != nil && !t.After(j.b.Status.LockedUntil.Time) {
		return
	}
	up := t.Truncate(time.Second)
	if up.Before(t) {
		up = up.Add(time.Second) // the status knows whole seconds: never earlier than EC2
	}
	if j.b.Status.LockedUntil == nil || up.After(j.b.Status.LockedUntil.Time) {
		j.b.Status.LockedUntil = &metav1.Time{Time: up}
	}
}

// readLocks asks for the locks that are not known, or for all anew.
func (j *job) readLocks(ctx context.Context, all []snapshot, anew bool) error {
	var unknown []snapshot
	for _, s := range all {
		if _, known := j.locks[s.handle]; !known || anew {
			unknown = append(unknown, s)
		}
	}
	places, grouped := byPlace(unknown)
	for _, p := range places {
		ids := handles(grouped[p])
		what := "read the locks of " + strings.Join(ids, ", ")
		c, err := j.client(ctx, p, "DescribeLockedSnapshots", what)
		if err != nil {
			return err
		}
		found := map[string]lock{}
		for token := (*string)(nil); ; {
			out, err := c.DescribeLockedSnapshots(ctx, &ec2.DescribeLockedSnapshotsInput{SnapshotIds: ids, NextToken: token})
			if err != nil {
				return faultOf(err, p, "DescribeLockedSnapshots", what)
			}
			for _, l := range out.Snapshots {
				found[aws.ToString(l.SnapshotId)] = lock{state: l.LockState, days: aws.ToInt32(l.LockDuration), until: aws.ToTime(l.LockExpiresOn)}
			}
			if token = out.NextToken; aws.ToString(token) == "" {
				break
			}
		}
		for _, id := range ids {
			j.locks[id] = found[id]
		}
	}
	return nil
}

func isDone(b *api.Backup, condition string) bool {
	return meta.IsStatusConditionTrue(b.Status.Conditions, condition)
}
