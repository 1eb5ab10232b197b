package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/reason"
)

// step is one step of a restore. It can be repeated: the controller may be
// killed at any instruction of it.
type step struct {
	phase api.Phase
	// about is what the step does, said on entering it.
	about string
	do    func(*Reconciler, context.Context, *work) error
	// plan tells every object that the step touches.
	plan func(*work) []string
}

// stepsOf gives the steps of such a restore, in their order.
func stepsOf(spec api.RestoreSpec) []step {
	check := step{api.PhasePending, "checking", (*Reconciler).check, nil}
	couch := step{api.PhaseCouchDB, "starting CouchDB alone", (*Reconciler).startCouchDB, planCouchDB}
	verify := step{api.PhaseVerifying, "comparing the databases with the record", (*Reconciler).verifying, planVerifying}
	switch {
	case spec.InPlace != nil:
		return []step{
			check,
			{api.PhaseSafetyBackup, "backing up the present state", (*Reconciler).safetyBackup, planSafetyBackup},
			{api.PhaseVolumes, "making volumes from the backup, beside the running instance", (*Reconciler).volumes, planVolumes},
			{api.PhaseStopping, "stopping the instance, CouchDB last", (*Reconciler).stopping, planStopping},
			{api.PhaseSwapping, "setting the present volumes aside, giving their claims to the restored ones", (*Reconciler).swapping, planSwapping},
			{api.PhaseObjects, "putting the workloads back to what the backup has", (*Reconciler).putBack, planPutBack},
			couch, verify,
			{api.PhaseStarting, "the data is verified; starting the components", (*Reconciler).startAgain, planStartAgain},
		}
	case spec.Database != nil:
		steps := []step{
			check,
			{api.PhaseScratch, "bringing the backup's CouchDB up in a namespace of its own", (*Reconciler).scratch, planScratch},
			{api.PhaseReplicating, "replicating the database out of it", (*Reconciler).replicating, planReplicating},
		}
		if spec.Database.Replace {
			steps = append(steps, step{api.PhaseReplacing, "keeping the live database under another name, and replacing it", (*Reconciler).replacing, planReplacing})
		}
		return steps
	case spec.Drill != nil:
		return []step{
			check,
			{api.PhaseScratch, "restoring the backup into a namespace of its own, to verify it", (*Reconciler).drilling, planDrilling},
			{api.PhaseTearingDown, "removing the scratch namespace", nil, planTearingDown}, // tearDown, which needs no record
		}
	}
	steps := []step{
		check,
		{api.PhaseVolumes, "making claims from the backup", (*Reconciler).volumes, planVolumes},
		{api.PhaseObjects, "applying the instance's objects, all workloads at 0", (*Reconciler).applyAll, planObjects},
		couch, verify,
	}
	if spec.Scope != api.ScopeCouchDB {
		steps = append(steps, step{api.PhaseStarting, "the data is verified; starting the components", (*Reconciler).start, planStart})
	}
	return steps
}

// Steps names the steps of such a restore, in their order.
func Steps(spec api.RestoreSpec) []api.Phase {
	var phases []api.Phase
	for _, s := range stepsOf(spec) {
		phases = append(phases, s.phase)
	}
	return phases
}

// touched tells whether a restore has begun to change the running instance, so
// that it has to be put back.
func touched(restore *api.Restore) bool {
	switch phase := restore.Status.Phase; {
	case restore.Spec.InPlace != nil:
		return touches(phase)
	case restore.Spec.Database != nil:
		return phase == api.PhaseReplacing || phase == api.PhaseRollingBack
	}
	return false
}

// touches tells whether a step of a restore in place, or one before it, has
// touched the running instance.
func touches(phase api.Phase) bool {
	at := func(p api.Phase) int { return slices.Index(Steps(api.RestoreSpec{InPlace: &api.InPlace{}}), p) }
	return at(phase) >= at(api.PhaseStopping)
}

// work is what the steps of one restore work on.
type work struct {
	restore *api.Restore
	record  catalog.Record
	// source are the objects as the backup has them, target as they are applied,
	// every workload at 0 with its replicas in an annotation.
	source, target []*unstructured.Unstructured
	rewrite        rewriter
	// before is the instance as it was before a restore in place.
	before []*unstructured.Unstructured
	// scratch is the work of the scratch restore, once the check has looked at it.
	scratch *work
	// cautions are what the checks found that somebody should weigh.
	cautions []string
}

