package restore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/snapshot/couchdb"
)

func TestRebuildShards(t *testing.T) {
	cut := time.Unix(2000, 0)
	services := map[string]string{"couchdb@1": "couchdb-1", "couchdb@2": "couchdb-2"}
	const low, high, all = "00000000-7fffffff", "80000000-ffffffff", "00000000-ffffffff"
	tests := []struct {
		name     string
		one, two string // files on the nodes
		want     []string
		shards   int
		missing  string
		notes    int
	}{
		{name: "two nodes, each with half", one: low + "/medic.1000 " + low + "/a/b.1500", two: high + "/medic.1000 " + high + "/a/b.1500", want: []string{"a/b.1500", "medic.1000"}, shards: 4},
		{name: "one shard", one: all + "/medic.1000", want: []string{"medic.1000"}, shards: 1},
		{name: "two copies of each range", one: all + "/medic.1000", two: all + "/medic.1000", want: []string{"medic.1000"}, shards: 2},
		{name: "what CouchDB made when it started is not the backup's", one: low + "/_users.1000 " + all + "/_users.3000", two: high + "/_users.1000", want: []string{"_users.1000"}, shards: 2},
		{name: "only what was made after", one: all + "/_replicator.3000", want: []string{"_replicator.3000"}, shards: 1},
		{name: "deleted and made again", one: all + "/medic.1000 " + all + "/medic.1900", want: []string{"medic.1900"}, shards: 1, notes: 1},
		{name: "deleted in part, made again", one: all + "/medic.1000 " + low + "/medic.1900", want: []string{"medic.1000"}, shards: 1, notes: 1},
		{name: "a range lacks", one: low + "/medic.1000", missing: "database medic (.1000): no volume has a shard of the range 80000000-ffffffff"},
		{name: "the first range lacks", two: high + "/medic.1000", missing: "00000000-7fffffff"},
		{name: "split under way", one: all + "/medic.1000 " + low + "/medic.1000", missing: "overlaps"},
		{name: "left of a move", one: low + "/medic.1000 " + high + "/medic.1000", two: high + "/medic.1000", missing: "left of a move"},
		{name: "others' files", one: all + "/medic.1000 x/medic.1000 " + all + "/medic " + all + "/.1000 " + all + "/medic.10a0 ffffffff-00000000/odd.1 " + all + "/odd.99999999999999999999", want: []string{"medic.1000"}, shards: 1, notes: 6},
		{name: "nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]map[string]bool{"couchdb@1": {}, "couchdb@2": {}}
			for node, list := range map[string]string{"couchdb@1": tt.one, "couchdb@2": tt.two} {
				for _, f := range strings.Fields(list) {
					files[node]["shards/"+f] = true
				}
			}
			plan := rebuildShards(services, files, cut)
			var got []string
			for _, m := range plan.Maps {
				suffix := ""
				for _, b := range m.Suffix {
					suffix += string(rune(b))
				}
				got = append(got, m.ID+suffix)
				// Every file that the map names is there, as after any other restore.
				if present, missing := look(m, services, files); len(missing) > 0 || present == 0 {
					t.Errorf("%s: missing %v", m.ID, missing)
				}
			}
			if !slices.Equal(got, tt.want) || plan.Shards != tt.shards || len(plan.Notes) != tt.notes+1 || (tt.missing == "") != (len(plan.Missing) == 0) ||
				tt.missing != "" && !strings.Contains(plan.Missing[0], tt.missing) {
				t.Errorf("%v, %d shards, missing %v, notes %v", got, plan.Shards, plan.Missing, plan.Notes)
			}
		})
	}
}

func TestRebuildTellsLittle(t *testing.T) {
	files := map[string]map[string]bool{"a": {}}
	for i := range 1000 {
		files["a"][fmt.Sprintf("shards/x/%d", i)] = true
	}
	if plan := rebuildShards(map[string]string{}, files, time.Unix(10, 0)); len(plan.Notes) != mostRebuildNotes+1 || len(plan.Maps) > 0 {
		t.Errorf("%d notes", len(plan.Notes))
	}
}

// What is rebuilt is the map that was there, but for the order of its changelog.
func TestRebuildGivesTheSameMap(t *testing.T) {
	was := couchdb.ShardMap{ID: "medic", Suffix: []int{'.', '9'}, ByNode: map[string][]string{"a": {"00000000-7fffffff"}, "b": {"80000000-ffffffff"}},
		ByRange: map[string][]string{"00000000-7fffffff": {"a"}, "80000000-ffffffff": {"b"}}}
	files := map[string]map[string]bool{}
	for node, ranges := range was.ByNode {
		files[node] = map[string]bool{}
		for _, r := range ranges {
			files[node][was.ShardFile(r)] = true
		}
	}
	plan := rebuildShards(map[string]string{}, files, time.Unix(10, 0))
	if len(plan.Maps) != 1 || !plan.Maps[0].SamePlaces(was) || len(plan.Maps[0].Changelog) != 2 {
		t.Errorf("%+v", plan)
	}
}
