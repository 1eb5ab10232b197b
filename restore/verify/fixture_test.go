package verify

import (
	"crypto/md5" //nolint:gosec // as CouchDB does
	"encoding/base64"
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

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/fingerprint"
)

func init() { pace = time.Millisecond }

// document of the played CouchDB.
type document struct {
	revs        []string // the winning one first
	deleted     bool
	attachments map[string]string
	views       []string
	unreadable  bool
}

// played is a CouchDB of two nodes with one database, served over HTTP.
type played struct {
	t    *testing.T
	mu   sync.Mutex
	docs map[string]*document
	// files on each node.
	files map[string][]string
	// damage done to what is served.
	altered   map[string]string // an attachment's bytes, by document/name
	cutOff    map[string]bool   // an attachment that ends early
	viewError string            // the error of every view
	truncate  bool              // the feed ends early
	reverse   bool              // the feed in another order
	twice     int               // the first so many feeds give every row twice
	slowViews int               // views that are refused with a timeout first
	counts    int64             // added to the counts
	asked     []string
}

const medic = "medic"

var theMap = couchdb.ShardMap{ID: medic, Suffix: []int{'.', '1'}, ByNode: map[string][]string{"couchdb@a": {"0-7"}, "couchdb@b": {"8-f"}},
	ByRange: map[string][]string{"0-7": {"couchdb@a"}, "8-f": {"couchdb@b"}}}

func newPlayed(t *testing.T) *played {
	p := &played{t: t, docs: map[string]*document{}, altered: map[string]string{}, cutOff: map[string]bool{},
		files: map[string][]string{"couchdb@a": {"_dbs", "shards/0-7/medic.1"}, "couchdb@b": {"shards/8-f/medic.1"}}}
	for i := range 50 {
		p.docs[fmt.Sprintf("doc-%02d", i)] = &document{revs: []string{fmt.Sprintf("1-%02d", i)}}
	}
	p.docs["doc-03"].revs = []string{"2-b", "2-a"} // in conflict
	p.docs["doc-04"].deleted = true
	p.docs["doc-05"].attachments = map[string]string{"photo.bin": strings.Repeat("pixels", 10000), "a/b c.txt": "text"}
	p.docs["_design/medic-client"] = &document{revs: []string{"1-d"}, views: []string{"by_type", "by_date"}}
	return p
}

func digestOf(text string) string {
	sum := md5.Sum([]byte(text)) //nolint:gosec // as CouchDB does
	return "md5-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (d *document) body(id string) any {
	if d.unreadable {
		return nil
	}
	body := map[string]any{"_id": id, "_rev": d.revs[0]}
	if len(d.revs) > 1 {
		body["_conflicts"] = d.revs[1:]
	}
	if len(d.attachments) > 0 {
		all := map[string]any{}
		for name, text := range d.attachments {
			all[name] = map[string]any{"stub": true, "digest": digestOf(text), "length": len(text)}
		}
		body["_attachments"] = all
	}
	if len(d.views) > 0 {
		views := map[string]any{"lib": map[string]any{"code": "exports.x = 1"}}
		for _, v := range d.views {
			views[v] = map[string]any{"map": "function(doc) { emit(doc._id); }"}
		}
		body["language"], body["views"] = "javascript", views
	}
	return body
}

func (p *played) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, r.URL.Path)
	answer := func(status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	living, deleted := 0, 0
	for _, d := range p.docs {
		if d.deleted {
			deleted++
		} else {
			living++
		}
	}
	path := strings.TrimPrefix(r.URL.Path, "/medic/")
	switch {
	case strings.HasPrefix(r.URL.Path, "/_node/"):
		answer(200, p.files[strings.Split(r.URL.Path, "/")[2]])
	case r.URL.Path == "/_dbs_info":
		answer(200, []any{map[string]any{"key": medic, "info": map[string]any{"doc_count": int64(living) + p.counts, "doc_del_count": deleted, "update_seq": "9-x", "purge_seq": "0-x"}}})
	case r.URL.Path == "/_active_tasks":
		answer(200, []any{})
	case path == "_changes":
		p.feed(w, r)
	case path == "_all_docs":
		p.allDocs(r, answer)
	case strings.Contains(path, "/_view/"):
		switch {
		case p.slowViews > 0:
			p.slowViews--
			answer(500, map[string]string{"error": "timeout", "reason": "The request could not be processed in a reasonable amount of time."})
		case p.viewError != "":
			answer(500, map[string]string{"error": p.viewError, "reason": "it is so"})
		default:
			answer(200, map[string]any{"rows": []any{}})
		}
	case p.docs[path] != nil: // one revision of a document
		answer(200, map[string]any{"_id": path, "_rev": r.URL.Query().Get("rev")})
	default:
		id, name, _ := strings.Cut(path, "/")
		d := p.docs[id]
		if d == nil || d.attachments[name] == "" {
			answer(404, map[string]string{"error": "not_found", "reason": "missing"})
			return
		}
		text := d.attachments[name]
		if other, ok := p.altered[id+"/"+name]; ok {
			text = other
		}
		if p.cutOff[id+"/"+name] {
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			text = text[:len(text)/2]
		}
		_, _ = io.WriteString(w, text)
	}
}

