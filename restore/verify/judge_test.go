package verify

import (
	"fmt"
	"strings"
	"testing"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

func TestCompareCounts(t *testing.T) {
	counts := func(documents, deleted int64) map[string]couchdb.Counts {
		return map[string]couchdb.Counts{"medic": {Documents: documents, Deleted: deleted}}
	}
	for _, tt := range []struct {
		name               string
		before, after, got map[string]couchdb.Counts
		problem            string
	}{
		{"equal", counts(10, 2), counts(10, 2), counts(10, 2), ""},
		{"between", counts(10, 2), counts(20, 2), counts(15, 2), ""},
		{"deleted in between: fewer living, as many in all", counts(10, 2), counts(5, 7), counts(7, 5), ""},
		{"one too few", counts(10, 2), counts(20, 2), counts(10, 1), "at least 12"},
		{"one too many", counts(10, 2), counts(20, 2), counts(20, 3), "at most 22"},
		{"none", counts(10, 2), counts(20, 2), counts(0, 0), "at least 12"},
		{"no answer", counts(10, 2), counts(10, 2), nil, "does not answer"},
		{"made after the first count", nil, counts(5, 0), counts(3, 0), ""},
		{"made after the first count, too many", nil, counts(5, 0), counts(6, 0), "at most 5"},
		{"deleted before the second count", counts(10, 2), nil, counts(12, 2), ""},
		{"deleted before the second count, too few", counts(10, 2), nil, counts(1, 2), "at least 12"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			record := catalog.Record{Before: catalog.Survey{Counts: tt.before}, After: catalog.Survey{Counts: tt.after}}
			documents, problems := compareCounts(record, tt.got, []string{"medic"})
			if text := strings.Join(problems, "; "); (text == "") != (tt.problem == "") || !strings.Contains(text, tt.problem) || documents != tt.got["medic"].Documents {
				t.Errorf("%d documents, problems %q, want %q", documents, text, tt.problem)
			}
		})
	}
	// CouchDB writes design documents into its own databases when it starts.
	own := catalog.Record{Before: catalog.Survey{Counts: map[string]couchdb.Counts{"_users": {Documents: 3}}}, After: catalog.Survey{Counts: map[string]couchdb.Counts{"_users": {Documents: 3}}}}
	if _, problems := compareCounts(own, map[string]couchdb.Counts{"_users": {Documents: 4}}, []string{"_users"}); len(problems) != 0 {
		t.Errorf("_users: %v", problems)
	}
	if _, problems := compareCounts(own, map[string]couchdb.Counts{"_users": {Documents: 2}}, []string{"_users"}); len(problems) != 1 {
		t.Errorf("_users with one too few: %v", problems)
	}
}

// A database's latest change must lie between those that were recorded.
func TestCompareSequences(t *testing.T) {
	survey := func(suffix int, sequences map[string]int64) catalog.Survey {
		old := theMap
		old.Suffix = []int{'.', suffix}
		return catalog.Survey{ShardMaps: map[string]couchdb.ShardMap{medic: old, "_users": old}, Sequences: sequences}
	}
	at := func(n int64) map[string]int64 { return map[string]int64{medic: n, "_users": n} }
	copies := theMap
	copies.ByRange = map[string][]string{"0-7": {"couchdb@a", "couchdb@b"}}
	users := theMap
	users.ID = "_users"
	for _, tt := range []struct {
		name          string
		before, after catalog.Survey
		restored      couchdb.ShardMap
		seq           string
		problem       string
	}{
		{"equal", survey('1', at(74)), survey('1', at(74)), theMap, "74-g1AAAA", ""},
		{"between", survey('1', at(70)), survey('1', at(80)), theMap, "75-g1AAAA", ""},
		{"an end is lost", survey('1', at(74)), survey('1', at(80)), theMap, "73-g1AAAA", "change 73, the backup was at 74 or later"},
		{"a number, as old versions give it", survey('1', at(74)), survey('1', at(80)), theMap, "73", "change 73"},
		{"of another time", survey('1', at(74)), survey('1', at(80)), theMap, "81-g1AAAA", "at 80 or earlier"},
		{"CouchDB's own grows when it starts", survey('1', at(74)), survey('1', at(80)), users, "81-g1AAAA", ""},
		{"and does not shrink", survey('1', at(74)), survey('1', at(80)), users, "1-g1AAAA", "_users is at change 1"},
		{"a backup of an older version", survey('1', nil), survey('1', nil), theMap, "1-g1AAAA", ""},
		{"no number", survey('1', at(74)), survey('1', at(80)), theMap, "null", ""},
		{"made again while it was backed up", survey('0', at(74)), survey('1', at(2)), theMap, "1-g1AAAA", ""},
		{"several copies of a shard", survey('1', at(74)), survey('1', at(74)), copies, "73-g1AAAA", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			problems := compareSequences(catalog.Record{Before: tt.before, After: tt.after}, []couchdb.ShardMap{tt.restored}, map[string]couchdb.Info{tt.restored.ID: {UpdateSeq: tt.seq}})
			if text := strings.Join(problems, "; "); (text == "") != (tt.problem == "") || !strings.Contains(text, tt.problem) {
				t.Errorf("got %q, want %q", text, tt.problem)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	v := api.Verification{}
	if err := Judge(&v, 0); err != nil {
		t.Error(err)
	}
	for i := range most + 5 {
		v.Problems = append(v.Problems, fmt.Sprintf("problem %d", i))
	}
	err := Judge(&v, 0)
	if e := reason.Of(err); e == nil || e.Reason != api.ReasonVerificationFailed || !strings.Contains(err.Error(), "problem 0") || !strings.Contains(err.Error(), "25 problems") ||
		len(v.Problems) != most+1 || v.Problems[most] != "and 5 more" {
		t.Errorf("%v, %v", err, v.Problems)
	}
}
