package couchdb

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// measured is a map as CouchDB 3.5.2 gave it, cut to three ranges.
const measured = `{"_id":"medic","_rev":"1-595cea9b865d3e278c3edd5104aa7189","shard_suffix":[46,49,55,57],` +
	`"changelog":[["add","00000000-55555553","couchdb@127.0.2.3"],["add","55555554-aaaaaaa7","couchdb@127.0.2.2"],["delete","aaaaaaa8-ffffffff","couchdb@gone"]],` +
	`"by_node":{"couchdb@127.0.2.2":["55555554-aaaaaaa7"],"couchdb@127.0.2.3":["00000000-55555553","aaaaaaa8-ffffffff"]},` +
	`"by_range":{"00000000-55555553":["couchdb@127.0.2.3"],"55555554-aaaaaaa7":["couchdb@127.0.2.2"],"aaaaaaa8-ffffffff":["couchdb@127.0.2.3"]},"props":{"partitioned":true}}`

func shardMap(t *testing.T, id string) ShardMap {
	t.Helper()
	var m ShardMap
	if err := json.Unmarshal([]byte(measured), &m); err != nil {
		t.Fatal(err)
	}
	m.ID = id
	return m
}

func TestShardMapKeepsWhatItIsGiven(t *testing.T) {
	out, err := json.Marshal(shardMap(t, "medic"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if json.Unmarshal(out, &got) != nil || json.Unmarshal([]byte(measured), &want) != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %s", out)
	}
	if f := shardMap(t, "medic/slash").ShardFile("00000000-55555553"); f != "shards/00000000-55555553/medic/slash.179" {
		t.Errorf("shard file %s", f)
	}
}

func TestRenamed(t *testing.T) {
	m := shardMap(t, "medic")
	got, err := m.Renamed(map[string]string{"couchdb@127.0.2.2": "couchdb@b", "couchdb@127.0.2.3": "couchdb@c", "couchdb@127.0.2.1": "couchdb@a"})
	if err != nil {
		t.Fatal(err)
	}
	want := ShardMap{ID: "medic", Suffix: m.Suffix, Props: m.Props,
		Changelog: [][]string{{"add", "00000000-55555553", "couchdb@c"}, {"add", "55555554-aaaaaaa7", "couchdb@b"}, {"delete", "aaaaaaa8-ffffffff", "couchdb@gone"}},
		ByNode:    map[string][]string{"couchdb@b": {"55555554-aaaaaaa7"}, "couchdb@c": {"00000000-55555553", "aaaaaaa8-ffffffff"}},
		ByRange:   map[string][]string{"00000000-55555553": {"couchdb@c"}, "55555554-aaaaaaa7": {"couchdb@b"}, "aaaaaaa8-ffffffff": {"couchdb@c"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if !reflect.DeepEqual(m, shardMap(t, "medic")) {
		t.Error("the map it came from was changed")
	}
	for _, half := range []map[string]string{nil, {"couchdb@127.0.2.2": "couchdb@b"}} {
		if _, err := m.Renamed(half); err == nil || !strings.Contains(err.Error(), "couchdb@127.0.2.3") && !strings.Contains(err.Error(), "couchdb@127.0.2.2") {
			t.Errorf("a node without a new name: %v", err)
		}
	}
}

// For any map and any one-to-one renaming: there and back is the same map, and
// no old name is left where CouchDB would connect to it.
func TestRenamedProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	for range 500 {
		names, back := map[string]string{}, map[string]string{}
		var old []string
		for i := range 1 + random.IntN(6) {
			from, to := fmt.Sprintf("couchdb@couchdb-%d.src.svc.cluster.local", i+1), fmt.Sprintf("couchdb@couchdb-%d.dst.svc.cluster.local", i+1)
			names[from], back[to], old = to, from, append(old, from)
		}
		m := ShardMap{ID: "db", Suffix: []int{46, 48 + random.IntN(10)}, ByNode: map[string][]string{}, ByRange: map[string][]string{}, Props: json.RawMessage(`{}`)}
		for i := range 1 + random.IntN(24) {
			shard := fmt.Sprintf("%08x-%08x", i, i+1)
			for _, n := range random.Perm(len(old))[:1+random.IntN(len(old))] {
				m.ByRange[shard] = append(m.ByRange[shard], old[n])
				m.ByNode[old[n]] = append(m.ByNode[old[n]], shard)
				m.Changelog = append(m.Changelog, []string{"add", shard, old[n]})
			}
		}
		there, err := m.Renamed(names)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := json.Marshal(there); strings.Contains(string(text), ".src.") {
			t.Fatalf("an old name is left: %s", text)
		}
		again, err := there.Renamed(back)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("there and back: %v\n%+v\n%+v", err, again, m)
		}
		if !again.SamePlaces(m) || len(m.ByNode) > 0 && there.SamePlaces(m) {
			t.Fatal("SamePlaces is wrong")
		}
	}
}

func TestSamePlaces(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(m *ShardMap)
		want   bool
	}{
		"the same":          {func(*ShardMap) {}, true},
		"another revision":  {func(m *ShardMap) { m.Rev = "2-x" }, true},
		"another order":     {func(m *ShardMap) { slices.Reverse(m.ByNode["couchdb@127.0.2.3"]) }, true},
		"another suffix":    {func(m *ShardMap) { m.Suffix = []int{46, 50} }, false},
		"a range less":      {func(m *ShardMap) { m.ByNode["couchdb@127.0.2.3"] = m.ByNode["couchdb@127.0.2.3"][:1] }, false},
		"a range elsewhere": {func(m *ShardMap) { m.ByNode["couchdb@127.0.2.2"][0] = "x" }, false},
		"another node": {func(m *ShardMap) {
			m.ByNode["couchdb@z"] = m.ByNode["couchdb@127.0.2.2"]
			delete(m.ByNode, "couchdb@127.0.2.2")
		}, false},
		"a node more": {func(m *ShardMap) { m.ByNode["couchdb@z"] = nil }, false},
	} {
		m := shardMap(t, "medic")
		tt.change(&m)
		if o := shardMap(t, "medic"); m.SamePlaces(o) != tt.want || o.SamePlaces(m) != tt.want {
			t.Errorf("%s: want %v", name, tt.want)
		}
	}
}

// dbs plays the node-local database _dbs.
type dbs struct {
	t    *testing.T
	docs map[string]ShardMap
}

func (d *dbs) answer(r request) (int, any) {
	switch {
	case r.method == "GET" && strings.HasSuffix(r.path, "/_dbs/_all_docs"):
		query, _ := url.ParseQuery(r.query)
		var start string
		if s := query.Get("startkey"); s != "" && json.Unmarshal([]byte(s), &start) != nil {
			return 400, `{"error":"query_parse_error","reason":"invalid UTF-8 JSON"}`
		}
		var limit int
		if _, err := fmt.Sscan(query.Get("limit"), &limit); err != nil || query.Get("include_docs") != "true" {
			return 400, `{"error":"bad_request"}`
		}
		var ids []string
		for id := range d.docs {
			if id >= start {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		rows := []any{}
		for _, id := range ids[:min(limit, len(ids))] {
			rows = append(rows, map[string]any{"id": id, "key": id, "value": map[string]string{"rev": "1-x"}, "doc": d.docs[id]})
		}
		return 200, map[string]any{"total_rows": len(d.docs), "offset": 0, "rows": rows}
	case r.method == "POST" && r.path == "/_node/_local/_dbs/_bulk_docs":
		var in struct{ Docs []ShardMap }
		if err := json.Unmarshal([]byte(r.body), &in); err != nil {
			return 400, err.Error()
		}
		var items []any
		for _, doc := range in.Docs {
			if doc.ByNode == nil { // the whole request, and nothing is written
				return 403, `{"error":"forbidden","reason":"by_node is mandatory"}`
			}
		}
		for _, doc := range in.Docs {
			there, ok := d.docs[doc.ID]
			switch {
			case strings.HasPrefix(doc.ID, "bad"):
				items = append(items, map[string]any{"id": doc.ID, "error": "forbidden", "reason": "no"})
			case ok && there.Rev != doc.Rev:
				items = append(items, map[string]any{"id": doc.ID, "error": "conflict", "reason": "Document update conflict."})
			default:
				doc.Rev = "1-new"
				d.docs[doc.ID] = doc
				items = append(items, map[string]any{"ok": true, "id": doc.ID, "rev": doc.Rev})
			}
		}
		return 201, items
	case strings.HasPrefix(r.path, "/_node/_local/_dbs/"):
		id, _ := url.PathUnescape(strings.TrimPrefix(r.path, "/_node/_local/_dbs/"))
		there, ok := d.docs[id]
		if r.method == "GET" {
			if !ok {
				return 404, `{"error":"not_found","reason":"missing"}`
			}
			return 200, there
		}
		var doc ShardMap
		if json.Unmarshal([]byte(r.body), &doc) != nil || doc.Rev != there.Rev {
			return 409, `{"error":"conflict","reason":"Document update conflict."}`
		}
		doc.Rev = "2-new"
		d.docs[id] = doc
		return 201, `{"ok":true}`
	}
	return 404, `{"error":"not_found","reason":"missing"}`
}

func TestShardMapsAreReadPageByPage(t *testing.T) {
	for _, n := range []int{0, 1, mapPage, mapPage + 1, 2*mapPage + 1, 3*mapPage + 7} {
		d := &dbs{t: t, docs: map[string]ShardMap{}}
		for i := range n {
			m := shardMap(t, fmt.Sprintf("medic-user-%d+\"é-meta", i)) // names that a key in a URL must survive
			d.docs[m.ID] = m
		}
		c, seen := server(t, d.answer)
		got, err := c.ShardMaps(t.Context(), "couchdb@couchdb-1")
		if err != nil || !reflect.DeepEqual(got, d.docs) {
			t.Errorf("%d maps: %d came back, %v", n, len(got), err)
		}
		if want := max(1, (n+mapPage-1)/mapPage); len(seen()) != want {
			t.Errorf("%d maps: %d requests, want %d", n, len(seen()), want)
		}
		if p := seen()[0].path; p != "/_node/couchdb@couchdb-1/_dbs/_all_docs" {
			t.Errorf("asked %s", p)
		}
	}
	d := &dbs{t: t, docs: map[string]ShardMap{"_design/x": {}, "medic": shardMap(t, "medic")}}
	c, _ := server(t, d.answer)
	if got, err := c.ShardMaps(t.Context(), "_local"); err != nil || len(got) != 1 {
		t.Errorf("a design document is no map: %v, %v", got, err)
	}
	// A server that does not turn the page must not be asked for ever.
	var full []string
	for i := range mapPage + 1 {
		full = append(full, fmt.Sprintf(`{"id":"db-%d","doc":{}}`, i))
	}
	c, _ = server(t, always(200, `{"rows":[`+strings.Join(full, ",")+`]}`))
	if _, err := c.ShardMaps(t.Context(), "_local"); err == nil || !strings.Contains(err.Error(), "the same again") {
		t.Errorf("the same page for ever: %v", err)
	}
}

func TestPutShardMaps(t *testing.T) {
	d := &dbs{t: t, docs: map[string]ShardMap{}}
	// The image's start script made _users before us, elsewhere; _replicator is as it should be.
	stale, same := shardMap(t, "_users"), shardMap(t, "_replicator")
	stale.Rev, stale.Suffix = "3-stale", []int{46, 57}
	same.Rev = "1-same"
	d.docs["_users"], d.docs["_replicator"] = stale, same
	var want []ShardMap
	for i := range mapPage + 50 {
		want = append(want, shardMap(t, fmt.Sprintf("medic-user-%d-meta", i)))
	}
	want = append(want, shardMap(t, "_users"), shardMap(t, "_replicator"), shardMap(t, "with/slash+plus"))
	c, seen := server(t, d.answer)
	for range 2 { // repeated: a restore that was interrupted does it again
		if err := c.PutShardMaps(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range want {
		if got, ok := d.docs[m.ID]; !ok || !got.SamePlaces(m) {
			t.Errorf("%s is %+v", m.ID, got)
		}
	}
	if rev := d.docs["_users"].Rev; rev != "2-new" {
		t.Errorf("_users has revision %s: it was not replaced", rev)
	}
	if rev := d.docs["_replicator"].Rev; rev != "1-same" {
		t.Errorf("_replicator has revision %s: it was right and was written again", rev)
	}
	puts := 0
	for _, r := range seen() {
		if r.method == "PUT" {
			puts++
		}
		if strings.Contains(r.body, "595cea9b") {
			t.Error("an old revision was sent")
		}
	}
	if puts != 1 {
		t.Errorf("%d single writes, want 1", puts)
	}
}

func TestPutShardMapsFails(t *testing.T) {
	for name, tt := range map[string]struct {
		maps   []ShardMap
		answer func(request) (int, any)
		text   string
	}{
		"one is refused":       {[]ShardMap{shardMap(t, "a"), shardMap(t, "bad")}, (&dbs{t: t, docs: map[string]ShardMap{}}).answer, "bad: forbidden"},
		"all are refused":      {[]ShardMap{shardMap(t, "a"), {ID: "b"}}, (&dbs{t: t, docs: map[string]ShardMap{}}).answer, "by_node is mandatory"},
		"an answer is missing": {[]ShardMap{shardMap(t, "a"), shardMap(t, "b")}, always(201, `[{"ok":true,"id":"a","rev":"1-x"}]`), "1 answers for 2 maps"},
		"conflict, then broken": {[]ShardMap{shardMap(t, "a")}, func(r request) (int, any) {
			if r.method == "POST" {
				return 201, `[{"id":"a","error":"conflict","reason":"Document update conflict."}]`
			}
			return 500, `{"error":"nodedown","reason":"progress not possible"}`
		}, "nodedown"},
	} {
		c, _ := server(t, tt.answer)
		if err := c.PutShardMaps(t.Context(), tt.maps); err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
