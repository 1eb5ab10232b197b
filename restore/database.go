package restore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/replicate"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// One database of a backup goes into the running instance: the backup's CouchDB is
// brought up in a scratch namespace, closed in as every clone, and the database is
// copied out of it by the controller. Neither CouchDB has to reach the other.

const (
	// databaseTime is how a point in time stands in a database's name.
	databaseTime = "20060102-150405"
	// longestName that CouchDB takes for a database, in bytes.
	longestName = 238
)

// dated gives a database's name with a word and a time, no longer than CouchDB
// takes it.
func dated(name, word, at string) string {
	name = strings.TrimLeft(name, "_") // those are CouchDB's own
	suffix := "-" + word + "-" + at
	return name[:min(len(name), longestName-len(suffix))] + suffix
}

// restoredAs is the name that the copy of the backup's database gets. Where it
// shall replace the live one it is copied beside that first.
func (w *work) restoredAs() string {
	spec := w.restore.Spec.Database
	if spec.As != "" && !spec.Replace {
		return spec.As
	}
	return dated(spec.Name, "restored", w.record.CutTime.UTC().Format(databaseTime))
}

// keptAs is the name that the live database is kept under when it is replaced.
func keptAs(restore *api.Restore) string {
	at := restore.CreationTimestamp.UTC()
	if start := restore.Status.StartTime; start != nil {
		at = start.UTC()
	}
	return dated(restore.Spec.Database.Name, "replaced", at.Format(databaseTime))
}

// mapOf gives the shard map of the database in the backup.
func (w *work) mapOf(name string) (couchdb.ShardMap, bool) {
	if m, ok := w.record.After.ShardMaps[name]; ok {
		return m, true
	}
	m, ok := w.record.Before.ShardMaps[name]
	return m, ok
}

// preflightDatabase refuses unless the backup has the database, the instance can
// take it, and the scratch namespace can be filled.
func (r *Reconciler) preflightDatabase(ctx context.Context, w *work) error {
	restore, spec := w.restore, w.restore.Spec.Database
	if w.record.FromTags {
		return reason.Refuse(api.ReasonDatabaseMissing, "backup %s/%s was put together from the tags of its snapshots, and does not know its databases: restore it into an empty namespace, and take the database from there", w.record.Namespace, w.record.Name)
	}
	m, ok := w.mapOf(spec.Name)
	if !ok {
		return reason.Refuse(api.ReasonDatabaseMissing, "backup %s/%s has no database %s; it has: %s", w.record.Namespace, w.record.Name, spec.Name, some(slices.Sorted(maps.Keys(w.record.After.ShardMaps))))
	}
	if spec.Replace && strings.HasPrefix(spec.Name, "_") {
		return reason.Refuse(api.ReasonDatabaseExists, "database %s is CouchDB's own and cannot be replaced while it runs; restore it under another name (--database-as), or restore in place (--in-place)", spec.Name)
	}
	restore.Status.Database = &api.DatabaseStatus{Scratch: scratchName(restore), As: w.restoredAs()}
	if spec.Replace {
		restore.Status.Database.As, restore.Status.Database.Staging, restore.Status.Database.KeptAs = spec.Name, w.restoredAs(), keptAs(restore)
	}
	live, err := r.live(ctx, restore.Namespace)
	if err != nil {
		return err
	}
	for _, name := range w.makes() {
		exists, err := replicate.Exists(ctx, replicate.NewSide(name, live))
		if err != nil {
			return err
		}
		if exists {
			return reason.Refuse(api.ReasonDatabaseExists, "database %s exists in %s already; choose another name (--database-as), delete it, or put the backup's in the place of the live one (--replace), which is first kept under another name", name, restore.Namespace)
		}
	}
	if spec.Replace {
		exists, err := replicate.Exists(ctx, replicate.NewSide(spec.Name, live))
		if err != nil {
			return err
		}
		if !exists {
			return reason.Refuse(api.ReasonDatabaseMissing, "there is no database %s in %s that could be replaced; restore it with --database-as %s and without --replace", spec.Name, restore.Namespace, spec.Name)
		}
	}
	w.caution("the volumes of %s need as much free space as database %s takes%s; CouchDB does not tell how much is free", restore.Namespace, spec.Name, map[bool]string{true: " three times over, since it is copied beside the live one, and that is kept"}[spec.Replace])
	if spec.Replace {
		w.caution("what was written to %s after %s is not in the restored database; it stays in %s", spec.Name, w.record.CutTime.UTC().Format("2006-01-02 15:04:05 MST"), keptAs(restore))
		w.caution("nobody can work while the database is replaced, which takes about as long as copying it twice; phones then compare all their documents of %s anew", spec.Name)
	}
	if len(m.ByRange) == 0 {
		return reason.Refuse(api.ReasonDatabaseMissing, "the backup's shard map of database %s names no shards", spec.Name)
	}
	return r.scratchFits(ctx, w)
}

// makes names the databases that the restore makes besides the one it replaces.
func (w *work) makes() []string {
	if w.restore.Spec.Database.Replace {
		return []string{w.restoredAs(), keptAs(w.restore)}
	}
	return []string{w.restoredAs()}
}

// some lists names, the first twenty.
func some(names []string) string {
	if n := len(names) - 20; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:20], ", "), n)
	}
	return joined(names)
}

func planScratch(w *work) []string {
	lines := []string{fmt.Sprintf("create namespace %s, and in it CouchDB alone from the backup, closed in; it is deleted with its volumes when the database was copied", scratchName(w.restore))}
	lines = append(lines, planScratchClaims(w)...)
	return append(lines, fmt.Sprintf("verification %s of database %s against the record", w.restore.Spec.Verify, w.restore.Spec.Database.Name))
}

func planReplicating(w *work) []string {
	name := w.restore.Spec.Database.Name
	m, _ := w.mapOf(name)
	count := w.record.After.Counts[name]
	lines := []string{
		fmt.Sprintf("create database %s of %d shards in %s", w.restoredAs(), len(m.ByRange), w.restore.Namespace),
		fmt.Sprintf("copy some %d documents and %d tombstones into it with their histories and attachments, then compare every id, revision and attachment", count.Documents, count.Deleted),
	}
	if w.restore.Spec.Database.Replace {
		lines = append(lines, fmt.Sprintf("create database %s, and copy the live database %s into it while the CHT runs", keptAs(w.restore), name))
	}
	return lines
}

func planReplacing(w *work) []string {
	name := w.restore.Spec.Database.Name
	lines := []string{fmt.Sprintf("create Secret %s: how the instance is now, to return to", beforeName(w.restore))}
	for _, tier := range tiers[:len(tiers)-1] {
		for _, o := range w.before {
			if isWorkload(o) && tier.has(component(o)) {
				lines = append(lines, fmt.Sprintf("scale %s %s from %d to 0", o.GetKind(), o.GetName(), replicasOf(o)))
			}
		}
	}
	lines = append(lines,
		fmt.Sprintf("copy what came meanwhile into %s, and compare it with %s", keptAs(w.restore), name),
		fmt.Sprintf("delete database %s and make it again from %s, compare, then delete %s", name, w.restoredAs(), w.restoredAs()))
	return append(lines, planStartAgain(w)...)
}
