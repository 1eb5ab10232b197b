package restore

import (
	"fmt"
	"maps"
	"slices"

	"github.com/medic/cht-backup/snapshot/couchdb"
)

// shardPlan is what the shard maps of a record and the files on the volumes
// come to.
type shardPlan struct {
	// Maps to write, under the new names.
	Maps []couchdb.ShardMap
	// Shards is the number of files found that those maps name.
	Shards int
	// Missing are files that must be there and are not: a volume is on the wrong
	// node, empty, or of another time.
	Missing []string
	// Notes tell which databases came or went while the backup was taken.
	Notes []string
}

// planShards decides which databases exist in the restored set. A database that
// stood in the maps before and after the cut must be complete. One that was made
// or deleted in between is there if its files are. nodes maps old Erlang names to
// new ones, services to the label that people know; files are those on each new
// node's disk.
func planShards(before, after map[string]couchdb.ShardMap, nodes, services map[string]string, files map[string]map[string]bool) (shardPlan, error) {
	var plan shardPlan
	names := map[string]couchdb.ShardMap{}
	maps.Copy(names, before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, hadBefore := before[name]
		late, hasAfter := after[name]
		certain := hadBefore && hasAfter && slices.Equal(old.Suffix, late.Suffix)
		candidates := []couchdb.ShardMap{old}
		switch {
		case !hadBefore:
			candidates = []couchdb.ShardMap{late}
		case hasAfter && !certain: // deleted and made again under the same name
			candidates = []couchdb.ShardMap{late, old}
		}
		found := false
		for _, m := range candidates {
			renamed, err := m.Renamed(nodes)
			if err != nil {
				return plan, err
			}
			present, missing := look(renamed, services, files)
			if len(missing) == 0 {
				plan.Maps, plan.Shards, found = append(plan.Maps, renamed), plan.Shards+present, true
				break
			}
			if certain {
				plan.Missing, found = append(plan.Missing, missing...), true
			}
		}
		if !found {
			plan.Notes = append(plan.Notes, fmt.Sprintf("database %s was created or deleted while the backup was taken and is not part of it", name))
		}
	}
	return plan, nil
}

// look compares one map with the files.
func look(m couchdb.ShardMap, services map[string]string, files map[string]map[string]bool) (present int, missing []string) {
	for _, node := range slices.Sorted(maps.Keys(m.ByNode)) {
		for _, shardRange := range m.ByNode[node] {
			file := m.ShardFile(shardRange)
			if files[node][file] {
				present++
			} else {
				missing = append(missing, fmt.Sprintf("node %s lacks shard %s%s", services[node], file, elsewhere(node, file, services, files)))
			}
		}
	}
	return present, missing
}

// elsewhere says which other node has a missing file: its volume is that node's then.
func elsewhere(node, file string, services map[string]string, files map[string]map[string]bool) string {
	for _, other := range slices.Sorted(maps.Keys(files)) {
		if other != node && files[other][file] {
			return fmt.Sprintf(", which is on the volume of %s", services[other])
		}
	}
	return ""
}
