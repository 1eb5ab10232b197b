package snapshot

import (
	"context"
	"fmt"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/quiesce"
	"github.com/medic/cht-backup/snapshot/reason"
)

// readyWithin bounds the time from opening a stream to its "ready".
const readyWithin = 20 * time.Second

// hold is a quiesce in readiness: every stream is open, nothing is held yet.
type hold struct {
	mode     api.Quiesce
	why      string
	maxStall time.Duration
	streams  []*quiesce.Stream
}

// openHold gets the quiesce that the spec asks for ready on every node. Auto
// takes Freeze, whose stall may be longer and during which HAProxy's check is
// still answered, and falls back to Pause.
func (r *Reconciler) openHold(ctx context.Context, b *api.Backup, instance cht.Instance) (hold, error) {
	asked := b.Spec.Quiesce
	h := hold{mode: api.QuiesceNone, why: "asked for: each volume is a point in time of its own", maxStall: b.Spec.MaxStall.Duration}
	if asked == api.QuiesceNone {
		return h, nil
	}
	var why string
	var err error
	if asked != api.QuiescePause {
		if h.streams, err = r.openFreeze(ctx, b, instance); err == nil {
			h.mode, h.why = api.QuiesceFreeze, "every node's volume has a file system of its own"
			return h, nil
		}
		why = fmt.Sprintf("Freeze cannot be had: %s", err)
	}
	if asked != api.QuiesceFreeze && fallback(asked, err) {
		h.maxStall = min(h.maxStall, quiesce.PauseBound)
		if h.streams, err = r.openPause(ctx, h.maxStall, instance); err == nil {
			h.mode, h.why = api.QuiescePause, "asked for"
			if why != "" {
				h.why = why
			}
			return h, nil
		}
	}
	if b.Spec.OnUnavailable == "Degrade" && reason.Of(err) != nil {
		return hold{mode: api.QuiesceNone, why: fmt.Sprintf("degraded by spec.onUnavailable: %s", err), maxStall: h.maxStall}, nil
	}
	return h, err
}

// fallback tells whether Auto may go on from a refused Freeze to Pause: for what
// the cluster does not allow, not for a fault on the way.
func fallback(asked api.Quiesce, err error) bool {
	if asked == api.QuiescePause {
		return true
	}
	e := reason.Of(err)
	return e != nil && (e.Reason == api.ReasonSharedFileSystem || e.Reason == api.ReasonQuiesceUnavailable)
}

func (r *Reconciler) openFreeze(ctx context.Context, b *api.Backup, instance cht.Instance) ([]*quiesce.Stream, error) {
	if err := startFreezers(ctx, r.Client, b, instance.Nodes, r.Image); err != nil {
		return nil, err
	}
	var targets []quiesce.Target
	for _, n := range instance.Nodes {
		targets = append(targets, quiesce.Target{Node: n.Service, Namespace: b.Namespace, Pod: FreezerPod(b, n, "").Name, Container: "freezer",
			Command: quiesce.FreezeCommand(b.Spec.MaxStall.Duration)})
	}
	return r.Exec.OpenAll(ctx, targets, readyWithin)
}

func (r *Reconciler) openPause(ctx context.Context, maxStall time.Duration, instance cht.Instance) ([]*quiesce.Stream, error) {
	var targets []quiesce.Target
	for _, n := range instance.Nodes {
		targets = append(targets, quiesce.Target{Node: n.Service, Namespace: instance.Namespace, Pod: n.Pod.Name, Container: n.Pod.Container,
			Command: quiesce.PauseCommand(maxStall)})
	}
	return r.Exec.OpenAll(ctx, targets, readyWithin)
}
