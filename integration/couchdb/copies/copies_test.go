package copies

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/couchdb/standin/boot"
	"github.com/medic/cht-backup/restore/replicate"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// standInRole makes this test binary run as the stand-in.
const standInRole = "COPIES_RUN_STANDIN"

func TestMain(m *testing.M) {
	if os.Getenv(standInRole) != "" {
		os.Exit(boot.Main(os.Args[:1]))
	}
	os.Exit(m.Run())
}

// server is the CouchDB that is tried, by its nodes.
type server struct {
	t              *testing.T
	urls           []string
	user, password string
	clients        []*couchdb.Client
	made           int
}

func newServer(t *testing.T) *server {
	s := &server{t: t, user: "medic", password: "pass;word"}
	if given := os.Getenv("COUCHDB_URLS"); given != "" {
		s.urls, s.user, s.password = strings.Split(given, ","), os.Getenv("COUCHDB_USER"), os.Getenv("COUCHDB_PASSWORD")
	} else {
		s.urls = []string{standIn(t, s.user, s.password)}
	}
	for _, u := range s.urls {
		s.clients = append(s.clients, couchdb.New(u, s.user, s.password, http.DefaultTransport))
	}
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if exists, err := s.clients[0].Exists(t.Context(), "_users"); err == nil && exists {
			return s
		} else if time.Since(begin) > 2*time.Minute {
			t.Fatalf("%s does not answer: %v", s.urls[0], err)
		}
	}
}

// started counts the stand-ins of this process. Each has an address of its own:
// the VM of one that was killed dies a moment after its process 1, and until then
// holds its ports.
var started atomic.Int32

func standIn(t *testing.T, user, password string) string {
	t.Helper()
	host := fmt.Sprintf("127.%d.%d.%d", 128+os.Getpid()>>8%64, os.Getpid()%256, started.Add(1))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"data", "etc/local.d"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), standInRole+"=1", "COUCHDB_STANDIN_ROOT="+dir, "COUCHDB_STANDIN_BIND="+host, "COUCHDB_USER="+user, "COUCHDB_PASSWORD="+password,
		"COUCHDB_SECRET=s3cret", "COUCHDB_UUID=cafe")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	return "http://" + host + ":5984"
}

// ask makes a request and wants a 2xx.
func (s *server) ask(method, path string, body any) map[string]any {
	s.t.Helper()
	raw, ok := body.(string)
	if !ok && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		raw = string(b)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.urls[0]+path, strings.NewReader(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth(s.user, s.password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 {
		s.t.Fatalf("%s %s: HTTP %d %s (%v)", method, path, resp.StatusCode, text, err)
	}
	var out map[string]any
	_ = json.Unmarshal(text, &out) // a list is nobody's business
	return out
}

// database makes an empty one, removed at the end.
func (s *server) database(name string) string {
	s.made++
	name = fmt.Sprintf("copies-%d-%d-%s", os.Getpid(), s.made, name)
	if err := s.clients[0].CreateDatabase(s.t.Context(), name, 4, nil); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := s.clients[0].DeleteDatabase(context.Background(), name); err != nil {
			s.t.Error(err)
		}
	})
	return name
}

// job copies from into a new database.
func (s *server) job(from string) replicate.Job {
	j := replicate.Job{From: replicate.NewSide(from, s.clients), To: replicate.NewSide(s.database("copy"), s.clients), Owner: "r1", Idle: 30 * time.Second}
	if err := replicate.WriteMarker(s.t.Context(), j.To, &replicate.Marker{Restore: j.Owner, From: "a test"}); err != nil {
		s.t.Fatal(err)
	}
	return j
}

