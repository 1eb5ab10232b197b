package contract

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

var documentStatements = []statement{
	{"§1 a write acknowledged by one node is read through every node", func(_ *testing.T, c *cluster) {
		db := c.database("docs")
		for i := range 30 {
			c.want(201, i%len(c.urls), "PUT", fmt.Sprintf("/%s/d%d", db, i), map[string]int{"n": i})
		}
		for n := range c.urls {
			for i := range 30 {
				var doc struct{ N int }
				if c.get(n, fmt.Sprintf("/%s/d%d", db, i), &doc); doc.N != i {
					c.t.Fatalf("d%d through node %d: %+v", i, n, doc)
				}
			}
			if got := c.count(n, db); got != 30 {
				c.t.Errorf("doc_count through node %d: %d", n, got)
			}
		}
	}},
	{"§1 revisions: stale or missing ones conflict, deletion leaves a tombstone", func(_ *testing.T, c *cluster) {
		db := c.database("revs")
		r1 := rev(c.want(201, 0, "PUT", "/"+db+"/a", `{"n":1}`))
		r2 := rev(c.want(201, 1%len(c.urls), "PUT", "/"+db+"/a", `{"_rev":"`+r1+`","n":2}`))
		if !strings.HasPrefix(r1, "1-") || !strings.HasPrefix(r2, "2-") {
			c.t.Errorf("revisions %s, %s", r1, r2)
		}
		for _, body := range []string{`{"n":3}`, `{"_rev":"` + r1 + `"}`} {
			if out := c.want(409, 0, "PUT", "/"+db+"/a", body); field(out, "error") != "conflict" || field(out, "reason") != "Document update conflict." {
				c.t.Errorf("conflict says %s", out)
			}
		}
		c.want(200, 0, "DELETE", "/"+db+"/a?rev="+r2, nil)
		if out := c.want(404, 0, "GET", "/"+db+"/a", nil); field(out, "reason") != "deleted" {
			c.t.Errorf("deleted document: %s", out)
		}
		if out := c.want(404, 0, "GET", "/"+db+"/none", nil); field(out, "reason") != "missing" {
			c.t.Errorf("missing document: %s", out)
		}
		var info struct {
			Live int `json:"doc_count"`
			Dead int `json:"doc_del_count"`
		}
		if c.get(0, "/"+db, &info); info.Live != 0 || info.Dead != 1 {
			c.t.Errorf("counts %+v", info)
		}
		if r := rev(c.want(201, 0, "PUT", "/"+db+"/a", `{}`)); !strings.HasPrefix(r, "4-") {
			c.t.Errorf("recreated as %s", r)
		}
	}},
	{"§1 _bulk_docs answers per document, _all_docs lists in order", func(_ *testing.T, c *cluster) {
		db := c.database("bulk")
		var docs []map[string]any
		for i := range 40 {
			docs = append(docs, map[string]any{"_id": fmt.Sprintf("k%02d", i), "n": i})
		}
		c.want(201, 0, "POST", "/"+db+"/_bulk_docs", map[string]any{"docs": docs})
		out := c.want(201, 0, "POST", "/"+db+"/_bulk_docs", map[string]any{"docs": docs[:1]})
		if !strings.Contains(out, `"error":"conflict"`) {
			c.t.Errorf("second bulk: %s", out)
		}
		var all struct {
			Total int `json:"total_rows"`
			Rows  []struct {
				ID    string
				Error string
				Doc   *struct{ N int }
			}
		}
		c.get(1%len(c.urls), "/"+db+`/_all_docs?include_docs=true&startkey="k05"&endkey="k30"&limit=10`, &all)
		if all.Total != 40 || len(all.Rows) != 10 || all.Rows[0].ID != "k05" || all.Rows[9].Doc.N != 14 {
			c.t.Errorf("range: %+v", all)
		}
		c.get(0, "/"+db+`/_all_docs?descending=true&limit=1`, &all)
		if all.Rows[0].ID != "k39" {
			c.t.Errorf("descending: %+v", all.Rows)
		}
		if err := json.Unmarshal([]byte(c.want(200, 0, "POST", "/"+db+"/_all_docs", `{"keys":["k09","nope"]}`)), &all); err != nil {
			c.t.Fatal(err)
		}
		if all.Rows[0].ID != "k09" || all.Rows[1].Error != "not_found" {
			c.t.Errorf("keys: %+v", all.Rows)
		}
		// A replicated revision is taken as it is.
		c.want(201, 0, "POST", "/"+db+"/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"r","_rev":"7-00000000000000000000000000000abc","_revisions":{"start":7,"ids":["00000000000000000000000000000abc"]}}]}`)
		if r := field(c.want(200, 0, "GET", "/"+db+"/r", nil), "_rev"); r != "7-00000000000000000000000000000abc" {
			c.t.Errorf("replicated revision is %s", r)
		}
	}},
	{"sizes.file is that of all shards' files, the same through every node, and grows by what is written", func(_ *testing.T, c *cluster) {
		db := c.database("sizes")
		size := func(n int) (file int64) {
			var rows []struct {
				Info struct {
					Sizes struct{ File, Active, External int64 }
				}
			}
			if err := json.Unmarshal([]byte(c.want(200, n, "POST", "/_dbs_info", map[string]any{"keys": []string{db}})), &rows); err != nil {
				c.t.Fatal(err)
			}
			if s := rows[0].Info.Sizes; s.File < s.Active || s.Active < 0 || s.External < 0 {
				c.t.Errorf("sizes %+v", s)
			}
			return rows[0].Info.Sizes.File
		}
		before := size(0)
		// Of random bytes: the real one compresses.
		noise := make([]byte, 1<<20)
		_, _ = rand.Read(noise) // never fails
		c.want(201, 0, "PUT", "/"+db+"/a/noise.bin", string(noise), "Content-Type", "application/octet-stream")
		for n := range c.urls {
			if after := size(n); after < before+1<<20 || after > before+2<<20 {
				c.t.Errorf("through node %d: %d bytes became %d by 1 MiB", n, before, after)
			}
		}
	}},
	{"§6 attachments, inline and by themselves, come back whole", func(_ *testing.T, c *cluster) {
		db := c.database("att")
		r := rev(c.want(201, 0, "PUT", "/"+db+"/a", `{"_attachments":{"x.txt":{"content_type":"text/plain","data":"aGVsbG8="}}}`))
		c.want(201, 0, "PUT", "/"+db+"/a/y.bin?rev="+r, "other", "Content-Type", "application/x-thing")
		for n := range c.urls {
			for name, want := range map[string]string{"x.txt": "hello", "y.bin": "other"} {
				if got := c.want(200, n, "GET", "/"+db+"/a/"+name, nil); got != want {
					c.t.Errorf("%s through node %d: %q", name, n, got)
				}
			}
		}
		if got := c.want(200, 0, "GET", "/"+db+"/a", nil); !strings.Contains(got, `"stub":true`) {
			c.t.Errorf("no stubs: %s", got)
		}
	}},
	// What docs/runbook.md has people do by hand to get one document back.
	{"§6 a document read with its attachments is written into another database, over a deleted and over a changed one", func(_ *testing.T, c *cluster) {
		then, live := c.database("then"), c.database("live")
		var of [2]string // the revisions that are there now
		for i, id := range []string{"deleted", "changed"} {
			c.want(201, 0, "PUT", "/"+then+"/"+id, `{"n":1,"_attachments":{"x.txt":{"content_type":"text/plain","data":"aGVsbG8="}}}`)
			r := rev(c.want(201, 0, "PUT", "/"+live+"/"+id, `{"n":1}`))
			if id == "deleted" {
				c.want(200, 0, "DELETE", "/"+live+"/"+id+"?rev="+r, nil)
			} else {
				of[i] = "?rev=" + rev(c.want(201, 0, "PUT", "/"+live+"/"+id+"?rev="+r, `{"n":2}`))
			}
		}
		for i, id := range []string{"deleted", "changed"} {
			var doc map[string]any
			if err := json.Unmarshal([]byte(c.want(200, 0, "GET", "/"+then+"/"+id+"?attachments=true", nil, "Accept", "application/json")), &doc); err != nil {
				c.t.Fatal(err)
			}
			delete(doc, "_rev")
			if id == "changed" {
				c.want(409, 0, "PUT", "/"+live+"/"+id, doc)
			}
			c.want(201, 0, "PUT", "/"+live+"/"+id+of[i], doc)
			if got := c.want(200, 0, "GET", "/"+live+"/"+id+"/x.txt", nil); got != "hello" {
				c.t.Errorf("the attachment of %s: %q", id, got)
			}
			if got := c.want(200, 0, "GET", "/"+live+"/"+id, nil); !strings.Contains(got, `"n":1`) {
				c.t.Errorf("%s is %s", id, got)
			}
		}
	}},
	{"§5 an old since token gives what came after it, through any node", func(_ *testing.T, c *cluster) {
		db := c.database("changes")
		for i := range 20 {
			c.want(201, 0, "PUT", fmt.Sprintf("/%s/a%d", db, i), `{}`)
		}
		ids, since := c.changes(0, db, "0")
		if len(ids) != 20 {
			c.t.Fatalf("%d changes", len(ids))
		}
		c.want(201, 0, "PUT", "/"+db+"/later", `{}`)
		for n := range c.urls {
			if ids, _ := c.changes(n, db, since); len(ids) != 1 || ids[0] != "later" {
				c.t.Errorf("since the token, through node %d: %v", n, ids)
			}
		}
		// Paging loses nothing and repeats nothing.
		seen, at := map[string]bool{}, "0"
		for range 11 {
			var page feedPage
			c.get(0, "/"+db+"/_changes?limit=2&since="+url.QueryEscape(at), &page)
			for _, r := range page.Results {
				if seen[r.ID] {
					c.t.Errorf("%s twice", r.ID)
				}
				seen[r.ID] = true
			}
			at = page.Last
		}
		if len(seen) != 21 {
			c.t.Errorf("%d documents by pages", len(seen))
		}
	}},
	{"§2 a longpoll is answered by a change made on another node", func(_ *testing.T, c *cluster) {
		db := c.database("poll")
		_, since := c.changes(0, db, "0")
		got := make(chan string, 1)
		go func() {
			_, out, err := try(c.t.Context(), "GET", c.urls[0]+"/"+db+"/_changes?feed=longpoll&since="+url.QueryEscape(since), "", nil)
			if err != nil {
				out = []byte(err.Error())
			}
			got <- string(out)
		}()
		c.want(201, len(c.urls)-1, "PUT", "/"+db+"/new", `{}`)
		if out := <-got; !strings.Contains(out, `"id":"new"`) {
			c.t.Errorf("longpoll: %s", out)
		}
	}},
	{"§5 _local checkpoints are kept and are no documents", func(_ *testing.T, c *cluster) {
		db := c.database("local")
		r := rev(c.want(201, 0, "PUT", "/"+db+"/_local/cp", `{"seq":"5-x"}`))
		if r != "0-1" {
			c.t.Errorf("revision of a local document: %s", r)
		}
		if got := field(c.want(200, len(c.urls)-1, "GET", "/"+db+"/_local/cp", nil), "seq"); got != "5-x" {
			c.t.Errorf("checkpoint: %s", got)
		}
		if got := c.count(0, db); got != 0 {
			c.t.Errorf("doc_count %d", got)
		}
	}},
	{"§5.7 a view answers through every node", func(_ *testing.T, c *cluster) {
		db := c.database("view")
		c.want(201, 0, "PUT", "/"+db+"/_design/d", `{"views":{"by":{"map":"function (doc) { if (doc.kind) { emit(doc.kind, doc.n); } }","reduce":"_count"}}}`)
		for i := range 12 {
			c.want(201, 0, "PUT", fmt.Sprintf("/%s/v%d", db, i), fmt.Sprintf(`{"kind":"k%d","n":%d}`, i%2, i))
		}
		for n := range c.urls {
			var v struct {
				Rows []struct {
					Key   string
					Value float64
				}
			}
			c.get(n, "/"+db+`/_design/d/_view/by?reduce=false&key="k1"`, &v)
			if len(v.Rows) != 6 {
				c.t.Errorf("rows through node %d: %+v", n, v.Rows)
			}
			if c.get(n, "/"+db+"/_design/d/_view/by?group=true", &v); len(v.Rows) != 2 || v.Rows[0].Value != 6 {
				c.t.Errorf("groups through node %d: %+v", n, v.Rows)
			}
		}
	}},
	{"§5.7 a user logs in at every node, by password and by another node's cookie", func(_ *testing.T, c *cluster) {
		name := c.newUser("secret")
		for n := range c.urls {
			if status, out := c.as(name+":secret", n, "GET", "/_session", nil); status != 200 || !strings.Contains(out, name) {
				c.t.Errorf("login at node %d: %d %s", n, status, out)
			}
			if status, out := c.as(name+":wrong", n, "GET", "/_session", nil); status != 401 || field(out, "reason") != "Name or password is incorrect." {
				c.t.Errorf("wrong password at node %d: %d %s", n, status, out)
			}
		}
		resp, err := http.PostForm(c.urls[0]+"/_session", url.Values{"name": {name}, "password": {"secret"}})
		if err != nil {
			c.t.Fatal(err)
		}
		resp.Body.Close() //nolint:errcheck // only the cookie matters
		if resp.StatusCode != 200 || len(resp.Cookies()) == 0 {
			c.t.Fatalf("login: %s", resp.Status)
		}
		for n := range c.urls {
			status, out := c.as(nobody, n, "GET", "/_session", nil, "Cookie", resp.Cookies()[0].String())
			if status != 200 || !strings.Contains(out, name) {
				c.t.Errorf("cookie at node %d: %d %s", n, status, out)
			}
		}
		db := c.database("secured")
		if status, _ := c.as(name+":secret", 0, "GET", "/"+db, nil); status != 403 {
			c.t.Errorf("a database without security lets a user in: %d", status)
		}
		c.want(200, 0, "PUT", "/"+db+"/_security", `{"members":{"names":["`+name+`"]}}`)
		for n := range c.urls {
			c.eventually("the new _security is used", func() bool {
				status, _ := c.as(name+":secret", n, "GET", "/"+db, nil)
				return status == 200
			})
		}
	}},
}

type feedPage struct {
	Results []struct{ ID string }
	Last    string `json:"last_seq"`
}

func (c *cluster) changes(i int, db, since string) (ids []string, last string) {
	c.t.Helper()
	var page feedPage
	c.get(i, "/"+db+"/_changes?since="+url.QueryEscape(since), &page)
	for _, r := range page.Results {
		ids = append(ids, r.ID)
	}
	return ids, page.Last
}

func (c *cluster) count(i int, db string) int {
	c.t.Helper()
	var info struct {
		N int `json:"doc_count"`
	}
	c.get(i, "/"+db, &info)
	return info.N
}

// newUser makes a user who goes away with the test.
func (c *cluster) newUser(password string) string {
	c.t.Helper()
	name := strings.ReplaceAll(c.database("user"), "-", "")
	path := "/_users/org.couchdb.user:" + name
	r := rev(c.want(201, 0, "PUT", path, map[string]any{"name": name, "type": "user", "roles": []string{}, "password": password}))
	c.t.Cleanup(func() { _, _, _ = try(c.t.Context(), "DELETE", c.urls[0]+path+"?rev="+r, "", nil) })
	return name
}

func field(out, name string) string {
	var m map[string]any
	if json.Unmarshal([]byte(out), &m) != nil {
		return ""
	}
	s, _ := m[name].(string)
	return s
}

func rev(out string) string { return field(out, "rev") }
