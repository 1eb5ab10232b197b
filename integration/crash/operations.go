package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
)

// The operations.
const (
	opBackup      = "backup"       // by CSI, frozen
	opPause       = "pause"        // by CSI, paused
	opFiles       = "files"        // copied into the catalog
	opDelete      = "delete"       // of a backup by CSI
	opDeleteFiles = "delete-files" // of one of files
	opClone       = "clone"
	opCloneFiles  = "clone-files" // filled from the catalog
	opDrill       = "drill"
	opInPlace     = "in-place"
	opAbort       = "abort" // of a restore in place, in one of its phases
	opUndo        = "undo"  // deletion of a clone's Restore while it is at work
)

var operations = []string{opBackup, opPause, opFiles, opDelete, opDeleteFiles, opClone, opCloneFiles, opDrill, opInPlace, opAbort, opUndo}

// endsWithin bounds an operation, with all that is broken in it.
const endsWithin = 4 * time.Minute

func (w *world) backup(name, op string) *api.Backup {
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: name}, Spec: api.BackupSpec{Quiesce: api.QuiesceFreeze, AllowedNamespaces: []string{"*"}}}
	b.Spec.MaxStall.Duration = stall
	switch op {
	case opPause:
		b.Spec.Quiesce = api.QuiescePause
	case opFiles, opDeleteFiles:
		b.Spec.Method, b.Spec.Quiesce = api.MethodFile, ""
	}
	return b
}

// take takes a backup and notes which documents it must have.
func (w *world) take(ctx context.Context, b *api.Backup) (string, error) {
	least, _ := w.writer.state()
	w.writer.longest()
	if err := w.create(ctx, b); err != nil {
		return "", err
	}
	why, err := w.ended(ctx, b, func() (api.Phase, []metav1.Condition) { return b.Status.Phase, b.Status.Conditions })
	_, most := w.writer.state()
	w.cut[b.Name] = span{least, most}
	if d := w.writer.longest(); err == nil && d > stall+slack {
		err = fmt.Errorf("a write took %s, the bound is %s", d, stall)
	}
	if err == nil && b.Status.Phase == api.PhaseCompleted && b.Status.Consistency != api.Consistent {
		err = fmt.Errorf("the backup is %s", b.Status.Consistency)
	}
	return why, err
}

// good takes a backup while nothing is broken by this program. On a busy machine the storage
// may yet be too slow for the bound, which is no promise broken.
func (w *world) good(ctx context.Context, name, op string) (*api.Backup, error) {
	for try := 1; ; try++ {
		b := w.backup(name, op)
		how, err := w.take(ctx, b)
		if err != nil || b.Status.Phase == api.PhaseCompleted {
			return b, err
		}
		if try == 5 {
			return nil, fmt.Errorf("backup %s, with nothing broken, is %s for the %dth time: %s", name, how, try, harness.Message(b.Status.Conditions))
		}
		if err := w.discard(ctx, b); err != nil {
			return nil, err
		}
	}
}

// create tries again while the API server is away.
func (w *world) create(ctx context.Context, o client.Object) error {
	o.SetLabels(map[string]string{mark: w.name})
	return until(ctx, time.Minute, func(ctx context.Context) error {
		if err := w.c.Client.Create(ctx, o); !apierrors.IsAlreadyExists(err) {
			return err
		}
		return nil
	})
}

// ended waits until an object has a final phase, and gives the reason it tells.
func (w *world) ended(ctx context.Context, o client.Object, state func() (api.Phase, []metav1.Condition)) (string, error) {
	err := until(ctx, endsWithin, func(ctx context.Context) error {
		if err := w.c.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		if phase, conditions := state(); phase != api.PhaseCompleted && phase != api.PhaseFailed {
			return fmt.Errorf("%T %s is %s: %s", o, o.GetName(), phase, harness.Message(conditions))
		}
		return nil
	})
	phase, conditions := state()
	why := harness.Reason(conditions)
	if err == nil && (why == "" || why == api.ReasonProgressing) {
		err = fmt.Errorf("%T %s is %s for no reason: %v", o, o.GetName(), phase, conditions)
	}
	return string(phase) + " " + why, err
}

// discard deletes an object and waits until it is gone.
func (w *world) discard(ctx context.Context, o client.Object) error {
	err := until(ctx, endsWithin, func(ctx context.Context) error {
		if err := w.c.Client.Delete(ctx, o); err != nil {
			return client.IgnoreNotFound(err)
		}
		return errors.New("it is there yet")
	})
	if err != nil {
		return fmt.Errorf("delete %T %s: %w", o, o.GetName(), err)
	}
	return nil
}

// operate runs one operation from its beginning to its end, with the faults. It gives how
// it ended and what is wrong.
func (w *world) operate(ctx context.Context, t trial) (how string, err error) {
	name := fmt.Sprintf("t%d", t.n)
	switch t.op {
	case opBackup, opPause, opFiles:
		b := w.backup(name, t.op)
		w.script.begin(t.faults)
		how, err = w.take(ctx, b)
		if err == nil {
			err = w.judge(ctx, b)
		}
		return how, errors.Join(err, w.discard(ctx, b))
	case opDelete, opDeleteFiles:
		b, err := w.good(ctx, name, t.op)
		if err != nil {
			return "", err
		}
		w.script.begin(t.faults)
		err = w.discard(ctx, b)
		return "gone", errors.Join(err, w.judge(ctx, nil))
	case opInPlace, opAbort:
		return w.inPlace(ctx, t, name)
	}
	return w.copied(ctx, t, name)
}