// everything reads all that clients can see of a database's documents.
func (s *server) everything(database string) map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for _, row := range s.ask(http.MethodGet, "/"+database+"/_changes?style=all_docs", nil)["results"].([]any) {
		row := row.(map[string]any)
		id := row["id"].(string)
		for _, c := range row["changes"].([]any) {
			rev := c.(map[string]any)["rev"].(string)
			doc := s.ask(http.MethodGet, "/"+database+"/"+strings.NewReplacer("_design%2F", "_design/", "+", "%2B").Replace(url.PathEscape(id))+"?revs=true&attachments=true&rev="+rev, nil)
			text, err := json.Marshal(doc)
			if err != nil {
				s.t.Fatal(err)
			}
			all[id+" "+rev] = string(text)
		}
	}
	return all
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d revisions, want %d", len(got), len(want))
	}
	for key, text := range want {
		if got[key] != text {
			t.Errorf("%s is\n%.300s\nwant\n%.300s", key, got[key], text)
		}
	}
}

func (s *server) fill(database string) {
	s.t.Helper()
	var docs []any
	for i := range 4500 { // more than two pages
		docs = append(docs, map[string]any{"_id": fmt.Sprintf("d/%04d +ä", i), "n": i, "big": 12345678901234567})
	}
	s.ask(http.MethodPost, "/"+database+"/_bulk_docs", map[string]any{"docs": docs})
	// Histories, a conflict, a tombstone.
	s.ask(http.MethodPost, "/"+database+"/_bulk_docs", `{"new_edits":false,"docs":[
		{"_id":"conflict","_rev":"3-c","_revisions":{"start":3,"ids":["c","b","a"]},"v":1},
		{"_id":"conflict","_rev":"3-d","_revisions":{"start":3,"ids":["d","b","a"]},"v":2},
		{"_id":"gone","_rev":"2-f","_revisions":{"start":2,"ids":["f","e"]},"_deleted":true,"why":"kept"}]}`)
	// Attachments: small, several, larger than what goes inline, in a conflict, empty.
	text := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("visit "), 1000))
	large := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0, 1, 2, 255, 13, 10, '-', '-'}, 60000))
	s.ask(http.MethodPut, "/"+database+"/photo", map[string]any{"_attachments": map[string]any{
		"a b/ü.txt": map[string]any{"content_type": "text/plain", "data": text}, "z.bin": map[string]any{"content_type": "image/jpeg", "data": "AAEC"},
		"empty": map[string]any{"content_type": "text/plain", "data": ""}}})
	s.ask(http.MethodPut, "/"+database+"/large", map[string]any{"n": 1, "_attachments": map[string]any{
		"film.bin": map[string]any{"content_type": "application/octet-stream", "data": large}, "note.txt": map[string]any{"content_type": "text/plain", "data": text}}})
	s.ask(http.MethodPost, "/"+database+"/_bulk_docs", map[string]any{"new_edits": false, "docs": []any{
		map[string]any{"_id": "both", "_rev": "1-a", "_attachments": map[string]any{"x": map[string]any{"content_type": "text/plain", "data": text}}},
		map[string]any{"_id": "both", "_rev": "1-b", "_attachments": map[string]any{"x": map[string]any{"content_type": "application/octet-stream", "data": large}}}}})
	// A validation that would refuse all that came before it, even an admin's.
	s.ask(http.MethodPut, "/"+database+"/_design/strict", map[string]any{"validate_doc_update": "function(doc) { if (doc.n !== undefined) { throw({forbidden: 'no'}); } }",
		"views": map[string]any{"n": map[string]any{"map": "function (doc) { emit(doc.n, null); }"}}})
	s.ask(http.MethodPut, "/"+database+"/_security", `{"admins":{"names":[],"roles":["national_admin"]},"members":{"names":["chw"],"roles":[]}}`)
	s.ask(http.MethodPut, "/"+database+"/_revs_limit", "77")
}

