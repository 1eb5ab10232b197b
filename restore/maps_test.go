package restore

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/medic/cht-backup/snapshot/couchdb"
)

// shardMap places range a on node 1 and range b on node 2 of the source.
func shardMap(id string, suffix int) couchdb.ShardMap {
	return couchdb.ShardMap{ID: id, Suffix: []int{'.', '0' + suffix},
		ByNode:  map[string][]string{"couchdb@old-1": {"a"}, "couchdb@old-2": {"b"}},
		ByRange: map[string][]string{"a": {"couchdb@old-1"}, "b": {"couchdb@old-2"}}}
}

func mapsOf(all ...couchdb.ShardMap) map[string]couchdb.ShardMap {
	m := map[string]couchdb.ShardMap{}
	for _, one := range all {
		m[one.ID] = one
	}
	return m
}

func TestPlanShards(t *testing.T) {
	nodes := map[string]string{"couchdb@old-1": "couchdb@new-1", "couchdb@old-2": "couchdb@new-2"}
	services := map[string]string{"couchdb@new-1": "couchdb-1", "couchdb@new-2": "couchdb-2"}
	// files on node 1 | files on node 2
	disk := func(files string) map[string]map[string]bool {
		out := map[string]map[string]bool{}
		for i, list := range strings.Split(files, "|") {
			node := map[string]bool{}
			for _, f := range strings.Fields(list) {
				node["shards/"+f] = true
			}
			out[fmt.Sprintf("couchdb@new-%d", i+1)] = node
		}
		return out
	}
	medic := shardMap("medic", 1)
	stranger := shardMap("odd", 1)
	stranger.ByNode["couchdb@third"] = []string{"c"}
	tests := []struct {
		name          string
		before, after map[string]couchdb.ShardMap
		files         string
		want          []string // databases with the suffix that was taken
		shards        int
		missing       []string
		notes         int
		err           string
	}{
		{name: "complete", before: mapsOf(medic), after: mapsOf(medic), files: "a/medic.1 | b/medic.1", want: []string{"medic.1"}, shards: 2},
		{name: "more files than maps", before: mapsOf(medic), after: mapsOf(medic), files: "a/medic.1 a/x.9 b/medic.1 | b/medic.1", want: []string{"medic.1"}, shards: 2},
		{name: "two volumes swapped", before: mapsOf(medic), after: mapsOf(medic), files: "b/medic.1 | a/medic.1",
			missing: []string{"node couchdb-1 lacks shard shards/a/medic.1, which is on the volume of couchdb-2", "node couchdb-2 lacks shard shards/b/medic.1, which is on the volume of couchdb-1"}},
		{name: "one volume empty", before: mapsOf(medic), after: mapsOf(medic), files: "a/medic.1 |", missing: []string{"node couchdb-2 lacks shard shards/b/medic.1"}},
		{name: "a volume of another time", before: mapsOf(medic), after: mapsOf(medic), files: "a/medic.1 | b/medic.0", missing: []string{"node couchdb-2 lacks shard shards/b/medic.1"}},
		{name: "made between the looks, and in", after: mapsOf(medic), files: "a/medic.1 | b/medic.1", want: []string{"medic.1"}, shards: 2},
		{name: "made between the looks, and not in", after: mapsOf(medic), files: "|", notes: 1},
		{name: "made between the looks, and half in", after: mapsOf(medic), files: "a/medic.1 |", notes: 1},
		{name: "deleted between the looks, and in", before: mapsOf(medic), files: "a/medic.1 | b/medic.1", want: []string{"medic.1"}, shards: 2},
		{name: "deleted between the looks, and not in", before: mapsOf(medic), files: "|", notes: 1},
		{name: "deleted and made again; the new one is in", before: mapsOf(medic), after: mapsOf(shardMap("medic", 2)), files: "a/medic.1 a/medic.2 | b/medic.2", want: []string{"medic.2"}, shards: 2},
		{name: "deleted and made again; the old one is in", before: mapsOf(medic), after: mapsOf(shardMap("medic", 2)), files: "a/medic.1 a/medic.2 | b/medic.1", want: []string{"medic.1"}, shards: 2},
		{name: "deleted and made again; neither is in", before: mapsOf(medic), after: mapsOf(shardMap("medic", 2)), files: "a/medic.1 | b/medic.2", notes: 1},
		{name: "one of several is not complete", before: mapsOf(medic, shardMap("_users", 1)), after: mapsOf(medic, shardMap("_users", 1)), files: "a/_users.1 a/medic.1 | b/_users.1",
			want: []string{"_users.1"}, shards: 2, missing: []string{"node couchdb-2 lacks shard shards/b/medic.1"}},
		{name: "a node without a volume", before: mapsOf(stranger), after: mapsOf(stranger), files: "a/odd.1 | b/odd.1", err: "couchdb@third"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := planShards(tt.before, tt.after, nodes, services, disk(tt.files))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			var got []string
			for _, m := range plan.Maps {
				got = append(got, strings.TrimPrefix(m.ShardFile("a"), "shards/a/"))
				for node := range m.ByNode {
					if services[node] == "" {
						t.Errorf("map %s names %s", m.ID, node)
					}
				}
			}
			if err != nil || !slices.Equal(got, tt.want) || plan.Shards != tt.shards || !slices.Equal(plan.Missing, tt.missing) || len(plan.Notes) != tt.notes {
				t.Errorf("got %v, %d shards, missing %v, notes %v, %v", got, plan.Shards, plan.Missing, plan.Notes, err)
			}
		})
	}
}
