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
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const (
	// turn is how often who waits for a slot asks for it when nobody wakes him.
	turn = time.Minute
	// vanishes is how long a copy that was just started may not be shown.
	vanishes = 5 * time.Minute
)

// copies does each copy's next step. One that fails does not hold up the others, and
// what cannot be begun does not keep from looking at what is under way.
func (j *job) copies(ctx context.Context) (again time.Duration, err error) {
	all := originals(j.b)
	for _, c := range j.b.Spec.EBS.Copies {
		m := j.copy(c.Name)
		m.waits = ""
		again = sooner(again, j.attempt(ctx, m, api.ConditionCopied+"/"+c.Name+"/look", func(ctx context.Context) (time.Duration, error) { return j.lookAt(ctx, c, m, all) }))
		again = sooner(again, j.attempt(ctx, m, api.ConditionCopied+"/"+c.Name, func(ctx context.Context) (time.Duration, error) { return j.one(ctx, c, all, m) }))
		if s := copyStatus(j.b, c.Name); s != nil {
			s.Message = oneLine(m.trouble + " " + m.waits)
		}
	}
	j.tellCopies()
	return again, nil
}

// attempt does a part of a copy's work, unless that has to pause.
func (j *job) attempt(ctx context.Context, m *copyMemory, name string, do func(context.Context) (time.Duration, error)) (again time.Duration) {
	if left, paused := j.paused(name, j.now); paused {
		return left
	}
	again, err := do(ctx)
	switch f := asFault(err); {
	case err == nil && m.redone == 0:
		if j.memory.waits[name] != nil {
			m.trouble = ""
		}
		j.worked(name)
	case err == nil: // a copy has to be complete, only then its earlier end is out of sight
	case f.kind == throttled || f.kind == full:
		again, m.waits = j.failed(name, f.kind, j.now), f.text
	default:
		again = j.failed(name, f.kind, j.now)
		m.trouble = fmt.Sprintf("%s (next try in %s)", f.text, again)
	}
	return again
}

// one does one copy's next step.
func (j *job) one(ctx context.Context, c api.EBSCopy, all []snapshot, m *copyMemory) (again time.Duration, err error) {
	s := copyStatus(j.b, c.Name)
	p := nextOf(all, s, m, j.now)
	switch p.step {
	case toNote:
		if account, waits := j.waitsForShare(c.RoleARN); waits {
			m.waits = "it waits until the snapshots are shared with account " + account
			return turn, nil
		}
		m.noted = s == nil // else nodes are missing in what another wrote down
		if s == nil {
			j.b.Status.Copies = append(j.b.Status.Copies, api.CopyStatus{Name: c.Name, Region: c.Region})
			s = copyStatus(j.b, c.Name)
		}
		for _, node := range p.nodes {
			s.Volumes = append(s.Volumes, api.CopiedVolume{Node: node})
		}
		return next, nil
	case toFind:
		return next, j.find(ctx, c, s, m)
	case toSettle:
		m.waits = "looking again for copies that were begun before"
		return p.wait, nil
	case toStart:
		return j.startAll(ctx, c, s, m, all)
	case toLook: // that is done already
	case complete:
		m.trouble, m.redone = "", 0
		if !s.Complete {
			s.Complete, s.CompletionTime = true, &metav1.Time{Time: j.now}
			return next, nil // a lock, sharing and the archive may wait for it
		}
	}
	return 0, nil
}

// find adopts what is there already: of a process that was killed, or of a call whose
// answer was lost.
func (j *job) find(ctx context.Context, c api.EBSCopy, s *api.CopyStatus, m *copyMemory) error {
	there, err := j.copiesThere(ctx, placeOf(c), c, j.b)
	if err != nil {
		return err
	}
	m.found = j.now
	for _, is := range there {
		v := copiedVolume(s, is.node)
		if v == nil || v.Handle != "" || is.State == types.SnapshotStateError {
			continue
		}
		v.Handle = aws.ToString(is.SnapshotId)
		m.started[is.node] = j.now
		j.slots.runs(placeOf(c), slot{j.b.UID, c.Name, is.node}, v.Handle)
	}
	return nil
}

// startAll starts copies, as far as there are slots.
func (j *job) startAll(ctx context.Context, c api.EBSCopy, s *api.CopyStatus, m *copyMemory, all []snapshot) (again time.Duration, err error) {
	p := placeOf(c)
	for _, o := range all {
		v := copiedVolume(s, o.node)
		if v == nil || v.Handle != "" {
			continue
		}
		k, w := slot{j.b.UID, c.Name, o.node}, waiting{client.ObjectKeyFromObject(j.b), j.b.Status.CutTime.Time}
		ok, taken, until := j.slots.take(p, k, w, j.now)
		if !ok {
			m.waits = fmt.Sprintf("%d snapshots are being copied to %s, %d at once; this one waits for its turn", taken, p, j.slots.limit)
			if until.After(j.now) {
				m.waits = fmt.Sprintf("EC2 makes no more copies in %s at once; this one is tried again soon", p)
				return min(turn, until.Sub(j.now)), nil
			}
			return turn, nil
		}
		if err := j.startOne(ctx, c, o, v); err != nil {
			f := asFault(err)
			if f.kind == full {
				m.waits = f.text
				return j.slots.full(p, k, w, j.now), nil
			}
			j.slots.free(p, k)
			if f.unsure { // it may have been done
				m.noted, m.found, m.trust = false, time.Time{}, j.now.Add(settling)
			}
			return 0, err
		}
		m.started[o.node] = j.now
		j.slots.runs(p, k, v.Handle)
	}
	return next, nil
}

