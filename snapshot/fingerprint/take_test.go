package fingerprint

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/medic/cht-backup/snapshot/couchdb"
)

// source is a CouchDB with one database that is written to between any two calls.
type source struct {
	mu     sync.Mutex
	seq    int
	docs   map[string]*kept
	purged int
	made   string
	gone   bool
	// after is called once a feed has been given.
	after func(since string)
	// middle is called in the middle of a feed of all.
	middle func()
}

type kept struct {
	rev     string
	seq     int
	deleted bool
}

func newSource(n int) *source {
	s := &source{docs: map[string]*kept{}, made: "1"}
	for i := range n {
		s.write(fmt.Sprintf("doc-%04d", i))
	}
	return s
}

func (s *source) write(id string) {
	s.seq++
	s.docs[id] = &kept{rev: fmt.Sprintf("%d-x", s.seq), seq: s.seq}
}

func (s *source) client(t *testing.T) *couchdb.Client {
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return couchdb.New(server.URL, "medic", "pw", http.DefaultTransport)
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	switch {
	case s.gone && strings.HasPrefix(r.URL.Path, "/medic/"):
		w.WriteHeader(404)
		_, _ = io.WriteString(w, `{"error":"not_found","reason":"Database does not exist."}`)
	case r.URL.Path == "/_dbs_info":
		_ = json.NewEncoder(w).Encode([]any{map[string]any{"key": "medic", "info": map[string]any{"doc_count": len(s.docs), "update_seq": strconv.Itoa(s.seq),
			"purge_seq": fmt.Sprintf("%d-abc", s.purged), "instance_start_time": s.made}}})
	case r.URL.Path == "/medic/_changes":
		since, _ := strconv.Atoi(q.Get("since"))
		limit, _ := strconv.Atoi(q.Get("limit"))
		var ids []string
		for _, id := range slices.Sorted(maps.Keys(s.docs)) {
			if s.docs[id].seq > since {
				ids = append(ids, id)
			}
		}
		if limit > 0 {
			ids = ids[:min(limit, len(ids))]
		}
		_, _ = io.WriteString(w, `{"results":[`)
		for i, id := range ids {
			if i == len(ids)/2 && since == 0 && s.middle != nil {
				s.middle()
			}
			d := s.docs[id]
			if i > 0 {
				_, _ = io.WriteString(w, ",")
			}
			_, _ = fmt.Fprintf(w, `{"seq":"%d","id":%q,"changes":[{"rev":%q}],"deleted":%v}`, d.seq, id, d.rev, d.deleted)
		}
		_, _ = fmt.Fprintf(w, `],"last_seq":"%d","pending":0}`, s.seq)
		if s.after != nil {
			s.after(q.Get("since"))
		}
	case r.URL.Path == "/medic/_all_docs" && r.Method == http.MethodPost:
		var in struct{ Keys []string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		rows := []any{}
		for _, id := range in.Keys {
			if d := s.docs[id]; d != nil && d.deleted {
				rows = append(rows, map[string]any{"id": id, "key": id, "value": map[string]any{"rev": d.rev, "deleted": true}, "doc": nil})
			} else if d != nil {
				rows = append(rows, map[string]any{"id": id, "key": id, "value": map[string]any{"rev": d.rev}, "doc": map[string]any{"_id": id}})
			} else {
				rows = append(rows, map[string]any{"key": id, "error": "not_found"})
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"rows": rows})
	case r.URL.Path == "/medic/_all_docs":
		skip, _ := strconv.Atoi(q.Get("skip"))
		limit, _ := strconv.Atoi(q.Get("limit"))
		var start string
		_ = json.Unmarshal([]byte(q.Get("startkey")), &start)
		rows := []any{}
		for _, id := range slices.Sorted(maps.Keys(s.docs)) {
			if id >= start && !s.docs[id].deleted {
				rows = append(rows, map[string]any{"id": id})
			}
		}
		rows = rows[min(skip, len(rows)):]
		_ = json.NewEncoder(w).Encode(map[string]any{"rows": rows[:min(limit, len(rows))]})
	default:
		w.WriteHeader(400)
	}
}

// atCut is the digest of what the cut holds, without those buckets.
func atCut(docs map[string]kept, without Without) (string, int64) {
	d := &Digest{}
	for id, k := range docs {
		d.Add(id, []string{k.rev}, k.deleted)
	}
	return d.Sum(without)
}

func (s *source) cut() map[string]kept {
	docs := map[string]kept{}
	for id, k := range s.docs {
		docs[id] = *k
	}
	return docs
}

// The digest that is taken later is that of the cut, whenever documents changed.
func TestTakeUnderWrites(t *testing.T) {
	for _, tt := range []struct {
		name  string
		write func(s *source, stage string) // before, after, middle, late
		out   int64                         // documents left out now
	}{
		{"nothing", func(*source, string) {}, 0},
		{"before the cut", func(s *source, stage string) {
			if stage == "before" {
				s.write("doc-0001")
			}
		}, 1},
		{"after the cut", func(s *source, stage string) {
			if stage == "after" {
				s.write("doc-0002")
				s.write("new")
				s.docs["doc-0003"] = &kept{rev: "9-gone", seq: s.seq + 1, deleted: true}
				s.seq++
			}
		}, 3},
		{"in the middle of the stream, what was streamed and what was not", func(s *source, stage string) {
			if stage == "middle" {
				s.write("doc-0004")
				s.write("doc-0290")
			}
		}, 2},
		{"after the stream", func(s *source, stage string) {
			if stage == "late" {
				s.write("doc-0005")
			}
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSource(300)
			c := s.client(t)
			infos, err := c.Infos(t.Context(), []string{"medic"})
			if err != nil {
				t.Fatal(err)
			}
			d := Begin(infos["medic"])
			tt.write(s, "before")
			held := s.cut()
			tt.write(s, "after")
			s.middle = func() { tt.write(s, "middle") }
			s.after = func(since string) {
				if since == "0" {
					tt.write(s, "late")
				}
			}
			if err := d.Take(t.Context(), c, "medic", &Digest{}, MostExcluded); err != nil || d.Missing != "" {
				t.Fatalf("%+v, %v", d, err)
			}
			want, n := atCut(held, d.Without)
			if d.Digest != want || d.Documents != n || d.Excluded != tt.out || len(d.Without) != int(tt.out) || d.Since != "" {
				t.Errorf("%+v, want %s of %d", d, want, n)
			}
		})
	}
}

func TestTakeGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		write func(s *source)
		room  int
		why   string
	}{
		{"too many changes", func(s *source) {
			for i := range 5 {
				s.write(fmt.Sprintf("doc-%04d", i))
			}
		}, 4, "more than 4 of its documents changed"},
		{"no room is left, and a change", func(s *source) { s.write("new") }, -3, "more than 0"},
		{"deleted", func(s *source) { s.gone = true }, 100, "deleted"},
		{"deleted and made again", func(s *source) { s.made = "2" }, 100, "deleted"},
		{"purged", func(s *source) { delete(s.docs, "doc-0001"); s.purged++ }, 100, "purged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSource(20)
			c := s.client(t)
			infos, err := c.Infos(t.Context(), []string{"medic"})
			if err != nil {
				t.Fatal(err)
			}
			d := Begin(infos["medic"])
			tt.write(s)
			if err := d.Take(t.Context(), c, "medic", &Digest{}, tt.room); err != nil || !strings.Contains(d.Missing, tt.why) || d.Digest != "" || !(&Print{Databases: map[string]*Database{"medic": d}}).Taken() {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
}

// Only what is the same on both sides of the cut is kept.
func TestSample(t *testing.T) {
	for _, n := range []int{0, 5, PerDatabase, 300, 2 * farthest} {
		s := newSource(n)
		c := s.client(t)
		before, err := Choose(t.Context(), c, map[string]couchdb.Counts{"medic": {Documents: int64(n)}, "_replicator": {Documents: 3}})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(before["medic"]); got > min(n, PerDatabase) || n <= PerDatabase && got != n || got < min(n, PerDatabase)/draws {
			t.Fatalf("%d of %d documents", got, n)
		}
		ids := slices.Sorted(maps.Keys(before["medic"]))
		if len(ids) < 3 {
			continue
		}
		s.write(ids[0])
		s.docs[ids[1]].deleted = true
		delete(s.docs, ids[2])
		kept, err := Keep(t.Context(), c, before)
		if err != nil || len(kept["medic"]) != len(ids)-3 {
			t.Errorf("%d of %d are kept, %v", len(kept["medic"]), len(ids), err)
		}
		for _, id := range ids[3:] {
			if !slices.Equal(kept["medic"][id], []string{s.docs[id].rev}) {
				t.Errorf("%s: %v", id, kept["medic"][id])
			}
		}
	}
}

func TestShare(t *testing.T) {
	counts := map[string]couchdb.Counts{"medic": {Documents: 1e6}, "_global_changes": {Documents: 9}, "empty": {}}
	for i := range 5000 {
		counts[fmt.Sprintf("medic-user-%d-meta", i)] = couchdb.Counts{Documents: 10}
	}
	shares, total := share(counts), 0
	for _, n := range shares {
		total += n
	}
	if shares["medic"] != PerDatabase || shares["empty"] != 0 || shares["_global_changes"] != 0 || total != InAll {
		t.Errorf("medic %d, in all %d", shares["medic"], total)
	}
	few := share(map[string]couchdb.Counts{"medic": {Documents: 1e6}, "_users": {Documents: 3}})
	if few["medic"] != PerDatabase || few["_users"] != PerDatabase {
		t.Errorf("%v", few)
	}
}
