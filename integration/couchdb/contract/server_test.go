package contract

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

type shardMap struct {
	Suffix    []int               `json:"shard_suffix"`
	Changelog [][]string          `json:"changelog"`
	ByNode    map[string][]string `json:"by_node"`
	ByRange   map[string][]string `json:"by_range"`
}

func (m *shardMap) suffix() (s string) {
	for _, r := range m.Suffix {
		s += string(rune(r))
	}
	return s
}

func (c *cluster) name(i int) string {
	c.t.Helper()
	var v struct{ Name string }
	c.get(i, "/_node/_local", &v)
	return v.Name
}

var serverStatements = []statement{
	{"§5 /_up needs credentials where a valid user is required", func(_ *testing.T, c *cluster) {
		for n := range c.urls {
			if status, out := c.as(nobody, n, "GET", "/_up", nil); status != 401 {
				c.t.Errorf("without: %d %s", status, out)
			}
			if out := c.want(200, n, "GET", "/_up", nil); field(out, "status") != "ok" {
				c.t.Errorf("with: %s", out)
			}
		}
	}},
	{"§5 cluster set-up on a CHT image: already enabled, setup_error, harmless", func(_ *testing.T, c *cluster) {
		before := c.membership(0)
		out := c.want(400, 0, "POST", "/_cluster_setup", map[string]any{"action": "enable_cluster", "bind_address": "0.0.0.0", "username": user, "password": password, "node_count": "3"})
		if field(out, "reason") != "Cluster is already enabled" {
			c.t.Errorf("enable_cluster: %s", out)
		}
		if _, out := c.call(0, "POST", "/_cluster_setup", `{"action":"finish_cluster"}`); field(out, "error") != "setup_error" {
			c.t.Errorf("finish_cluster: %s", out)
		}
		if after := c.membership(0); !slices.Equal(before.All, after.All) || !slices.Equal(before.Cluster, after.Cluster) {
			c.t.Errorf("membership went from %v to %v", before, after)
		}
	}},
	{"§5.3 a node's entry in _nodes cannot be made twice", func(_ *testing.T, c *cluster) {
		for n := range c.urls {
			c.want(409, n, "PUT", "/_node/_local/_nodes/"+c.name(n), `{}`)
		}
	}},
	{"§5 every node is a member of itself and of the others, and no other", func(_ *testing.T, c *cluster) {
		var all []string
		for n := range c.urls {
			all = append(all, c.name(n))
		}
		slices.Sort(all)
		for n := range c.urls {
			if m := c.membership(n); !slices.Equal(m.All, all) || !slices.Equal(m.Cluster, all) {
				c.t.Errorf("node %d sees %+v, want %v", n, m, all)
			}
		}
	}},
	{"§5.1 shard maps: twelve ranges, each on one node, the same on every node", func(_ *testing.T, c *cluster) {
		db := c.database("map/with+signs")
		var m shardMap
		c.get(0, "/_node/_local/_dbs/"+escape(db), &m)
		if len(m.ByRange) != 12 || len(m.Changelog) != 12 || !strings.HasPrefix(m.suffix(), ".") {
			c.t.Fatalf("map %+v", m)
		}
		ranges := 0
		for node, rs := range m.ByNode {
			ranges += len(rs)
			for _, r := range rs {
				if !slices.Equal(m.ByRange[r], []string{node}) {
					c.t.Errorf("%s is on %s by node, on %v by range", r, node, m.ByRange[r])
				}
				if !slices.ContainsFunc(m.Changelog, func(e []string) bool { return slices.Equal(e, []string{"add", r, node}) }) {
					c.t.Errorf("changelog lacks %s on %s", r, node)
				}
			}
		}
		if ranges != 12 || m.ByRange["00000000-15555554"] == nil || m.ByRange["eaaaaaa7-ffffffff"] == nil {
			c.t.Errorf("ranges %v", m.ByRange)
		}
		for n := range c.urls {
			c.eventually("the map is on every node", func() bool {
				status, out := c.call(0, "GET", "/_node/"+c.name(n)+"/_dbs/_all_docs?include_docs=true", nil)
				return status == 200 && strings.Contains(out, db)
			})
		}
	}},
	{"§5.1 shard maps are read page by page", func(_ *testing.T, c *cluster) {
		c.database("page-a")
		c.database("page-b")
		type page struct {
			Rows []struct{ ID string }
		}
		var all, first, second page
		c.get(0, "/_node/_local/_dbs/_all_docs", &all)
		c.get(0, "/_node/_local/_dbs/_all_docs?limit=2", &first)
		if len(all.Rows) < 3 || !slices.Equal(first.Rows, all.Rows[:2]) {
			c.t.Fatalf("of %v the first two are %v", all, first)
		}
		key, _ := json.Marshal(all.Rows[1].ID)
		c.get(0, "/_node/_local/_dbs/_all_docs?limit=2&startkey="+url.QueryEscape(string(key)), &second)
		if !slices.Equal(second.Rows, all.Rows[1:3]) {
			c.t.Errorf("of %v those from %s on are %v", all, key, second)
		}
	}},
	{"§5.4 _node/NAME/_all_dbs lists the shard files on that node, as the map says", func(_ *testing.T, c *cluster) {
		db := c.database("files")
		var m shardMap
		c.get(0, "/_node/_local/_dbs/"+db, &m)
		for n := range c.urls {
			name := c.name(n)
			c.eventually("shard files of "+name, func() bool {
				var files []string
				c.get(0, "/_node/"+name+"/_all_dbs", &files)
				for _, r := range m.ByNode[name] {
					if !slices.Contains(files, "shards/"+r+"/"+db+m.suffix()) {
						return false
					}
				}
				return slices.Contains(files, "_dbs") && slices.Contains(files, "_nodes")
			})
		}
		if status, _ := c.call(0, "GET", "/_node/couchdb@nobody.invalid/_all_dbs", nil); status != 404 {
			c.t.Errorf("an unknown node: %d", status)
		}
	}},
	{"§5 _dbs_info takes at most 100 keys", func(_ *testing.T, c *cluster) {
		db := c.database("info")
		var keys []string
		for i := range 100 {
			keys = append(keys, fmt.Sprintf("none%d", i))
		}
		keys[0] = db
		var rows []struct {
			Key, Error string
			Info       *struct {
				Name string `json:"db_name"`
			}
		}
		if err := json.Unmarshal([]byte(c.want(200, 0, "POST", "/_dbs_info", map[string]any{"keys": keys})), &rows); err != nil {
			c.t.Fatal(err)
		}
		if len(rows) != 100 || rows[0].Info == nil || rows[0].Info.Name != db || rows[1].Error != "not_found" {
			c.t.Errorf("rows: %+v", rows[:2])
		}
		if out := c.want(400, 0, "POST", "/_dbs_info", map[string]any{"keys": append(keys, "more")}); field(out, "reason") != "too_many_keys" {
			c.t.Errorf("101 keys: %s", out)
		}
	}},
	{"§5 databases: created once, named well, gone when deleted", func(_ *testing.T, c *cluster) {
		db := c.database("life")
		if out := c.want(412, 0, "PUT", "/"+db, nil); field(out, "error") != "file_exists" {
			c.t.Errorf("second PUT: %s", out)
		}
		if out := c.want(400, 0, "PUT", "/BAD", nil); field(out, "error") != "illegal_database_name" {
			c.t.Errorf("bad name: %s", out)
		}
		c.want(201, 0, "PUT", "/"+db+"/a", `{}`)
		c.want(200, 0, "DELETE", "/"+db, nil)
		for n := range c.urls {
			c.eventually("the database is gone everywhere", func() bool {
				status, out := c.call(n, "GET", "/"+db, nil)
				return status == 404 && field(out, "reason") == "Database does not exist."
			})
		}
		c.eventually("it can be created again, empty", func() bool {
			status, _ := c.call(0, "PUT", "/"+db, nil)
			return status == 201
		})
		if got := c.count(0, db); got != 0 {
			c.t.Errorf("recreated with %d documents", got)
		}
	}},
	{"§5.5 maps are checked for by_node and by_range, one bad one refuses a whole _bulk_docs", func(_ *testing.T, c *cluster) {
		c.database("maps")
		out := c.want(403, 0, "PUT", "/_node/_local/_dbs/contract-bad-map", `{"by_range":{}}`)
		if field(out, "error") != "forbidden" || field(out, "reason") != "by_node is mandatory" {
			c.t.Errorf("a map without by_node: %s", out)
		}
		c.want(403, 0, "POST", "/_node/_local/_dbs/_bulk_docs", `{"docs":[{"_id":"contract-m1","by_node":{},"by_range":{}},{"_id":"contract-m2"}]}`)
		c.want(404, 0, "GET", "/_node/_local/_dbs/contract-m1", nil)
		out = c.want(201, 0, "POST", "/_node/_local/_dbs/_bulk_docs", `{"docs":[{"_id":"_users","by_node":{},"by_range":{}}]}`)
		if !strings.Contains(out, `"error":"conflict"`) {
			c.t.Errorf("a map that is there already: %s", out)
		}
		out = c.want(201, 0, "POST", "/_node/_local/_nodes/_bulk_docs", `{"docs":[{"_id":"`+c.name(0)+`"}]}`)
		if !strings.Contains(out, `"error":"conflict"`) {
			c.t.Errorf("a member that is there already: %s", out)
		}
	}},
	{"§2 configuration: PUT gives the old value, an unset one is 404", func(_ *testing.T, c *cluster) {
		path := "/_node/_local/_config/contract/key"
		c.want(404, 0, "GET", path, nil)
		for _, step := range [][2]string{{`"one"`, `""`}, {`"two"`, `"one"`}} {
			if out := c.want(200, 0, "PUT", path, step[0], "X-Couch-Persist", "false"); strings.TrimSpace(out) != step[1] {
				c.t.Errorf("PUT %s answers %s", step[0], out)
			}
		}
		if out := c.want(200, len(c.urls)-1, "GET", "/_node/"+c.name(0)+"/_config/contract/key", nil); strings.TrimSpace(out) != `"two"` {
			c.t.Errorf("through another node: %s", out)
		}
		c.want(200, 0, "DELETE", path, nil, "X-Couch-Persist", "false")
		c.want(404, 0, "GET", path, nil)
	}},
}