func TestCopy(t *testing.T) {
	s := newServer(t)
	from := s.database("from")
	s.fill(from)
	j := s.job(from)
	var reported []replicate.Progress
	j.Report = func(p replicate.Progress) { reported = append(reported, p) }
	if err := j.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(reported) == 0 {
		t.Error("no progress was reported")
	}
	// What comes meanwhile is copied by the next call, and only that.
	s.ask(http.MethodPost, "/"+from+"/_bulk_docs", `{"docs":[{"_id":"later"}]}`)
	if err := j.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := j.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := s.everything(from)
	if n != int64(len(want)-2) { // two documents are in conflict
		t.Errorf("%d documents were compared, there are %d", n, len(want)-2)
	}
	same(t, s.everything(j.To.Database), want)
	for _, property := range []string{couchdb.Security, couchdb.RevsLimit} {
		a, err := s.clients[0].Property(t.Context(), from, property)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.clients[0].Property(t.Context(), j.To.Database, property)
		if err != nil || !bytes.Equal(bytes.TrimSpace(a), bytes.TrimSpace(b)) {
			t.Errorf("%s is %s, want %s (%v)", property, b, a, err)
		}
	}
	if m, err := replicate.ReadMarker(t.Context(), j.To); err != nil || m == nil || !m.Exact || m.Since == "" {
		t.Errorf("the marker is %+v (%v)", m, err)
	}
	// Again, as after a crash: nothing changes.
	if _, err := j.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, s.everything(j.To.Database), want)

	t.Run("a document more in the copy", func(t *testing.T) {
		s.ask(http.MethodPost, "/"+j.To.Database+"/_bulk_docs", `{"docs":[{"_id":"foreign"}]}`)
		_, err := j.Finish(t.Context())
		refusedWith(t, err, api.ReasonReplicationFailed, j.To.Database, "has somebody written to it?")
	})
	t.Run("a document changed in the copy", func(t *testing.T) {
		two := s.job(from)
		if err := two.Copy(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.ask(http.MethodPost, "/"+two.To.Database+"/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"gone","_rev":"3-x","_revisions":{"start":3,"ids":["x","f","e"]},"_deleted":true}]}`)
		_, err := two.Finish(t.Context())
		refusedWith(t, err, api.ReasonReplicationFailed, "not the same revisions")
	})
	t.Run("another's database", func(t *testing.T) {
		other := j
		other.Owner = "r2"
		refusedWith(t, other.Copy(t.Context()), api.ReasonDatabaseExists, j.To.Database, "is not of this restore")
		bare := j
		bare.To = replicate.NewSide(s.database("bare"), s.clients)
		refusedWith(t, bare.Copy(t.Context()), api.ReasonDatabaseExists, "is not written to")
	})
	t.Run("a document that is not accepted", func(t *testing.T) {
		if os.Getenv("COUCHDB_URLS") == "" {
			t.Skip("the stand-in does not run validate_doc_update; with COUCHDB_URLS this asks a real CouchDB")
		}
		three := s.job(from)
		s.ask(http.MethodPut, "/"+three.To.Database+"/_design/strict", map[string]any{"validate_doc_update": "function(doc) { throw({forbidden: 'never'}); }"})
		refusedWith(t, three.Copy(t.Context()), api.ReasonReplicationFailed, "never")
	})
}

func refusedWith(t *testing.T, err error, why string, says ...string) {
	t.Helper()
	e := reason.Of(err)
	if e == nil || e.Reason != why {
		t.Fatalf("the error is %v, want reason %s", err, why)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
	t.Log(err)
}

// TestInterrupted cuts a copy off again and again: each goes on where the one
// before it was.
func TestInterrupted(t *testing.T) {
	s := newServer(t)
	from := s.database("from")
	s.fill(from)
	j := s.job(from)
	done := false
	for cut := int64(1); cut < 1000 && !done; cut++ {
		ctx, cancel := context.WithCancel(t.Context())
		var calls atomic.Int64
		one := j
		one.From = replicate.NewSide(from, []*couchdb.Client{couchdb.New(s.urls[0], s.user, s.password, roundTrip(func(r *http.Request) (*http.Response, error) {
			if calls.Add(1) > cut*3 {
				cancel()
			}
			return http.DefaultTransport.RoundTrip(r)
		}))})
		err := one.Copy(ctx)
		if err == nil {
			_, err = one.Finish(ctx)
		}
		done = err == nil
		cancel()
	}
	if !done {
		t.Fatal("it never came to its end")
	}
	same(t, s.everything(j.To.Database), s.everything(from))
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
