package contract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// appendOnlyCopy is the File method in small: pause, open everything (views
// first) and note sizes, go on, and copy that many bytes later.
func appendOnlyCopy(t *testing.T, _ *cluster) {
	c := newCluster(t, 3)
	c.seed("medic", 100)
	c.seed("doomed", 20)
	c.want(201, 0, "PUT", "/medic/_design/d", `{"views":{"v":{"map":"function (doc) { if (doc.w) { emit(doc._id, null); } }"}}}`)
	w := c.write("medic", 6)
	c.eventually("some writes", func() bool { return w.n.Load() > 100 })
	c.want(200, 0, "GET", "/medic/_design/d/_view/v", nil)
	type held struct {
		f    *os.File
		node int
		rel  string
		size int64
	}
	var open []held
	var acked map[string]string
	c.pause(func() {
		acked = w.sofar()
		for i, dir := range c.dirs {
			for path, size := range files(t, dir) {
				if strings.HasSuffix(path, ".compact.data") || strings.HasSuffix(path, ".compact.meta") || filepath.Base(path) == "log" {
					continue
				}
				f, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				rel, err := filepath.Rel(dir, path)
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, held{f, i, rel, size})
			}
		}
	})
	c.want(202, 0, "POST", "/medic/_compact", `{}`)
	c.want(200, 0, "DELETE", "/doomed", nil)
	c.seed("young", 20)
	n := w.n.Load()
	c.eventually("more writes", func() bool { return w.n.Load() > n+100 })
	copied := volumes(t, 3)
	for _, h := range open {
		to := filepath.Join(copied[h.node], h.rel)
		b := make([]byte, h.size)
		if _, err := h.f.ReadAt(b, 0); err != nil && h.size > 0 {
			t.Errorf("read %s: %v", h.rel, err)
		}
		h.f.Close() //nolint:errcheck // only read
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.stop()
	hosts := c.hosts
	c.stop()
	c = launch(t, hosts, copied)
	c.waitReady()
	c.has("medic", acked)
	if got := c.count(0, "doomed"); got != 20 {
		t.Errorf("the database deleted afterwards has %d documents", got)
	}
	c.want(404, 0, "GET", "/young", nil)
	var v struct{ Rows []struct{ ID string } }
	c.get(0, "/medic/_design/d/_view/v", &v)
	docs := c.revisions(0, "medic")
	if len(v.Rows) != len(docs)-101 {
		t.Errorf("%d rows for %d written documents", len(v.Rows), len(docs)-101)
	}
}
