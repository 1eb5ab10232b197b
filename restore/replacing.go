package restore

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/replicate"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// replacing puts the copied database in the place of the live one. CouchDB cannot
// rename a database, so both are copied, with nobody at work: the live one to where
// it is kept, which was done but for the last changes, then the backup's to its
// name. The live one is deleted only when what is kept was found to be the same.
func (r *Reconciler) replacing(ctx context.Context, w *work) error {
	if err := r.saveBefore(ctx, w); err != nil {
		return err
	}
	restore, name := w.restore, w.restore.Spec.Database.Name
	return r.patiently(ctx, w, func(ctx context.Context) error {
		if err := oneTurn(ctx, func(ctx context.Context) error {
			if err := r.backupsEnded(ctx, restore); err != nil {
				return err
			}
			return r.stopUsers(ctx, restore)
		}); err != nil {
			return err
		}
		live, err := r.liveSoon(ctx, restore.Namespace)
		if err != nil {
			return err
		}
		if err := r.keep(ctx, w, live); err != nil {
			return err
		}
		into := r.copying(ctx, w, live, w.restoredAs(), live, name)
		if exact, err := r.exact(ctx, w, live, name); err != nil {
			return err
		} else if !exact {
			if err := r.makeCopy(ctx, w, into, fmt.Sprintf("database %s of backup %s/%s", name, w.record.Namespace, w.record.Name)); err != nil {
				return err
			}
			if restore.Status.Database.Compared, err = into.Whole(ctx); err != nil {
				return err
			}
		}
		if err := r.startUsers(ctx, w); err != nil {
			return err
		}
		return replicate.Drop(ctx, into.From, restore.UID)
	})
}

// backupsEnded waits for a backup that began while the database was being copied.
// A later one is not admitted.
func (r *Reconciler) backupsEnded(ctx context.Context, restore *api.Restore) error {
	var backups api.BackupList
	return await.List(ctx, r.Client, &backups, func() (string, error) {
		for _, b := range backups.Items {
			if !snapshot.Ended(b.Status.Phase) {
				return fmt.Sprintf("the end of backup %s (%s)", b.Name, orPending(b.Status.Phase)), nil
			}
		}
		return "", nil
	}, client.InNamespace(restore.Namespace))
}

// keep brings the copy of the live database up to date, compares, and deletes the
// live one.
func (r *Reconciler) keep(ctx context.Context, w *work, live []*couchdb.Client) error {
	restore, name := w.restore, w.restore.Spec.Database.Name
	marker, exists, err := replicate.Mine(ctx, replicate.NewSide(name, live), restore.UID)
	if err != nil || marker != nil {
		return err // replaced before, and perhaps not to its end
	}
	kept, err := r.exact(ctx, w, live, keptAs(restore))
	switch {
	case err != nil:
		return err
	case !exists && kept:
		return nil
	case !exists:
		return reason.Refuse(api.ReasonDatabaseMissing, "database %s disappeared from %s while it was being kept as %s; look who deleted it", name, restore.Namespace, keptAs(restore))
	}
	job := r.copying(ctx, w, live, name, live, keptAs(restore))
	if _, err := job.Whole(ctx); err != nil {
		return err
	}
	return replicate.Delete(ctx, job.From)
}

// stopUsers stops all that uses CouchDB, and the way to it.
func (r *Reconciler) stopUsers(ctx context.Context, restore *api.Restore) error {
	workloads, err := r.workloads(ctx, restore.Namespace)
	if err != nil {
		return err
	}
	return r.stopTiers(ctx, restore, workloads, tiers[:len(tiers)-1])
}

// backFrom is how the marker names a database that was put back.
func backFrom(restore *api.Restore) string { return "database " + keptAs(restore) + ", put back" }

// returnDatabase undoes a replacement: the kept database gets its name again, and
// the components the replicas they had.
func (r *Reconciler) returnDatabase(ctx context.Context, restore *api.Restore) error {
	w := &work{restore: restore}
	var err error
	if w.before, err = r.loadBefore(ctx, restore); err != nil {
		return err
	}
	w.target = held(w.before)
	live, err := r.liveSoon(ctx, restore.Namespace)
	if err != nil {
		return err
	}
	name := replicate.NewSide(restore.Spec.Database.Name, live)
	marker, exists, err := replicate.Mine(ctx, name, restore.UID)
	if err != nil {
		return err
	}
	back := marker != nil && marker.Exact && marker.From == backFrom(restore)
	if (marker != nil || !exists) && !back { // the live one is gone
		if err := r.putDatabaseBack(ctx, w, live, marker); err != nil {
			return err
		}
	}
	// Nobody waits for them: they may not have been ready before.
	if err := r.raiseUsers(ctx, w); err != nil {
		return err
	}
	return r.undo(ctx, restore)
}

// putDatabaseBack copies the kept database to its name. There may be half a copy of
// the backup's by that name.
func (r *Reconciler) putDatabaseBack(ctx context.Context, w *work, live []*couchdb.Client, marker *replicate.Marker) error {
	restore := w.restore
	if kept, err := r.exact(ctx, w, live, keptAs(restore)); err != nil {
		return err
	} else if !kept {
		return fmt.Errorf("database %s is gone, and there is no whole copy %s to put back; look at both before anything else", restore.Spec.Database.Name, keptAs(restore))
	}
	job := r.copying(ctx, w, live, keptAs(restore), live, restore.Spec.Database.Name)
	if marker != nil && marker.From != backFrom(restore) {
		if err := replicate.Drop(ctx, job.To, restore.UID); err != nil {
			return err
		}
	}
	maps, err := live[0].ShardMaps(ctx, "_local")
	if err != nil {
		return err
	}
	m := maps[keptAs(restore)]
	if err := replicate.Make(ctx, replicate.Target{Side: job.To, Owner: restore.UID, From: backFrom(restore), Shards: len(m.ByRange), Props: m.Props}); err != nil {
		return err
	}
	_, err = job.Whole(ctx)
	return err
}

// undoDatabase removes what a restore of one database made, and leaves a database
// that it put back or that is somebody else's.
func (r *Reconciler) undoDatabase(ctx context.Context, restore *api.Restore) error {
	if err := r.dropScratch(ctx, restore); err != nil {
		return err
	}
	status := restore.Status.Database
	if status == nil || restore.Status.Phase == api.PhasePending || restore.Status.Phase == api.PhasePlanned {
		return nil // nothing was made
	}
	live, err := r.live(ctx, restore.Namespace)
	if e := reason.Of(err); e != nil && e.Reason == api.ReasonNoInstance {
		return nil // the databases went with the instance
	}
	if err != nil {
		return fmt.Errorf("remove the databases that restore %s/%s made: %w", restore.Namespace, restore.Name, err)
	}
	made := []string{status.As}
	if restore.Spec.Database.Replace {
		made = []string{status.Staging, status.KeptAs}
	}
	for _, name := range made {
		if err := replicate.Drop(ctx, replicate.NewSide(name, live), restore.UID); err != nil {
			return err
		}
	}
	return nil
}
