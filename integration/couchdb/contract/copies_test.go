package contract

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var copyStatements = []statement{
	{"§1 what was acknowledged is there after SIGKILL of every node", func(t *testing.T, _ *cluster) {
		c := newCluster(t, 3)
		c.seed("medic", 50)
		w := c.write("medic", 6)
		c.eventually("some writes", func() bool { return w.n.Load() > 200 })
		w.stop()
		for i := range c.hosts {
			c.stopNode(i)
		}
		for i := range c.hosts {
			c.startNode(i)
		}
		for i := range c.hosts {
			c.waitNode(i)
		}
		c.waitReady()
		c.has("medic", w.sofar())
	}},
	{"§4 a quiet copy under the same names is the same: counts, ids, revisions, sequences", func(t *testing.T, _ *cluster) {
		c := newCluster(t, 3)
		c.seed("medic", 200)
		seqs := func() (s struct {
			Update string `json:"update_seq"`
			Purge  string `json:"purge_seq"`
		}) {
			c.get(0, "/medic", &s)
			return s
		}
		seq, revs := seqs(), c.revisions(0, "medic")
		hosts := c.hosts
		var copied []string
		c.pause(func() { copied = copyVolumes(t, c.dirs) })
		c.stop()
		c = launch(t, hosts, copied)
		c.waitReady()
		if got := seqs(); got != seq {
			t.Errorf("sequences %+v, were %+v", got, seq)
		}
		for n := range c.urls {
			if got := c.revisions(n, "medic"); !maps.Equal(got, revs) || len(got) != 200 {
				t.Errorf("through node %d: %d documents of %d, or other revisions", n, len(got), len(revs))
			}
		}
	}},
	{"§4 swapped volumes: no error, /_up is 200, empty shard files, fewer documents", func(t *testing.T, _ *cluster) {
		c := newCluster(t, 3)
		c.seed("medic", 300)
		hosts, dirs := c.hosts, c.dirs
		c.stop()
		c = launch(t, hosts, []string{dirs[1], dirs[0], dirs[2]})
		c.waitReady()
		for n := range c.urls {
			c.want(200, n, "GET", "/_up", nil)
			if got := c.count(n, "medic"); got == 0 || got >= 300 {
				t.Errorf("doc_count through node %d is %d of 300", n, got)
			}
		}
	}},
	{"§4 a missing shard file is created empty, without a word", func(t *testing.T, _ *cluster) {
		c := newCluster(t, 1)
		c.seed("medic", 100)
		before := c.count(0, "medic")
		c.stopNode(0)
		found, err := filepath.Glob(filepath.Join(c.dirs[0], "data/shards/00000000-15555554/medic.*.couch"))
		if err != nil || len(found) != 1 {
			t.Fatalf("shard files %v %v", found, err)
		}
		if err := os.Remove(found[0]); err != nil {
			t.Fatal(err)
		}
		c.restartNode(0)
		c.want(200, 0, "GET", "/_up", nil)
		if got := c.count(0, "medic"); got >= before || got == 0 {
			t.Errorf("doc_count is %d of %d", got, before)
		}
		if _, err := os.Stat(found[0]); err != nil {
			t.Errorf("no empty file in its place: %v", err)
		}
	}},
	{"§2 a maintenance mode set without X-Couch-Persist: false comes back with the volume", func(t *testing.T, _ *cluster) {
		c := newCluster(t, 1)
		const path = "/_node/_local/_config/couchdb/maintenance_mode"
		c.want(200, 0, "PUT", path, `"nolb"`, "X-Couch-Persist", "false")
		c.restartNode(0)
		c.want(200, 0, "GET", "/_up", nil)
		c.want(200, 0, "PUT", path, `"true"`)
		dirs, hosts := copyVolumes(t, c.dirs), c.hosts
		c.stop()
		c = launch(t, hosts, dirs)
		if status, _ := c.call(0, "GET", "/_up", nil); status != 404 {
			t.Errorf("/_up of the copy: %d", status)
		}
		ini, err := filepath.Glob(filepath.Join(dirs[0], "etc/local.d/*.ini"))
		if err != nil {
			t.Fatal(err)
		}
		named := false
		for _, f := range ini {
			raw, err := os.ReadFile(f)
			named = named || err == nil && strings.Contains(string(raw), "maintenance_mode")
		}
		if !named {
			t.Errorf("not in local.d: %v", ini)
		}
	}},
	{"§5 the admin on the volume wins over the environment", func(t *testing.T, _ *cluster) {
		c := newCluster(t, 1)
		if v := field(`{"v":`+c.want(200, 0, "GET", "/_node/_local/_config/admins/"+user, nil)+`}`, "v"); !strings.HasPrefix(v, "-pbkdf2") {
			t.Errorf("the admin is kept as %q", v)
		}
		c.env = append(c.env, "COUCHDB_PASSWORD=another")
		c.stopNode(0)
		c.startNode(0)
		c.waitNode(0) // answers to the old password
		if status, _ := c.as(user+":another", 0, "GET", "/", nil); status != 401 {
			t.Errorf("the environment's password: %d", status)
		}
	}},
	{"§5 one node keeps the name couchdb@127.0.0.1: a copy just works", func(t *testing.T, _ *cluster) {
		c := newCluster(t, 1)
		c.seed("medic", 50)
		if m := c.membership(0); len(m.Cluster) != 1 || m.Cluster[0] != "couchdb@127.0.0.1" {
			t.Fatalf("membership %+v", m)
		}
		revs := c.revisions(0, "medic")
		var copied []string
		c.pause(func() { copied = copyVolumes(t, c.dirs) })
		clone := launch(t, pool.take(t, 1), copied)
		if got := clone.revisions(0, "medic"); !maps.Equal(got, revs) {
			t.Errorf("%d documents of %d", len(got), len(revs))
		}
	}},
	{"§6 files only grow: an earlier copy is a prefix of a later one", func(t *testing.T, _ *cluster) {
		c := newCluster(t, 1)
		c.seed("medic", 100)
		var first []string
		c.pause(func() { first = copyVolumes(t, c.dirs) })
		w := c.write("medic", 4)
		c.eventually("some writes", func() bool { return w.n.Load() > 100 })
		w.stop()
		grown := 0
		for path := range files(t, filepath.Join(first[0], "data")) {
			if !strings.HasSuffix(path, ".couch") && !strings.HasSuffix(path, ".view") {
				continue
			}
			rel, err := filepath.Rel(first[0], path)
			if err != nil {
				t.Fatal(err)
			}
			old, err1 := os.ReadFile(path)
			now, err2 := os.ReadFile(filepath.Join(c.dirs[0], rel))
			if err1 != nil || err2 != nil || !bytes.HasPrefix(now, old) {
				t.Errorf("%s is no prefix (%v %v)", rel, err1, err2)
			}
			if len(now) > len(old) {
				grown++
			}
		}
		if grown < 10 {
			t.Errorf("only %d files grew: nothing was tested", grown)
		}
	}},
	{"§6 §8 sizes and descriptors held in a pause are a whole copy, whatever is compacted or deleted afterwards", appendOnlyCopy},
	{"§6 a view file newer than its shard: rows of documents that are not there, new documents left out", func(t *testing.T, _ *cluster) {
		c := newCluster(t, 1)
		c.want(201, 0, "PUT", "/medic?q=1", nil)
		c.want(201, 0, "PUT", "/medic/_design/d", `{"views":{"v":{"map":"function (doc) { emit(doc._id, null); }"}}}`)
		c.want(201, 0, "PUT", "/medic/old", `{}`)
		c.want(200, 0, "GET", "/medic/_design/d/_view/v", nil)
		var copied []string
		c.pause(func() { copied = copyVolumes(t, c.dirs) })
		for i := range 10 {
			c.want(201, 0, "PUT", fmt.Sprintf("/medic/lost%d", i), `{}`)
		}
		c.want(200, 0, "GET", "/medic/_design/d/_view/v", nil)
		if os.Getenv("COUCHDB_LAUNCH") != "" {
			time.Sleep(9 * time.Second) // CouchDB commits an index's header seconds after it answers from it
		}
		views, err := filepath.Glob(filepath.Join(c.dirs[0], "data/.shards/*/medic.*_design/mrview/*.view"))
		if err != nil || len(views) == 0 {
			t.Fatalf("view files %v %v", views, err)
		}
		hosts := c.hosts
		c.pause(func() {
			for _, v := range views {
				rel, err := filepath.Rel(c.dirs[0], v)
				if err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command("cp", "-a", v, filepath.Join(copied[0], rel)).CombinedOutput(); err != nil {
					t.Fatalf("%v %s", err, out)
				}
			}
		})
		c.stop()
		c = launch(t, hosts, copied)
		c.want(201, 0, "PUT", "/medic/after", `{}`)
		out := c.want(200, 0, "GET", "/medic/_design/d/_view/v", nil)
		if !strings.Contains(out, `"lost5"`) || strings.Contains(out, `"after"`) {
			t.Errorf("the view answers %s", out)
		}
		if status, _ := c.call(0, "GET", "/medic/lost5", nil); status != 404 {
			t.Errorf("GET of a row's document: %d", status)
		}
	}},
}
