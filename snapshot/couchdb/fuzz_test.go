package couchdb

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// told is a CouchDB that answers everything with the same text.
type told struct {
	text  []byte
	calls int
}

func (a *told) RoundTrip(r *http.Request) (*http.Response, error) {
	a.calls++
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a.text)), Request: r}, nil
}

// FuzzShardMaps: whatever a node answers, the reading of its maps ends, and a map that
// was read is renamed whole or not at all, and is the same again when it is renamed back.
func FuzzShardMaps(f *testing.F) {
	const one = `{"_id":"medic","_rev":"1-a","shard_suffix":[46,49,55],"changelog":[["add","00000000-7fffffff","couchdb@a"]],"by_node":{"couchdb@a":["00000000-7fffffff"],"couchdb@b":["80000000-ffffffff"]},"by_range":{"00000000-7fffffff":["couchdb@a"],"80000000-ffffffff":["couchdb@b"]},"props":{"partitioned":true}}`
	f.Add([]byte(`{"rows":[{"id":"medic","doc":` + one + `}]}`))
	f.Add([]byte(`{"rows":[{"id":"_design/x","doc":null},{"id":"a","doc":{"shard_suffix":[-1,300],"by_node":{"":null},"by_range":{"":[""]},"changelog":[null,["a"]]}}]}`))
	f.Add([]byte(`{"rows":[` + strings.TrimSuffix(strings.Repeat(`{"id":"a"},`, mapPage+1), ",") + `]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		node := &told{text: text}
		maps, err := New("http://couchdb", "u", "p", node).ShardMaps(t.Context(), "couchdb@a")
		if node.calls > 2 {
			t.Fatalf("the same page was asked for %d times", node.calls)
		}
		if err != nil {
			return
		}
		for id, m := range maps {
			_ = m.ShardFile("00000000-7fffffff")
			to, back := map[string]string{}, map[string]string{}
			for node := range m.ByNode {
				to[node], back["new-"+node] = "new-"+node, node
			}
			for _, nodes := range m.ByRange {
				for _, node := range nodes {
					to[node], back["new-"+node] = "new-"+node, node
				}
			}
			there, err := m.Renamed(to)
			if err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			again, err := there.Renamed(back)
			if err != nil || !again.SamePlaces(m) || len(again.ByRange) != len(m.ByRange) {
				t.Fatalf("%s: there and back: %+v of %+v, %v", id, again, m, err)
			}
			for node := range m.ByNode {
				delete(to, node)
				if _, err := m.Renamed(to); err == nil {
					t.Fatalf("%s: renamed without a name for %q", id, node)
				}
				break
			}
			if _, err := json.Marshal(there); err != nil {
				t.Fatalf("%s cannot be written: %v", id, err)
			}
		}
	})
}
