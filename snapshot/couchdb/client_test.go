package couchdb

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const secret = "p%40ss wörd/+"

// request is what the server saw.
type request struct {
	method, path, query, body string
}

// server answers with handle and keeps what it was asked. Everything without
// the right credentials is a 401, as with require_valid_user.
func server(t *testing.T, handle func(r request) (status int, answer any)) (*Client, func() []request) {
	t.Helper()
	var mu sync.Mutex
	var seen []request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked := request{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, string(body)}
		mu.Lock()
		seen = append(seen, asked)
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if user, password, ok := r.BasicAuth(); !ok || user != "medic" || password != secret {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"unauthorized","reason":"Authentication required."}`)
			return
		}
		status, answer := handle(asked)
		w.WriteHeader(status)
		if text, ok := answer.(string); ok {
			_, _ = io.WriteString(w, text)
		} else {
			_ = json.NewEncoder(w).Encode(answer)
		}
	}))
	t.Cleanup(s.Close)
	return New(s.URL+"/", "medic", secret, http.DefaultTransport), func() []request {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

func always(status int, answer any) func(request) (int, any) {
	return func(request) (int, any) { return status, answer }
}

func TestSmallCalls(t *testing.T) {
	answers := map[string]string{
		"/":                         `{"couchdb":"Welcome","version":"3.5.2","git_sha":"5b4d921","vendor":{"name":"The Apache Software Foundation"}}`,
		"/_node/_local":             `{"name":"couchdb@couchdb-1.ns.svc.cluster.local"}`,
		"/_membership":              `{"all_nodes":["couchdb@a","couchdb@b"],"cluster_nodes":["couchdb@a"]}`,
		"/_node/couchdb@a/_all_dbs": `["_dbs","_nodes","_users","shards/00000000-15555554/medic/slash.1795470781"]`,
	}
	c, seen := server(t, func(r request) (int, any) { return 200, answers[r.path] })
	if v, err := c.Version(t.Context()); v != "3.5.2" || err != nil {
		t.Errorf("version %q, %v", v, err)
	}
	if n, err := c.NodeName(t.Context()); n != "couchdb@couchdb-1.ns.svc.cluster.local" || err != nil {
		t.Errorf("name %q, %v", n, err)
	}
	m, err := c.Membership(t.Context())
	if err != nil || len(m.AllNodes) != 2 || len(m.ClusterNodes) != 1 {
		t.Errorf("membership %+v, %v", m, err)
	}
	if l, err := c.LocalDatabases(t.Context(), "couchdb@a"); err != nil || len(l) != 4 || l[3] != "shards/00000000-15555554/medic/slash.1795470781" {
		t.Errorf("local databases %v, %v", l, err)
	}
	for _, r := range seen() {
		if r.method != http.MethodGet || r.body != "" {
			t.Errorf("asked %+v", r)
		}
	}
}

func TestInMaintenance(t *testing.T) {
	for _, tt := range []struct {
		status int
		answer string
		want   bool
		err    bool
	}{
		{200, `{"status":"ok","seeds":{}}`, false, false},
		{404, `{"status":"maintenance_mode"}`, true, false},
		{404, `{"status":"nolb"}`, false, false},
		{500, `{"error":"internal_server_error","reason":"x"}`, false, true},
		{401, `{"error":"unauthorized","reason":"x"}`, false, true},
	} {
		c, _ := server(t, always(tt.status, tt.answer))
		if got, err := c.InMaintenance(t.Context()); got != tt.want || (err != nil) != tt.err {
			t.Errorf("%d %s: %v, %v", tt.status, tt.answer, got, err)
		}
	}
}

func TestAddNode(t *testing.T) {
	for status, wantErr := range map[int]bool{201: false, 409: false, 500: true, 404: true} {
		c, seen := server(t, always(status, `{"ok":true}`))
		if err := c.AddNode(t.Context(), "couchdb@couchdb-2.ns.svc.cluster.local"); (err != nil) != wantErr {
			t.Errorf("%d: %v", status, err)
		}
		if r := seen()[0]; r.method != "PUT" || r.path != "/_node/_local/_nodes/couchdb@couchdb-2.ns.svc.cluster.local" || r.body != "{}" {
			t.Errorf("asked %+v", r)
		}
	}
}

// A name's slash and plus must arrive as they are: CouchDB reads a bare plus as
// a blank (FACTS: 400 illegal_database_name).
func TestNamesAreEscaped(t *testing.T) {
	for name, want := range map[string]string{"medic/slash": "medic%2Fslash", "medic-user-a+b$c-meta": "medic-user-a%2Bb$c-meta", "org.couchdb.user:x": "org.couchdb.user:x"} {
		c, seen := server(t, always(200, `{"rows":[]}`))
		_, _ = c.ReadSample(t.Context(), name, 5)
		if r := seen()[0]; r.path != "/"+want+"/_all_docs" || r.query != "include_docs=true&limit=5" {
			t.Errorf("%s was asked for as %s?%s", name, r.path, r.query)
		}
	}
}

func TestErrorsTellWhatFailed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer string
		status int
		text   string
	}{
		{"CouchDB's words", `{"error":"internal_server_error","reason":"No DB shards could be opened.","ref":1963847755}`, 500, "GET /_membership: HTTP 500 internal_server_error: No DB shards could be opened."},
		{"a proxy's page", `<html>503 Service Unavailable</html>`, 503, "HTTP 503"},
		{"nothing", ``, 502, "HTTP 502"},
		{"no JSON in a 200", `<html>`, 200, "GET /_membership: decode"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := server(t, always(tt.status, tt.answer))
			_, err := c.Membership(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.text) || IsStatus(err, tt.status) != (tt.status != 200) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCredentialsAreInNoError(t *testing.T) {
	closed, _ := server(t, always(200, "{}"))
	closed.base = "http://127.0.0.1:1" // nobody listens there
	broken, _ := server(t, always(500, `{"error":"x","reason":"y"}`))
	garbled, _ := server(t, always(200, `{`))
	wrong, _ := server(t, always(200, `{}`))
	wrong.password = "wr0ng-passw0rd"
	badURL := New("http://bad host", "medic", secret, http.DefaultTransport)
	gone, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	for name, c := range map[string]*Client{"refused": closed, "status": broken, "garbled": garbled, "401": wrong, "url": badURL} {
		for _, ctx := range []context.Context{t.Context(), gone} {
			_, e1 := c.ShardMaps(ctx, "_local")
			_, e2 := c.Counts(ctx, []string{"medic"})
			_, e3 := c.Version(ctx)
			e4 := c.PutShardMaps(ctx, []ShardMap{{ID: "medic"}})
			for _, err := range []error{e1, e2, e3, e4} {
				if err == nil {
					t.Errorf("%s: no error", name)
					continue
				}
				for _, part := range []string{secret, "wr0ng", "p%40ss", "p%2540ss", "bWVkaWM6"} {
					if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), part) {
						t.Errorf("%s: the password is in %v", name, err)
					}
				}
			}
		}
	}
	if _, err := wrong.Version(t.Context()); !IsStatus(err, 401) {
		t.Errorf("wrong password: %v", err)
	}
}

func TestCounts(t *testing.T) {
	// As CouchDB 3.5.2 answers: at most 100 keys, items in the order of the keys.
	handle := func(r request) (int, any) {
		var in struct{ Keys []string }
		if json.Unmarshal([]byte(r.body), &in) != nil || r.method != "POST" || r.path != "/_dbs_info" {
			return 400, `{"error":"bad_request","reason":"x"}`
		}
		if len(in.Keys) > 100 {
			return 400, `{"error":"bad_request","reason":"too_many_keys"}`
		}
		var items []any
		for _, k := range in.Keys {
			switch {
			case strings.HasPrefix(k, "gone"):
				items = append(items, map[string]any{"key": k, "error": "not_found"})
			case strings.HasPrefix(k, "down"):
				items = append(items, map[string]any{"key": k, "error": "nodedown"})
			default:
				items = append(items, map[string]any{"key": k, "info": map[string]any{"db_name": k, "doc_count": len(k), "doc_del_count": 2, "update_seq": "3-g1A"}})
			}
		}
		return 200, items
	}
	for _, n := range []int{0, 1, 100, 101, 250} {
		c, seen := server(t, handle)
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("db%d", i))
		}
		got, err := c.Counts(t.Context(), names)
		if err != nil || len(got) != n || len(seen()) != (n+99)/100 {
			t.Errorf("%d databases: %d counts in %d requests, %v", n, len(got), len(seen()), err)
		}
		for name, counts := range got {
			if counts != (Counts{Documents: int64(len(name)), Deleted: 2}) {
				t.Errorf("%s: %+v", name, counts)
			}
		}
	}
	c, _ := server(t, handle)
	got, err := c.Counts(t.Context(), []string{"a", "gone1", "b"})
	if err != nil || !slices.Equal(slices.Sorted(maps.Keys(got)), []string{"a", "b"}) {
		t.Errorf("a database that is gone: %v, %v", got, err)
	}
	if _, err := c.Counts(t.Context(), []string{"a", "down1"}); err == nil || !strings.Contains(err.Error(), "down1") || !strings.Contains(err.Error(), "nodedown") {
		t.Errorf("a database that cannot be counted: %v", err)
	}
}

func TestReadSample(t *testing.T) {
	for _, tt := range []struct {
		answer string
		want   int64
		err    string
	}{
		{`{"total_rows":2,"offset":0,"rows":[{"id":"a","doc":{"_id":"a"}},{"id":"b","doc":{"_id":"b"}}]}`, 2, ""},
		{`{"rows":[]}`, 0, ""},
		{`{"rows":[{"id":"a","doc":{"_id":"a"}},{"id":"ghost","doc":null}]}`, 1, "ghost"},
		{`{"rows":[{"id":"ghost","error":"not_found"}]}`, 0, "ghost"},
	} {
		c, _ := server(t, always(200, tt.answer))
		got, err := c.ReadSample(t.Context(), "medic", 20)
		if got != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d, %v", tt.answer, got, err)
		}
	}
}