// restore makes a Restore of a backup.
func restore(namespace, name, source, backup string) *api.Restore {
	return &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: api.RestoreSpec{Source: api.BackupReference{Namespace: source, Name: backup}, Verify: api.VerifyQuick}}
}

// copied restores into another namespace, which leaves the source as it is.
func (w *world) copied(ctx context.Context, t trial, name string) (how string, err error) {
	was, err := w.untouchable(ctx)
	if err != nil {
		return "", err
	}
	backup, namespace := "base", w.beside(t)
	if t.op == opCloneFiles {
		backup = "files"
	}
	r := restore(namespace, name, w.name, backup)
	if t.op == opDrill {
		r.Namespace, r.Spec.Drill = w.name, &api.Drill{}
	}
	w.writer.longest()
	w.script.begin(t.faults)
	if err := w.create(ctx, r); err != nil {
		return "", err
	}
	state := func() (api.Phase, []metav1.Condition) { return r.Status.Phase, r.Status.Conditions }
	if t.op == opUndo {
		how = "undone"
		err = w.reached(ctx, r, undoIn[t.n%len(undoIn)])
	} else {
		how, err = w.ended(ctx, r, state)
	}
	if err == nil && t.op != opDrill && r.Status.Phase == api.PhaseCompleted {
		err = w.has(ctx, namespace, w.cut[backup])
	}
	err = errors.Join(err, w.discard(ctx, r))
	if d := w.writer.longest(); d > stall+slack {
		err = errors.Join(err, fmt.Errorf("a write to the source took %s", d))
	}
	is, lookErr := w.untouchable(ctx)
	if lookErr == nil && is != was {
		lookErr = fmt.Errorf("the source was\n%s\nand is\n%s", was, is)
	}
	return how, errors.Join(err, lookErr, w.judge(ctx, nil), w.left(ctx, namespace))
}

var (
	undoIn  = []api.Phase{api.PhaseVolumes, api.PhaseObjects, api.PhaseCouchDB, api.PhaseVerifying}
	abortIn = []api.Phase{api.PhaseSafetyBackup, api.PhaseVolumes, api.PhaseStopping, api.PhaseSwapping, api.PhaseCouchDB, api.PhaseVerifying}
)

// reached waits until a restore is in a phase, or over.
func (w *world) reached(ctx context.Context, r *api.Restore, phase api.Phase) error {
	return until(ctx, endsWithin, func(ctx context.Context) error {
		if err := w.c.Client.Get(ctx, client.ObjectKeyFromObject(r), r); err != nil {
			return err
		}
		if p := r.Status.Phase; p != phase && p != api.PhaseCompleted && p != api.PhaseFailed {
			return fmt.Errorf("restore %s is %s: %s", r.Name, p, harness.Message(r.Status.Conditions))
		}
		return nil
	})
}

// inPlace goes back to the first backup, and may be aborted.
func (w *world) inPlace(ctx context.Context, t trial, name string) (how string, err error) {
	former, err := w.volumes(ctx)
	if err != nil {
		return "", err
	}
	w.writer.stop()
	acknowledged, most := w.writer.state()
	r := restore(w.name, name, w.name, "base")
	r.Spec.InPlace = &api.InPlace{}
	w.script.begin(t.faults)
	if err := w.create(ctx, r); err != nil {
		return "", err
	}
	if t.op == opAbort {
		if err := w.reached(ctx, r, abortIn[t.n%len(abortIn)]); err != nil {
			return "", err
		}
		if err := until(ctx, time.Minute, func(ctx context.Context) error {
			return w.c.Client.Patch(ctx, r.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"abort":true}}`)))
		}); err != nil {
			return "", err
		}
	}
	how, err = w.ended(ctx, r, func() (api.Phase, []metav1.Condition) { return r.Status.Phase, r.Status.Conditions })
	want := span{acknowledged, most}
	if r.Status.Phase == api.PhaseCompleted {
		want = w.cut["base"]
	}
	err = errors.Join(err, w.kept(ctx, r, former))
	if err != nil {
		return how, err
	}
	if err := w.has(ctx, w.name, want); err != nil {
		return how, err
	}
	n, err := holds(ctx, w.writer.couch)
	if err != nil {
		return how, err
	}
	w.writer.start(w.ctx, n)
	if err := w.clearAside(ctx, r); err != nil {
		return how, err
	}
	return how, w.judge(ctx, nil)
}

// beside is the namespace that a trial restores into, "" if into none.
func (w *world) beside(t trial) string {
	switch t.op {
	case opClone, opCloneFiles, opUndo:
		return fmt.Sprintf("%s-c%d", w.name, t.n)
	}
	return ""
}
