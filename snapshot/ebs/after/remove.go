package after

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// removing is what pauses after a deletion failed.
const removing = "remove"

// liftable is how often a lock is looked at that somebody can lift before its end.
const liftable = time.Hour

// Remove does what comes before the snapshots of a Completed backup are deleted: fast
// restore is disabled and the copies are deleted, in all Regions and accounts. As long
// as one snapshot is locked nothing is deleted at all: what is kept stays whole. left
// is what is still there, again when to come again; why stands in a condition too.
func (w *Worker) Remove(ctx context.Context, b *api.Backup) (left int, again time.Duration) {
	w.start()
	if len(asked(b.Spec.EBS)) == 0 || b.Status.Phase != api.PhaseCompleted || len(originals(b)) == 0 {
		return 0, 0
	}
	select {
	case w.doors <- struct{}{}:
		defer func() { <-w.doors }()
	default:
		return 1, soon
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	j := &job{Worker: w, memory: w.known.of(b.UID, w.Now()), b: b, now: w.Now()}
	if rest, paused := j.paused(removing, j.now); paused {
		return 1, rest
	}
	for _, part := range []struct {
		condition, failed string
		do                func(context.Context) (int, time.Duration, error)
	}{
		{api.ConditionFastRestore, api.ReasonFastRestoreFail, j.endFast},
		{api.ConditionLocked, api.ReasonLockFailed, j.stillLocked},
		{api.ConditionCopied, api.ReasonCopyFailed, j.deleteCopies},
	} {
		n, due, err := part.do(ctx)
		if err != nil {
			f := asFault(err)
			d := j.failed(removing, f.kind, j.now)
			j.set(part.condition, metav1.ConditionFalse, part.failed, fmt.Sprintf("this backup is being deleted and waits: %s (next try in %s); with spec.deletionPolicy Retain it goes and leaves everything in the storage", f.text, d))
			return 1, d
		}
		if n > 0 {
			j.worked(removing)
			return n, due
		}
	}
	w.slots.leave(b.UID)
	w.known.forget(b.UID)
	return 0, 0
}

// Forget lets go of a backup that is gone, or leaves its snapshots. The others of its
// group may have to take over fast restore.
func (w *Worker) Forget(ctx context.Context, b *api.Backup) {
	w.start()
	w.slots.leave(b.UID)
	w.known.forget(b.UID)
	if fastOf(b) == nil {
		return
	}
	all, err := w.groups.list(ctx, w.Kube, b.Namespace, w.Now(), true)
	if err != nil {
		return // they look again by themselves, within the hour
	}
	w.wakeOthers(all, newestFast(b, all))
}

// endFast disables fast restore where the backup may have it.
func (j *job) endFast(ctx context.Context) (int, time.Duration, error) {
	if fastOf(j.b) == nil || !hasFast(j.b) {
		return 0, 0, nil
	}
	if err := j.disableFast(ctx, j.b); err != nil {
		return 0, 0, err
	}
	j.fastOff()
	return 0, 0, nil
}

// stillLocked looks at all locks anew: whoever may can have lifted one, or set one.
func (j *job) stillLocked(ctx context.Context) (int, time.Duration, error) {
	all := append(originals(j.b), begun(j.b)...)
	if err := j.readLocks(ctx, all, true); err != nil {
		if asFault(err).kind == gone { // what is gone is not locked: one by one
			return j.lockedOneByOne(ctx, all)
		}
		return 0, 0, err
	}
	return j.tellLocked(all)
}

func (j *job) lockedOneByOne(ctx context.Context, all []snapshot) (int, time.Duration, error) {
	for _, s := range all {
		if err := j.readLocks(ctx, []snapshot{s}, true); err != nil && asFault(err).kind == gone {
			j.locks[s.handle] = lock{}
		} else if err != nil {
			return 0, 0, err
		}
	}
	return j.tellLocked(all)
}

func (j *job) tellLocked(all []snapshot) (left int, again time.Duration, err error) {
	var names []string
	var until time.Time
	lift := false
	for _, s := range all {
		l := j.locks[s.handle]
		if !l.holds(j.now) {
			continue
		}
		names = append(names, fmt.Sprintf("%s in %s (%s)", s, s.place, l.state))
		lift = lift || l.state != types.LockStateCompliance || l.until.IsZero()
		if l.until.After(until) {
			until = l.until
		}
	}
	if len(names) == 0 {
		return 0, 0, nil
	}
	j.lockedUntil(until)
	again = liftable
	if rest := until.Sub(j.now) + time.Second; rest > 0 && (!lift || rest < again) {
		again = rest
	}
	end := "an unknown end"
	if !until.IsZero() {
		end = until.UTC().Format(time.RFC3339)
	}
	j.set(api.ConditionLocked, metav1.ConditionTrue, api.ReasonLocked, fmt.Sprintf("this backup is being deleted and waits until %s, when the last lock ends; locked are %s; until then nothing of it is deleted, its copies neither", end, strings.Join(names, ", ")))
	return len(names), again, nil
}

// begun are the snapshots of all copies, complete or not.
func begun(b *api.Backup) []snapshot {
	var all []snapshot
	for _, c := range b.Spec.EBS.Copies {
		if s := copyStatus(b, c.Name); s != nil {
			for _, v := range s.Volumes {
				if v.Handle != "" {
					all = append(all, snapshot{place: placeOf(c), node: v.Node, handle: v.Handle, copy: c.Name})
				}
			}
		}
	}
	return all
}

// deleteCopies deletes what is there of the copies, by their tags and by what is
// written down.
func (j *job) deleteCopies(ctx context.Context) (left int, again time.Duration, err error) {
	for _, c := range j.b.Spec.EBS.Copies {
		s := copyStatus(j.b, c.Name)
		if s == nil {
			continue // that it is begun is written down before anything is
		}
		p := placeOf(c)
		there, err := j.copiesThere(ctx, p, c, j.b)
		if err != nil {
			return 0, 0, err
		}
		gone := map[string]bool{}
		for _, is := range there {
			id := aws.ToString(is.SnapshotId)
			if err := j.deleteCopy(ctx, p, id); err != nil {
				return 0, 0, err
			}
			gone[id] = true
		}
		if err := j.deleteNoted(ctx, c, s, gone); err != nil {
			return 0, 0, err
		}
		m := j.copy(c.Name)
		for _, v := range s.Volumes {
			// One whose answer was lost may not be shown yet.
			if v.Handle == "" && !m.noted && m.trust.After(j.now) && len(there) == 0 {
				return 1, m.trust.Sub(j.now), nil
			}
		}
	}
	return 0, 0, nil
}

// deleteNoted deletes the copies that are written down and were not found by their
// tags, which somebody may have changed. Only what has our description is deleted.
func (j *job) deleteNoted(ctx context.Context, c api.EBSCopy, s *api.CopyStatus, gone map[string]bool) error {
	p := placeOf(c)
	var ids []string
	for _, v := range s.Volumes {
		if v.Handle != "" && !gone[v.Handle] {
			ids = append(ids, v.Handle)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	what := "look at the copies " + strings.Join(ids, ", ")
	client, err := j.client(ctx, p, "DescribeSnapshots", what)
	if err != nil {
		return err
	}
	said, err := describeEach(ctx, client, ids)
	if err != nil {
		return faultOf(err, p, "DescribeSnapshots", what)
	}
	for _, v := range s.Volumes {
		if is, there := said[v.Handle]; there && aws.ToString(is.Description) == descriptionOf(j.b, c.Name, v.Node) {
			if err := j.deleteCopy(ctx, p, v.Handle); err != nil {
				return err
			}
		}
	}
	return nil
}

// deleteCopy deletes one snapshot that is ours; one that is gone is deleted.
func (w *Worker) deleteCopy(ctx context.Context, p Place, id string) error {
	what := "delete the copy " + id
	c, err := w.client(ctx, p, "DeleteSnapshot", what)
	if err != nil {
		return err
	}
	if _, err := c.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: &id}); err != nil {
		if f := faultOf(err, p, "DeleteSnapshot", what); f.kind != gone {
			return f
		}
	}
	return nil
}