func (p *played) feed(w io.Writer, r *http.Request) {
	if style := r.URL.Query().Get("style"); style != "all_docs" {
		p.t.Errorf("a feed in style %q lacks revisions", style)
	}
	ids := slices.Sorted(maps.Keys(p.docs))
	if p.reverse {
		slices.Reverse(ids)
	}
	if p.twice > 0 {
		p.twice--
		ids = append(ids, ids...)
	}
	_, _ = io.WriteString(w, "{\"results\":[\n")
	for i, id := range ids {
		if p.truncate && i == len(ids)/2 {
			return
		}
		d := p.docs[id]
		var changes []any
		for _, rev := range d.revs {
			changes = append(changes, map[string]string{"rev": rev})
		}
		row := map[string]any{"seq": fmt.Sprintf("%d-x", i), "id": id, "changes": changes}
		if d.deleted {
			row["deleted"] = true
		}
		if r.URL.Query().Get("include_docs") == "true" {
			row["doc"] = d.body(id)
		}
		text, _ := json.Marshal(row)
		if i > 0 {
			_, _ = io.WriteString(w, ",\n")
		}
		_, _ = w.Write(text)
	}
	_, _ = io.WriteString(w, "\n],\n\"last_seq\":\"9-x\",\"pending\":0}\n")
}

func (p *played) allDocs(r *http.Request, answer func(int, any)) {
	var in struct{ Keys []string }
	_ = json.NewDecoder(r.Body).Decode(&in)
	ids := in.Keys
	if ids == nil {
		for _, id := range slices.Sorted(maps.Keys(p.docs)) {
			if !p.docs[id].deleted && (r.URL.Query().Get("startkey") == "" || strings.HasPrefix(id, "_design/")) {
				ids = append(ids, id)
			}
		}
	}
	rows := []any{}
	for _, id := range ids {
		d := p.docs[id]
		if d == nil {
			rows = append(rows, map[string]any{"key": id, "error": "not_found"})
			continue
		}
		row := map[string]any{"id": id, "key": id, "value": map[string]any{"rev": d.revs[0], "deleted": d.deleted}}
		if !d.deleted {
			row["doc"] = d.body(id)
		}
		rows = append(rows, row)
	}
	answer(200, map[string]any{"rows": rows})
}

// backedUp is the record of a backup of what is played now.
func (p *played) backedUp() catalog.Record {
	digest, living, deleted := &fingerprint.Digest{}, int64(0), int64(0)
	for id, d := range p.docs {
		digest.Add(id, d.revs, d.deleted)
		if d.deleted {
			deleted++
		} else {
			living++
		}
	}
	survey := catalog.Survey{Counts: map[string]couchdb.Counts{medic: {Documents: living, Deleted: deleted}}}
	noted := &fingerprint.Print{Level: api.FingerprintFull,
		Samples: map[string]map[string][]string{medic: {"doc-01": {"1-01"}, "doc-03": {"2-a", "2-b"}}}, Databases: map[string]*fingerprint.Database{medic: {}}}
	noted.Databases[medic].Digest, noted.Databases[medic].Documents = digest.Sum(nil)
	return catalog.Record{Before: survey, After: survey, Fingerprint: noted}
}

// verify serves what is played and compares it with a record.
func (p *played) verify(record catalog.Record, level api.VerificationLevel) (api.Verification, error) {
	s := httptest.NewServer(p)
	defer s.Close()
	client := couchdb.New(s.URL, "medic", "pw", http.DefaultTransport)
	job := Job{Cluster: Cluster{Names: []string{"couchdb@a", "couchdb@b"}, Services: []string{"couchdb-1", "couchdb-2"}, Clients: []*couchdb.Client{client, client}},
		Record: record, Maps: []couchdb.ShardMap{theMap}, Level: level, Stuck: time.Minute}
	return job.Run(p.t.Context())
}
