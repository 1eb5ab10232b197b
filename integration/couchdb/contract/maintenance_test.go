package contract

import (
	"context"
	"net/url"
	"strings"
	"testing"
)

const noShards = `"error":"internal_server_error","reason":"No DB shards could be opened."`

// mode sets maintenance_mode on every node until the test ends, not persisted.
func (c *cluster) mode(value string) (end func()) {
	c.t.Helper()
	const path = "/_node/_local/_config/couchdb/maintenance_mode"
	for n := range c.urls {
		c.want(200, n, "PUT", path, `"`+value+`"`, "X-Couch-Persist", "false")
	}
	cleared := false
	end = func() {
		for n := range c.urls {
			if !cleared {
				_, _, _ = try(context.Background(), "DELETE", c.urls[n]+path, "", nil, "X-Couch-Persist", "false")
			}
		}
		cleared = true
	}
	c.t.Cleanup(end)
	return end
}

var maintenanceStatements = []statement{
	{`§2 "nolb" stops nothing but /_up`, func(_ *testing.T, c *cluster) {
		db := c.database("nolb")
		_, since := c.changes(0, db, "0")
		c.mode("nolb")
		for n := range c.urls {
			if out := c.want(404, n, "GET", "/_up", nil); field(out, "status") != "nolb" {
				c.t.Errorf("/_up: %s", out)
			}
		}
		c.want(200, 0, "GET", "/"+db+"/_changes?feed=longpoll&since="+url.QueryEscape(since), nil) // at once, though nothing changed
		c.want(201, 0, "PUT", "/"+db+"/a", `{}`)
		c.want(200, len(c.urls)-1, "GET", "/"+db+"/a", nil)
	}},
	{`§2 "true" on all nodes: databases 500, _all_dbs 412, _dbs_info says not_found, new logins 401, PUT and DELETE of a database work`, func(_ *testing.T, c *cluster) {
		db := c.database("true")
		name := c.newUser("secret")
		end := c.mode("true")
		for n := range c.urls {
			for _, path := range []string{"/" + db, "/" + db + "/a", "/" + db + "/_all_docs", "/" + db + "/_changes"} {
				if status, out := c.call(n, "GET", path, nil); status != 500 || !strings.Contains(out, noShards) {
					c.t.Errorf("GET %s: %d %s", path, status, out)
				}
			}
			if status, out := c.call(n, "GET", "/_all_dbs", nil); status != 412 || field(out, "error") != "nodedown" {
				c.t.Errorf("_all_dbs: %d %s", status, out)
			}
			if status, out := c.call(n, "POST", "/_dbs_info", `{"keys":["`+db+`"]}`); status != 200 || !strings.Contains(out, `"error":"not_found"`) {
				c.t.Errorf("_dbs_info: %d %s", status, out)
			}
			if status, out := c.as(name+":secret", n, "GET", "/_session", nil); status != 401 || field(out, "reason") != "Name or password is incorrect." {
				c.t.Errorf("new login: %d %s", status, out)
			}
			c.want(404, n, "GET", "/_up", nil)
		}
		if status, out := c.call(0, "PUT", "/"+db+"-new", nil); status != 201 && status != 202 {
			c.t.Errorf("PUT of a database: %d %s", status, out)
		}
		if status, out := c.call(0, "DELETE", "/"+db+"-new", nil); status != 200 && status != 202 {
			c.t.Errorf("DELETE of a database: %d %s", status, out)
		}
		end()
		c.want(200, 0, "GET", "/"+db, nil)
		c.want(200, 0, "GET", "/_up", nil)
	}},
}
