package verify

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/fingerprint"
)

// made is a CouchDB of one node with one database of so many documents, which is
// nowhere held as a whole. Every hundredth has an attachment, and every thousandth
// is in conflict.
type made struct {
	rows int
	// most is the live heap at its largest, of those looked at while rows are read.
	most uint64
}

func (m *made) revs(i int) []string {
	revs := []string{fmt.Sprintf("2-%032d", i)}
	if i%1000 == 0 {
		revs = append(revs, fmt.Sprintf("1-%032d", i))
	}
	return revs
}

func (m *made) RoundTrip(r *http.Request) (*http.Response, error) {
	const file, digest = "photo", "md5-WuDByKUmC8e2ZI9vvRFcNQ==" // of the word
	answer := func(text string) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text)), Header: http.Header{}, Request: r}, nil
	}
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/_node/"):
		return answer(`["shards/0-f/medic.1"]`)
	case path == "/_dbs_info":
		return answer(fmt.Sprintf(`[{"key":"medic","info":{"doc_count":%d,"doc_del_count":0}}]`, m.rows))
	case path == "/_active_tasks":
		return answer(`[]`)
	case path == "/medic/_all_docs":
		return answer(`{"rows":[]}`)
	case strings.HasSuffix(path, "/"+file):
		return answer(file)
	case path != "/medic/_changes": // a revision in conflict
		return answer(`{}`)
	}
	in, out := io.Pipe()
	stop := context.AfterFunc(r.Context(), func() { _ = out.CloseWithError(r.Context().Err()) })
	go func() {
		defer stop()
		_, _ = io.WriteString(out, `{"results":[`)
		for i := range m.rows {
			if i%(m.rows/5) == m.rows/5-1 {
				runtime.GC()
				var stats runtime.MemStats
				runtime.ReadMemStats(&stats)
				m.most = max(m.most, stats.HeapAlloc)
			}
			var changes []string
			for _, rev := range m.revs(i) {
				changes = append(changes, `{"rev":"`+rev+`"}`)
			}
			more := ""
			if i%100 == 0 {
				more = `,"_attachments":{"` + file + `":{"stub":true,"digest":"` + digest + `","length":5}}`
			}
			if i%1000 == 0 {
				more += `,"_conflicts":["` + m.revs(i)[1] + `"]`
			}
			comma := ","
			if i == 0 {
				comma = ""
			}
			if _, err := fmt.Fprintf(out, `%s{"seq":"%d-x","id":"%032d","changes":[%s],"doc":{"_id":"%032d","note":"some text that is not kept"%s}}`,
				comma, i, i, strings.Join(changes, ","), i, more); err != nil {
				return
			}
		}
		_, _ = io.WriteString(out, `],"last_seq":"9-x","pending":0}`)
		_ = out.Close()
	}()
	return &http.Response{StatusCode: http.StatusOK, Body: in, Header: http.Header{}, Request: r}, nil
}

// The memory that a Full verification takes does not grow with the number of
// documents, attachments and conflicts.
func TestFullInBoundedMemory(t *testing.T) {
	live := func(rows int) uint64 {
		m := &made{rows: rows}
		digest := &fingerprint.Digest{}
		for i := range rows {
			digest.Add(fmt.Sprintf("%032d", i), m.revs(i), false)
		}
		noted := &fingerprint.Print{Level: api.FingerprintFull, Databases: map[string]*fingerprint.Database{medic: {}}}
		noted.Databases[medic].Digest, noted.Databases[medic].Documents = digest.Sum(nil)
		survey := catalog.Survey{Counts: map[string]couchdb.Counts{medic: {Documents: int64(rows)}}}
		job := Job{Cluster: Cluster{Names: []string{"couchdb@a"}, Services: []string{"couchdb"}, Clients: []*couchdb.Client{couchdb.New("http://couchdb", "medic", "pw", m)}},
			Record: catalog.Record{Before: survey, After: survey, Fingerprint: noted}, Level: api.VerifyFull, Stuck: time.Minute,
			Maps: []couchdb.ShardMap{{ID: medic, Suffix: []int{'.', '1'}, ByNode: map[string][]string{"couchdb@a": {"0-f"}}, ByRange: map[string][]string{"0-f": {"couchdb@a"}}}}}
		v, err := job.Run(t.Context())
		if err != nil || v.Streamed != int64(rows) || v.Attachments != int64(rows/100) || v.Digests != 1 {
			t.Fatalf("%d rows: %+v, %v", rows, v, err)
		}
		return m.most
	}
	const few, many = 10_000, 200_000
	small, large := live(few), live(many)
	t.Logf("live heap with %d documents %d kB, with %d documents %d kB", few, small>>10, many, large>>10)
	if large > small+4<<20 {
		t.Errorf("%d documents take %d bytes more than %d", many, large-small, few)
	}
}
