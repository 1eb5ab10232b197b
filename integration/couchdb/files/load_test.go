package files

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/medic/cht-backup/integration/couchdb/loopback"
)

// databases that are written to; one has a slash in its name, and so a folder of its own.
var databases = []string{"medic", "medic-sentinel", "a%2Fb"}

const design = `{"views":{"v":{"map":"function (doc) { if (doc.w) { emit(doc._id, null); } }"}}}`

func ask(c *loopback.Cluster, node int, method, path, body string) (int, []byte, error) {
	r, err := http.NewRequest(method, c.URLs[node]+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.SetBasicAuth(c.User, c.Password)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	return response.StatusCode, b, err
}

// load writes to a cluster until it is ended, and knows what was acknowledged.
type load struct {
	c    *loopback.Cluster
	stop chan struct{}
	wg   sync.WaitGroup

	mu    sync.Mutex
	acked map[string]bool
	// failed are requests that were answered with an error.
	failed []string
}

func begin(t *testing.T, c *loopback.Cluster) *load {
	t.Helper()
	for _, db := range databases {
		for _, r := range [][2]string{{"/" + db, ""}, {"/" + db + "/_design/d", design}} {
			if status, b, err := ask(c, 0, "PUT", r[0], r[1]); err != nil || status > 202 {
				t.Fatalf("PUT %s: %d %s %v", r[0], status, b, err)
			}
		}
	}
	l := &load{c: c, stop: make(chan struct{}), acked: map[string]bool{}}
	for w := range 4 {
		l.each(20*time.Millisecond, func(i int) { l.write(w, i) })
	}
	l.each(50*time.Millisecond, l.churn)
	return l
}

func (l *load) each(pause time.Duration, do func(int)) {
	l.wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-l.stop:
				return
			case <-time.After(pause):
				do(i)
			}
		}
	})
}

func (l *load) write(w, i int) {
	id := fmt.Sprintf("%s/w%d-%06d", databases[(w+i)%len(databases)], w, i)
	status, b, err := ask(l.c, i%len(l.c.URLs), "PUT", "/"+id, `{"w":1,"text":"`+strings.Repeat("x", 1500)+`"}`)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && (status == 201 || status == 202) {
		l.acked[id] = true
	} else {
		l.failed = append(l.failed, fmt.Sprintf("PUT %s: %d %s %v", id, status, b, err))
	}
}

// churn does what replaces and removes files. Some of it may fail: compaction of what is
// being compacted, say.
func (l *load) churn(i int) {
	node, db := i%len(l.c.URLs), databases[i%len(databases)]
	for _, r := range [][3]string{
		{"POST", "/" + db + "/_compact", "{}"},
		{"GET", "/" + db + "/_design/d/_view/v?limit=1", ""},
		{"POST", "/" + db + "/_compact/d", "{}"},
		{"PUT", fmt.Sprintf("/young%d", i), ""},
		{"PUT", fmt.Sprintf("/young%d/x", i), "{}"},
		{"DELETE", fmt.Sprintf("/young%d", i-2), ""},
	} {
		_, _, _ = ask(l.c, node, r[0], r[1], r[2])
	}
}

// sofar is what was acknowledged until now.
func (l *load) sofar() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.acked)
}

func (l *load) await(t *testing.T, more int) {
	t.Helper()
	for was, began := len(l.sofar()), time.Now(); len(l.sofar()) < was+more; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("%d of %d writes in %v", len(l.sofar())-was, more, time.Since(began))
		}
	}
}

func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
}

// documents of a database, and the rows of its view.
func documents(t *testing.T, c *loopback.Cluster, node int, db string) (docs, rows map[string]bool) {
	t.Helper()
	list := func(path string) map[string]bool {
		status, b, err := ask(c, node, "GET", path, "")
		if err != nil || status != 200 {
			t.Fatalf("GET %s: %d %s %v", path, status, b, err)
		}
		var found struct{ Rows []struct{ ID string } }
		if err := json.Unmarshal(b, &found); err != nil {
			t.Fatalf("GET %s: %v", path, err)
		}
		all := map[string]bool{}
		for _, r := range found.Rows {
			if !strings.HasPrefix(r.ID, "_design/") {
				all[db+"/"+r.ID] = true
			}
		}
		return all
	}
	return list("/" + db + "/_all_docs"), list("/" + db + "/_design/d/_view/v")
}
