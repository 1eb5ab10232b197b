package contract

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var nameStatements = []statement{
	{"§5 other names, source gone: boots, /_up is 200, databases 500, PUT of one 202", func(t *testing.T, _ *cluster) {
		src := newCluster(t, 3)
		src.seed("medic", 30)
		src.stop()
		c := launch(t, pool.take(t, 3), copyVolumes(t, src.dirs))
		for n := range c.urls {
			c.want(200, n, "GET", "/_up", nil)
			for _, path := range []string{"/medic", "/medic/s0001", "/medic/_all_docs", "/_users"} {
				if status, out := c.call(n, "GET", path, nil); status != 500 || !strings.Contains(out, noShards) {
					t.Errorf("GET %s through node %d: %d %s", path, n, status, out)
				}
			}
		}
		c.want(202, 0, "PUT", "/broken", nil)
		var m shardMap
		c.get(0, "/_node/_local/_dbs/broken", &m)
		if !slices.ContainsFunc(slices.Collect(maps.Keys(m.ByNode)), func(n string) bool { return slices.Contains(names(src.hosts0()), n) }) {
			t.Errorf("the new map names only %v", slices.Collect(maps.Keys(m.ByNode)))
		}
	}},
	{"§5 danger: a copy that can reach its source joins it, and writes to it", func(t *testing.T, _ *cluster) {
		src := newCluster(t, 3)
		src.seed("medic", 30)
		var copied []string
		src.pause(func() { copied = copyVolumes(t, src.dirs) })
		c := launch(t, pool.take(t, 3), copied)
		want := names(c.hosts)
		src.eventually("the clone is among the source's members", func() bool {
			m := src.membership(0)
			return slices.ContainsFunc(want, func(n string) bool { return slices.Contains(m.All, n) && slices.Contains(m.Cluster, n) })
		})
		c.want(201, 0, "PUT", "/medic/written-to-the-clone", `{}`)
		src.want(200, 0, "GET", "/medic/written-to-the-clone", nil)
	}},
	{"§5 danger: removing only _nodes is not enough, a request for a database connects", func(t *testing.T, _ *cluster) {
		src := newCluster(t, 3)
		src.seed("medic", 30)
		var copied []string
		src.pause(func() { copied = copyVolumes(t, src.dirs) })
		for _, dir := range copied {
			if err := os.Remove(filepath.Join(dir, "data/_nodes.couch")); err != nil {
				t.Fatal(err)
			}
		}
		c := launch(t, pool.take(t, 3), copied)
		c.eventually("the request reaches the source", func() bool {
			status, _ := c.call(0, "PUT", "/medic/stray", `{}`)
			return status == 201 || status == 409
		})
		src.want(200, 0, "GET", "/medic/stray", nil)
		if m := src.membership(0); len(m.All) <= 3 {
			t.Errorf("the source sees only %v", m.All)
		}
	}},
	{"§5 the procedure: a renamed copy beside its running source, whole and alone", procedure},
	{"§5.4 the procedure's preflight sees volumes on the wrong node", func(t *testing.T, _ *cluster) {
		src := newCluster(t, 3)
		src.seed("medic", 30)
		saved := src.savedMaps()
		var copied []string
		src.pause(func() { copied = copyVolumes(t, src.dirs) })
		copied[0], copied[1] = copied[1], copied[0]
		c := src.startRenamed(t, copied)
		if missing := c.preflight(saved, rename(src.hosts, c.hosts)); len(missing) == 0 {
			t.Error("no shard file is missing")
		}
	}},
}

// hosts0 are the hosts of a cluster, stopped or not.
func (c *cluster) hosts0() []string {
	var out []string
	for _, u := range c.urls {
		out = append(out, strings.TrimSuffix(strings.TrimPrefix(u, "http://"), ":5984"))
	}
	return out
}

func rename(from, to []string) *strings.Replacer {
	var pairs []string
	for i := range from {
		pairs = append(pairs, `"couchdb@`+from[i]+`"`, `"couchdb@`+to[i]+`"`)
	}
	return strings.NewReplacer(pairs...)
}

// savedMaps is step 1: the shard maps as they are at backup time.
func (c *cluster) savedMaps() map[string]json.RawMessage {
	c.t.Helper()
	var all struct {
		Rows []struct {
			ID  string
			Doc json.RawMessage
		}
	}
	c.get(0, "/_node/_local/_dbs/_all_docs?include_docs=true", &all)
	out := map[string]json.RawMessage{}
	for _, r := range all.Rows {
		if !strings.HasPrefix(r.ID, "_design/") {
			out[r.ID] = r.Doc
		}
	}
	return out
}

// startRenamed is steps 2 and 3: no _nodes, no _dbs, new names, joined.
func (c *cluster) startRenamed(t *testing.T, copied []string) *cluster {
	t.Helper()
	for _, dir := range copied {
		for _, f := range []string{"_nodes.couch", "_dbs.couch"} {
			if err := os.Remove(filepath.Join(dir, "data", f)); err != nil {
				t.Fatal(err)
			}
		}
	}
	clone := launch(t, pool.take(t, len(copied)), copied)
	for _, node := range names(clone.hosts) {
		if status, out := clone.call(0, "PUT", "/_node/_local/_nodes/"+node, `{}`); status != 201 && status != 409 {
			t.Fatalf("PUT of %s: %d %s", node, status, out)
		}
	}
	clone.waitMembers()
	return clone
}

