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