// load reads the backup's record and works out what is to be applied.
func (r *Reconciler) load(ctx context.Context, restore *api.Restore) (*work, error) {
	if restore.Status.Record == "" {
		head, err := r.findRecord(ctx, restore)
		if err != nil {
			return nil, err
		}
		namespace, err := r.onBehalf(ctx, restore)
		if err != nil {
			return nil, err
		}
		if err := allowed(head, namespace); err != nil {
			return nil, err
		}
		restore.Status.Record, restore.Status.BackupUID = head.Secret, head.UID
	}
	record, err := r.Records.Get(ctx, restore.Status.Record)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, reason.Refuse(api.ReasonBackupNotFound, "the record %s of backup %s/%s is gone: was the backup deleted?", restore.Status.Record, restore.Spec.Source.Namespace, restore.Spec.Source.Name)
	} else if errors.Is(err, catalog.ErrInvalid) {
		return nil, reason.Refuse(api.ReasonRecordInvalid, "%w; choose another backup (`kubectl cht list -n %s`), or a version of cht-backup that reads it", err, restore.Spec.Source.Namespace)
	} else if err != nil {
		return nil, err
	}
	w := &work{restore: restore, record: record}
	recorded, err := decode(record.Objects)
	if err != nil {
		return nil, fmt.Errorf("record of %s/%s: %w", record.Namespace, record.Name, err)
	}
	w.take(recorded)
	w.rewrite = newRewriter(record.Namespace, restore.Namespace, w.source)
	if restore.Spec.Drill != nil {
		return w, nil // all of it is the scratch restore's
	}
	if d := restore.Spec.Database; d != nil {
		if d.Replace {
			if w.before, err = r.loadBefore(ctx, restore); err != nil {
				return nil, err
			}
			w.target = held(w.before)
		}
		return w, nil
	}
	if restore.Spec.InPlace == nil {
		objects, err := scoped(restore.Spec.Scope, w.source)
		if err != nil {
			return nil, fmt.Errorf("record of %s/%s: %w", record.Namespace, record.Name, err)
		}
		if !restore.Spec.GoLive {
			objects = closed(objects)
		}
		w.target = restored(restore, objects, w.rewrite)
		return w, nil
	}
	if w.before, err = r.loadBefore(ctx, restore); err != nil {
		return nil, err
	}
	w.target = backInPlace(restore, w.source, w.before)
	return w, nil
}

func (w *work) summary() string {
	v := w.restore.Status.Verification
	switch d := w.restore.Status.Database; {
	case w.restore.Spec.Drill != nil:
		return drillSummary(w.restore)
	case d != nil && d.KeptAs != "":
		return fmt.Sprintf("database %s is that of the backup: %d documents, deleted ones included, compared one by one; the former is kept as %s", d.As, d.Compared, d.KeptAs)
	case d != nil:
		return fmt.Sprintf("database %s holds that of the backup: %d documents, deleted ones included, compared one by one", d.As, d.Compared)
	case v == nil:
		return "done"
	}
	return fmt.Sprintf("verified (%s): %d databases, %d shards, %d documents", v.Level, v.Databases, v.Shards, v.Documents)
}

// check refuses what is dangerous, before anything is made, and writes the plan.
func (r *Reconciler) check(ctx context.Context, w *work) error {
	restore := w.restore
	restore.Status.Volumes, restore.Status.Plan = nil, nil
	if restore.Spec.Database == nil && restore.Spec.Drill == nil { // those' volumes are the scratch restore's
		restore.Status.Volumes = volumesOf(w.record)
	}
	if err := r.preflight(ctx, w); err != nil {
		return err
	}
	restore.Status.CutTime = &metav1.MicroTime{Time: w.record.CutTime}
	plan := &api.Plan{Warnings: w.warnings()}
	for _, s := range stepsOf(restore.Spec) {
		if s.plan != nil {
			plan.Steps = append(plan.Steps, api.PlanStep{Phase: s.phase, Actions: s.plan(w)})
		}
	}
	restore.Status.Plan = plan
	if restore.Spec.PlanOnly {
		r.enter(restore, api.PhasePlanned, "planned; set spec.planOnly to false to go on")
	}
	return nil
}

// volumesOf are the volumes of a restore before anything is known of them.
func volumesOf(record catalog.Record) (volumes []api.RestoredVolume) {
	for _, node := range record.Nodes {
		volumes = append(volumes, api.RestoredVolume{Node: node.Service, Claim: node.Claim})
	}
	return volumes
}

// volumes closes the namespace of a clone, then fills it: claims, each prepared
// before CouchDB sees it.
func (r *Reconciler) volumes(ctx context.Context, w *work) error {
	if w.restore.Spec.InPlace == nil {
		resolvers, err := r.resolvers(ctx)
		if err != nil {
			return err
		}
		if err := r.create(ctx, w.restore, isolation(w.restore, r.Records.Namespace, resolvers)); err != nil {
			return err
		}
	}
	if err := r.makeRotation(ctx, w); err != nil {
		return err
	}
	if err := oneTurn(ctx, func(ctx context.Context) error { return r.makeVolumes(ctx, w) }); err != nil {
		return err
	}
	return r.dropImports(ctx, w.restore)
}

// applyAll applies everything of a clone but its pods and ingress.
func (r *Reconciler) applyAll(ctx context.Context, w *work) error {
	if err := r.rotated(ctx, w); err != nil {
		return err
	}
	return r.applyObjects(ctx, w.restore, w.target, false)
}