// preflight is step 4: shard files that the renamed maps want and no node has.
func (c *cluster) preflight(saved map[string]json.RawMessage, r *strings.Replacer) (missing []string) {
	c.t.Helper()
	for n := range c.urls {
		name := c.name(n)
		var have []string
		c.eventually("files of "+name, func() bool {
			status, out := c.call(0, "GET", "/_node/"+name+"/_all_dbs", nil)
			return status == 200 && json.Unmarshal([]byte(out), &have) == nil
		})
		for db, raw := range saved {
			var m shardMap
			if err := json.Unmarshal([]byte(r.Replace(string(raw))), &m); err != nil {
				c.t.Fatal(err)
			}
			for _, rng := range m.ByNode[name] {
				if f := "shards/" + rng + "/" + db + m.suffix(); !slices.Contains(have, f) {
					missing = append(missing, name+" "+f)
				}
			}
		}
	}
	return missing
}

// putMaps is steps 5 and 6: the saved maps with new names, once, on one node.
func (c *cluster) putMaps(saved map[string]json.RawMessage, r *strings.Replacer) {
	c.t.Helper()
	for db, raw := range saved {
		c.eventually("map of "+db+" is written", func() bool {
			var m map[string]json.RawMessage
			if err := json.Unmarshal([]byte(r.Replace(string(raw))), &m); err != nil {
				c.t.Fatal(err)
			}
			delete(m, "_rev")
			path := "/_node/_local/_dbs/" + escape(db)
			if status, out := c.call(0, "GET", path, nil); status == 200 {
				m["_rev"] = json.RawMessage(`"` + field(out, "_rev") + `"`)
			}
			status, _ := c.call(0, "PUT", path, m)
			return status == 201
		})
	}
	for n := range c.urls {
		c.eventually("every node has the new maps", func() bool {
			var all struct {
				Rows []struct {
					ID  string
					Doc shardMap
				}
			}
			status, out := c.call(0, "GET", "/_node/"+c.name(n)+"/_dbs/_all_docs?include_docs=true", nil)
			if status != 200 || json.Unmarshal([]byte(out), &all) != nil {
				return false
			}
			found := 0
			for _, row := range all.Rows {
				var m shardMap
				raw, ok := saved[row.ID]
				if ok && json.Unmarshal([]byte(r.Replace(string(raw))), &m) == nil &&
					row.Doc.suffix() == m.suffix() && maps.EqualFunc(row.Doc.ByNode, m.ByNode, slices.Equal[[]string]) {
					found++
				}
			}
			return found == len(saved)
		})
	}
}

func procedure(t *testing.T, _ *cluster) {
	src := newCluster(t, 3)
	dbs := []string{"medic", "medic-user-a-meta", "sub/dir"}
	for i, db := range dbs {
		db = escape(db)
		src.seed(db, 60+i)
	}
	name := src.newUser("secret")
	src.want(201, 0, "PUT", "/medic/_design/d", `{"views":{"v":{"map":"function (doc) { emit(doc.n, null); }"}}}`)
	src.want(201, 0, "PUT", "/medic/att", `{"_attachments":{"x":{"data":"aGVsbG8="}}}`)
	_, since := src.changes(1, "medic", "0")
	saved, before := src.savedMaps(), src.membership(0)
	nodesBefore := src.want(200, 0, "GET", "/_node/_local/_nodes/_all_docs", nil)
	var copied []string
	src.pause(func() { copied = copyVolumes(t, src.dirs) })
	c := src.startRenamed(t, copied)
	r := rename(src.hosts, c.hosts)
	if missing := c.preflight(saved, r); len(missing) > 0 {
		t.Fatalf("shard files missing: %v", missing)
	}
	c.putMaps(saved, r)
	for n := range c.urls {
		for _, db := range dbs {
			db = escape(db)
			if got, want := c.revisions(n, db), src.revisions(0, db); !maps.Equal(got, want) || len(got) < 60 {
				t.Errorf("%s through node %d: %d documents of %d, or other revisions", db, n, len(got), len(want))
			}
			if got, want := c.count(n, db), src.count(0, db); got != want {
				t.Errorf("%s through node %d: doc_count %d of %d", db, n, got, want)
			}
		}
		if got := c.want(200, n, "GET", "/medic/att/x", nil); got != "hello" {
			t.Errorf("attachment: %q", got)
		}
		if status, out := c.as(name+":secret", n, "GET", "/_session", nil); status != 200 || !strings.Contains(out, name) {
			t.Errorf("login at node %d: %d %s", n, status, out)
		}
		var v struct{ Rows []struct{ ID string } }
		if c.get(n, "/medic/_design/d/_view/v", &v); len(v.Rows) != 61 {
			t.Errorf("%d rows of the view through node %d", len(v.Rows), n)
		}
	}
	c.want(201, 0, "PUT", "/medic/only-in-the-clone", `{}`)
	if ids, _ := c.changes(2, "medic", since); !slices.Equal(ids, []string{"only-in-the-clone"}) {
		t.Errorf("since a token of the source: %v", ids)
	}
	src.want(404, 0, "GET", "/medic/only-in-the-clone", nil)
	src.want(201, 0, "PUT", "/medic/only-in-the-source", `{}`)
	c.want(404, 1, "GET", "/medic/only-in-the-source", nil)
	for n := range src.urls {
		if m := src.membership(n); !slices.Equal(m.All, before.All) || !slices.Equal(m.Cluster, before.Cluster) {
			t.Errorf("the source's members went from %+v to %+v", before, m)
		}
	}
	if after := src.want(200, 0, "GET", "/_node/_local/_nodes/_all_docs", nil); after != nodesBefore {
		t.Errorf("the source's _nodes went from %s to %s", nodesBefore, after)
	}
	if after := src.savedMaps(); !maps.EqualFunc(after, saved, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
		t.Error("the source's shard maps changed")
	}
}
