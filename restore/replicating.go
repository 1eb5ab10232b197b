package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/replicate"
	"github.com/medic/cht-backup/restore/verify"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// replicating verifies the database in the scratch namespace, copies it into the
// instance, and compares. Where it shall replace the live one, that is copied too,
// as far as it is by now.
func (r *Reconciler) replicating(ctx context.Context, w *work) error {
	return r.patiently(ctx, w, func(ctx context.Context) error {
		live, err := r.liveSoon(ctx, w.restore.Namespace)
		if err != nil {
			return err
		}
		if exact, err := r.exact(ctx, w, live, w.restoredAs()); err != nil {
			return err
		} else if !exact {
			if err := r.outOfScratch(ctx, w, live); err != nil {
				return err
			}
		}
		if w.restore.Spec.Database.Replace {
			keep := r.copying(ctx, w, live, w.restore.Spec.Database.Name, live, keptAs(w.restore))
			if err := r.makeCopy(ctx, w, keep, "database "+keep.From.Database+" as it was before it was replaced"); err != nil {
				return err
			}
			if err := keep.Copy(ctx); err != nil {
				return err
			}
		}
		return r.dropScratch(ctx, w.restore)
	})
}

// exact tells whether a database of this restore was found to be an exact copy.
func (r *Reconciler) exact(ctx context.Context, w *work, live []*couchdb.Client, name string) (bool, error) {
	marker, _, err := replicate.Mine(ctx, replicate.NewSide(name, live), w.restore.UID)
	return marker != nil && marker.Exact, err
}

// outOfScratch copies the database out of the scratch namespace.
func (r *Reconciler) outOfScratch(ctx context.Context, w *work, live []*couchdb.Client) error {
	var child api.Restore
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: scratchName(w.restore), Name: scratchChild}, &child); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get restore %s/%s: %w", scratchName(w.restore), scratchChild, err)
	} else if err != nil {
		return reason.Refuse(api.ReasonReplicationFailed, "restore %s/%s, from which the database is copied, was deleted meanwhile; restore again", scratchName(w.restore), scratchChild)
	}
	if _, err := r.liveSoon(ctx, child.Namespace); err != nil {
		return err
	}
	scratch, err := r.load(ctx, &child)
	if err != nil {
		return err
	}
	c, err := r.connect(ctx, scratch)
	if err != nil {
		return err
	}
	name := w.restore.Spec.Database.Name
	if err := r.verifyOne(ctx, w, c, name); err != nil {
		return err
	}
	job := r.copying(ctx, w, c.clients, name, live, w.restoredAs())
	from := fmt.Sprintf("database %s of backup %s/%s, cut %s", name, w.record.Namespace, w.record.Name, w.record.CutTime.UTC().Format("2006-01-02T15:04:05Z"))
	if err := r.makeCopy(ctx, w, job, from); err != nil {
		return err
	}
	w.restore.Status.Database.Compared, err = job.Whole(ctx)
	return err
}

// verifyOne compares one database with the record, once.
func (r *Reconciler) verifyOne(ctx context.Context, w *work, c couch, name string) error {
	if v := w.restore.Status.Verification; v != nil && v.CompletionTime != nil && len(v.Problems) == 0 {
		return nil
	}
	plan, err := c.plan(ctx, w.record)
	if err != nil {
		return err
	}
	var maps []couchdb.ShardMap
	for _, m := range plan.Maps {
		if m.ID == name {
			maps = append(maps, m)
		}
	}
	if len(maps) == 0 {
		return reason.Refuse(api.ReasonDatabaseMissing, "database %s was created or deleted while the backup was taken, and is not part of it; choose another backup", name)
	}
	v, err := r.verification(ctx, w, c, maps).Run(ctx)
	w.restore.Status.Verification = &v
	return err
}

// verification is that of so many databases of a restored cluster.
func (r *Reconciler) verification(ctx context.Context, w *work, c couch, maps []couchdb.ShardMap) verify.Job {
	restore := w.restore
	return verify.Job{
		Cluster: verify.Cluster{Names: c.names, Services: c.services, Clients: c.clients},
		Record:  w.record, Maps: maps, Level: restore.Spec.Verify, Stuck: restore.Spec.StepTimeout.Duration,
		Report: func(v api.Verification, doing string) {
			restore.Status.Verification = &v
			r.alive(restore)
			r.progress(restore, doing+rate(v.Progress))
			r.saveProgress(ctx, restore)
		},
	}
}

// copying is the copy of one database.
func (r *Reconciler) copying(ctx context.Context, w *work, source []*couchdb.Client, from string, target []*couchdb.Client, to string) replicate.Job {
	restore := w.restore
	last := int64(0)
	return replicate.Job{
		From: replicate.NewSide(from, source), To: replicate.NewSide(to, target), Owner: restore.UID, Idle: restore.Spec.StepTimeout.Duration,
		Report: func(p replicate.Progress) {
			if p.Done != last {
				last = p.Done
				r.alive(restore)
			}
			restore.Status.Database.Written, restore.Status.Database.Total = p.Done, p.Total
			r.progress(restore, fmt.Sprintf("database %s to %s: %s%s", from, to, p.Doing, rate(verify.Progress(p.Done, p.Total, p.Took))))
			r.saveProgress(ctx, restore)
		},
	}
}

// makeCopy makes the database that a job copies into, with as many shards as the
// backup's has.
func (r *Reconciler) makeCopy(ctx context.Context, w *work, job replicate.Job, from string) error {
	m, _ := w.mapOf(w.restore.Spec.Database.Name)
	return replicate.Make(ctx, replicate.Target{Side: job.To, Owner: job.Owner, From: from, Shards: len(m.ByRange), Props: m.Props})
}

// alive notes that something moved.
func (r *Reconciler) alive(restore *api.Restore) {
	if restore.Status.Database != nil {
		now := metav1.NewMicroTime(r.Now())
		restore.Status.Database.ProgressTime = &now
	}
}

// saveProgress writes the status in the middle of a step.
func (r *Reconciler) saveProgress(ctx context.Context, restore *api.Restore) {
	if err := r.save(ctx, restore); err != nil {
		log.FromContext(ctx).Error(err, "the progress could not be written")
	}
}

// patiently does what may take hours. An error that may pass is tried again, until
// nothing has moved for as long as a step may take.
func (r *Reconciler) patiently(ctx context.Context, w *work, do func(context.Context) error) error {
	restore := w.restore
	if restore.Status.Database.ProgressTime == nil {
		r.alive(restore)
	}
	err := do(ctx)
	switch {
	case err == nil:
		r.alive(restore)
		return nil
	case reason.Of(err) != nil || ctx.Err() != nil:
		return err
	}
	if stuck := r.Now().Sub(restore.Status.Database.ProgressTime.Time); stuck > restore.Spec.StepTimeout.Duration {
		return reason.Refuse(api.ReasonReplicationFailed, "nothing has moved for %s: %w", stuck.Round(time.Second), err)
	}
	var wait notYet
	if errors.As(err, &wait) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return notYet{err}
}
