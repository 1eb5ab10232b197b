package restore

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// fakeCluster are restored CouchDB nodes that know each other once added.
type fakeCluster struct {
	mu      sync.Mutex
	names   []string
	members map[string][]string // what each node says; default: itself
	added   []string
	// foreignAfter adds the source to what the first node says, after that many adds.
	foreignAfter int
	// deaf nodes never learn of the others.
	deaf bool
	// filesAfter is how many times a listing of files fails first, with a 409.
	filesAfter int
}

func (f *fakeCluster) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	status, answer := 200, any(map[string]any{})
	switch path := r.URL.Path; {
	case path == "/_membership":
		names := f.members[r.URL.Hostname()]
		if names == nil {
			names = []string{"couchdb@" + r.URL.Hostname()}
			if len(f.added) == len(f.names) && !f.deaf {
				names = f.names
			}
		}
		if f.foreignAfter > 0 && len(f.added) >= f.foreignAfter {
			names = append(slices.Clone(names), "couchdb@source")
		}
		answer = map[string]any{"all_nodes": names, "cluster_nodes": names}
	case r.Method == "PUT" && strings.HasPrefix(path, "/_node/_local/_nodes/"):
		f.added = append(f.added, strings.TrimPrefix(path, "/_node/_local/_nodes/"))
		status = 201
	case strings.HasSuffix(path, "/_all_dbs"):
		if f.filesAfter--; f.filesAfter >= 0 {
			status = 409
		}
		answer = []string{"_dbs", "shards/a/medic.1"}
	}
	text, err := json.Marshal(answer)
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(string(text))), Header: http.Header{}, Request: r}, err
}

func (f *fakeCluster) couch() (c couch) {
	for _, name := range f.names {
		host := strings.TrimPrefix(name, "couchdb@")
		c.names, c.services = append(c.names, name), append(c.services, "couchdb-"+host)
		c.clients = append(c.clients, couchdb.New("http://"+host, "medic", "pw", f))
	}
	return c
}

func TestJoin(t *testing.T) {
	three := []string{"couchdb@a", "couchdb@b", "couchdb@c"}
	for _, tt := range []struct {
		name    string
		cluster *fakeCluster
		reason  string
		adds    int
		late    bool
	}{
		{"three nodes", &fakeCluster{names: three}, "", 3, false},
		{"one node is its own cluster", &fakeCluster{names: three[:1]}, "", 0, false},
		{"the source is known before anything is written", &fakeCluster{names: three, members: map[string][]string{"b": {"couchdb@b", "couchdb@source"}}}, api.ReasonForeignMember, 0, false},
		{"one node knows its source", &fakeCluster{names: three[:1], members: map[string][]string{"a": {"couchdb@a", "couchdb@source"}}}, api.ReasonForeignMember, 0, false},
		{"the source appears on the way: nothing more is written", &fakeCluster{names: three, foreignAfter: 1}, api.ReasonForeignMember, 1, false},
		{"the nodes never see each other", &fakeCluster{names: three, deaf: true}, "", 3, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // of the bubble
				defer cancel()
				err := tt.cluster.couch().join(ctx)
				e := reason.Of(err)
				if tt.reason != "" && (e == nil || e.Reason != tt.reason || !strings.Contains(err.Error(), "couchdb@source")) || tt.reason == "" && (err != nil) != tt.late {
					t.Errorf("got %v", err)
				}
				if len(tt.cluster.added) != tt.adds {
					t.Errorf("added %v", tt.cluster.added)
				}
			})
		})
	}
}

func TestFilesAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeCluster{names: []string{"couchdb@a", "couchdb@b"}, filesAfter: 3}
		files, err := f.couch().files(t.Context())
		if err != nil || len(files) != 2 || !files["couchdb@b"]["shards/a/medic.1"] || files["couchdb@b"]["_dbs"] {
			t.Errorf("%v, %v", files, err)
		}
	})
}
