package snapshot

import (
	"context"
	"fmt"
	"slices"
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

// openHold gets the quiesce that the spec asks for ready on every node. Auto takes
// Freeze, whose stall may be longer and during which HAProxy's check is still answered,
// and falls back to Pause. Where files are measured and nothing else is cut, which takes
// milliseconds, and the volume is often part of the machine's own file system, it is the
// other way round.
func (r *Reconciler) openHold(ctx context.Context, b *api.Backup, instance cht.Instance, planned []api.VolumeStatus) (hold, error) {
	none := hold{mode: api.QuiesceNone, why: "asked for: each volume is a point in time of its own", maxStall: b.Spec.MaxStall.Duration}
	if b.Spec.Quiesce == api.QuiesceNone {
		return none, nil
	}
	var why string
	var err error
	for _, mode := range order(b.Spec.Quiesce, measuresFiles(planned)) {
		if why != "" && !fallback(err) {
			break
		}
		var h hold
		if h, err = r.openMode(ctx, b, instance, mode); err == nil {
			h.why = because(b.Spec.Quiesce, mode, why)
			return h, nil
		}
		if why == "" {
			why = fmt.Sprintf("%s cannot be had: %s", mode, err)
		}
	}
	if b.Spec.OnUnavailable == "Degrade" && reason.Of(err) != nil {
		return hold{mode: api.QuiesceNone, why: fmt.Sprintf("degraded by spec.onUnavailable: %s", err), maxStall: none.maxStall}, nil
	}
	return none, err
}

// order says which modes are tried.
func order(asked api.Quiesce, files bool) []api.Quiesce {
	switch {
	case asked == api.QuiesceFreeze || asked == api.QuiescePause:
		return []api.Quiesce{asked}
	case files:
		return []api.Quiesce{api.QuiescePause, api.QuiesceFreeze}
	}
	return []api.Quiesce{api.QuiesceFreeze, api.QuiescePause}
}

// measuresFiles tells whether the files of some volume are its backup.
func measuresFiles(planned []api.VolumeStatus) bool {
	return slices.ContainsFunc(planned, func(v api.VolumeStatus) bool { return v.Method == api.MethodFile })
}

// because says why a mode was taken; why is what stood against another.
func because(asked, mode api.Quiesce, why string) string {
	switch {
	case why != "":
		return why
	case asked == mode && mode == api.QuiescePause:
		return "asked for"
	case mode == api.QuiescePause:
		return "the files are measured, which takes milliseconds"
	}
	return "every node's volume has a file system of its own"
}

func (r *Reconciler) openMode(ctx context.Context, b *api.Backup, instance cht.Instance, mode api.Quiesce) (h hold, err error) {
	h = hold{mode: mode, maxStall: b.Spec.MaxStall.Duration}
	if mode == api.QuiescePause {
		h.maxStall = min(h.maxStall, quiesce.PauseBound)
		h.streams, err = r.openPause(ctx, h.maxStall, instance)
	} else {
		h.streams, err = r.openFreeze(ctx, b, instance)
	}
	return h, err
}

// fallback tells whether Auto may go on to the other mode: for what the cluster does
// not allow, not for a fault on the way.
func fallback(err error) bool {
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