// startOne starts the copy of one snapshot. It is called in the Region it goes to.
func (j *job) startOne(ctx context.Context, c api.EBSCopy, o snapshot, v *api.CopiedVolume) error {
	p, what := placeOf(c), fmt.Sprintf("copy %s from %s", o, o.place)
	tags, err := j.tagsFor(ctx, c, o)
	if err != nil {
		return err
	}
	to, err := j.client(ctx, p, "CopySnapshot", what)
	if err != nil {
		return err
	}
	in := &ec2.CopySnapshotInput{SourceRegion: &o.place.Region, SourceSnapshotId: &o.handle, Description: aws.String(descriptionOf(j.b, c.Name, o.node)),
		CompletionDurationMinutes: c.CompletionMinutes, TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: tags}}}
	if c.KMSKeyID != "" {
		in.Encrypted, in.KmsKeyId = aws.Bool(true), &c.KMSKeyID
	}
	out, err := to.CopySnapshot(ctx, in, once)
	if err != nil {
		f := faultOf(err, p, "CopySnapshot", what)
		if f.kind == gone && p.Role != "" {
			f.text += "; name its account in spec.ebs.shareWith"
		}
		return f
	}
	v.Handle = aws.ToString(out.SnapshotId)
	return nil
}

// lookAt asks how far the copies are that are under way.
func (j *job) lookAt(ctx context.Context, c api.EBSCopy, m *copyMemory, all []snapshot) (again time.Duration, err error) {
	p, s := placeOf(c), copyStatus(j.b, c.Name)
	var under []*api.CopiedVolume
	var ids []string
	for _, o := range all {
		if v := copiedVolume(s, o.node); v != nil && v.Handle != "" && !v.Ready {
			under, ids = append(under, v), append(ids, v.Handle)
		}
	}
	if len(under) == 0 {
		return 0, nil
	}
	if left := m.nextLook.Sub(j.now); left > 0 {
		return left, nil
	}
	said, err := j.look(ctx, p, ids)
	if err != nil {
		return 0, err
	}
	var took time.Duration
	var ended *fault
	for _, v := range under {
		is, there := said[v.Handle]
		switch {
		case there && is.State == types.SnapshotStateCompleted:
			v.Ready, v.Progress, v.KMSKeyID = true, "", aws.ToString(is.KmsKeyId)
			s.Account = aws.ToString(is.OwnerId)
			j.slots.free(p, slot{j.b.UID, c.Name, v.Node})
		case there && is.State == types.SnapshotStateError:
			if err := j.deleteCopy(ctx, p, v.Handle); err != nil {
				return 0, err
			}
			ended = endedBadly(p, *v, oneLine(aws.ToString(is.StateMessage)))
			j.restart(c, v, m)
		case there:
			v.Progress, s.Account = aws.ToString(is.Progress), aws.ToString(is.OwnerId)
			took = max(took, j.now.Sub(aws.ToTime(is.StartTime)))
		case j.now.Sub(m.since(v.Node, j.since)) >= vanishes:
			ended = &fault{kind: gone, text: fmt.Sprintf("the copy %s of %s in %s has vanished before it was complete; EC2 does that where the KMS key cannot be used: see the key's policy and spec.ebs.copies[].kmsKeyID", v.Handle, v.Node, p)}
			j.restart(c, v, m)
		}
	}
	m.nextLook = j.now.Add(lookAgain(took))
	if ended != nil { // it is not begun again at once
		wait := j.failed(api.ConditionCopied+"/"+c.Name, ended.kind, j.now)
		m.trouble = fmt.Sprintf("%s (next try in %s)", ended.text, wait)
	}
	return lookAgain(took), nil
}

// endedBadly says of a copy that EC2 began what became of it.
func endedBadly(p Place, v api.CopiedVolume, message string) *fault {
	f := &fault{kind: passing, text: fmt.Sprintf("the copy %s of %s in %s ended in an error: %s; it is made again", v.Handle, v.Node, p, message)}
	if aboutKey(message) {
		f.kind = wrong
		f.text += "; " + nextStep(wrong, p, "CopySnapshot", message)
	}
	return f
}

// restart has a node's copy made again: whatever is there is looked for first.
func (j *job) restart(c api.EBSCopy, v *api.CopiedVolume, m *copyMemory) {
	j.slots.free(placeOf(c), slot{j.b.UID, c.Name, v.Node})
	v.Handle, v.Progress = "", ""
	delete(m.started, v.Node)
	m.redone++
	m.noted, m.found, m.trust = false, time.Time{}, j.now
}

// tellCopies sums the copies up.
func (j *job) tellCopies() {
	var open, trouble []string
	for _, c := range j.b.Spec.EBS.Copies {
		s, m := copyStatus(j.b, c.Name), j.copy(c.Name)
		if s != nil && s.Complete {
			continue
		}
		if m.trouble != "" {
			trouble = append(trouble, fmt.Sprintf("copy %s: %s", c.Name, m.trouble))
			continue
		}
		open = append(open, fmt.Sprintf("copy %s (%s): %s", c.Name, c.Region, howFar(s, m, len(originals(j.b)))))
	}
	switch {
	case len(trouble) > 0:
		j.set(api.ConditionCopied, metav1.ConditionFalse, api.ReasonCopyFailed, strings.Join(append(trouble, open...), "; "))
	case len(open) > 0:
		j.progress(api.ConditionCopied, strings.Join(open, "; "))
	default:
		j.done(api.ConditionCopied, fmt.Sprintf("all %d copies are complete", len(j.b.Spec.EBS.Copies)))
	}
}

func howFar(s *api.CopyStatus, m *copyMemory, of int) string {
	if m.waits != "" {
		return m.waits
	}
	ready := 0
	if s != nil {
		for _, v := range s.Volumes {
			if v.Ready {
				ready++
			}
		}
	}
	return fmt.Sprintf("%d of %d snapshots are copied", ready, of)
}
