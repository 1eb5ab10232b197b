package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/integration/cht/couch"
)

func TestParse(t *testing.T) {
	o, err := parse(nil)
	if err != nil || o.databases != 2000 || o.known != 100 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range []string{"--databases 0", "--databases 100000", "--known 1", "surplus"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s is taken", args)
		}
	}
}

// The known way ends with maps of the new names only, and asks twice for each shard.
func TestKnown(t *testing.T) {
	m := shardMap{ID: "db", Suffix: []int{'.', '1'}, ByNode: map[string][]string{"a": {"0-3", "8-b"}, "b": {"4-7", "c-f"}},
		ByRange: map[string][]string{"0-3": {"a"}, "4-7": {"b"}, "8-b": {"a"}, "c-f": {"b"}}}
	ranges := map[string]map[string][]string{"db": {"a": {"0-3", "8-b"}, "b": {"4-7", "c-f"}}}
	puts := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			puts++
			m = shardMap{}
			if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
				t.Error(err)
			}
		}
		_ = json.NewEncoder(w).Encode(m)
	}))
	defer s.Close()
	got, err := known(t.Context(), couch.New(s.URL, "u", "p", http.DefaultTransport), []string{"db"}, ranges, map[string]string{"a": "A", "b": "B"})
	if err != nil || got.databases != 1 || got.requests != 8 || puts != 4 || got.writes <= 0 || got.writes > got.took {
		t.Errorf("%+v, %d PUTs, %v", got, puts, err)
	}
	if want := (map[string][]string{"A": {"0-3", "8-b"}, "B": {"4-7", "c-f"}}); !reflect.DeepEqual(m.ByNode, want) {
		t.Errorf("by node %v", m.ByNode)
	}
	if want := (map[string][]string{"0-3": {"A"}, "4-7": {"B"}, "8-b": {"A"}, "c-f": {"B"}}); !reflect.DeepEqual(m.ByRange, want) {
		t.Errorf("by range %v", m.ByRange)
	}
	if len(m.Changelog) != 8 {
		t.Errorf("changelog %v", m.Changelog)
	}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		product, known float64
		want           string
	}{{200, 10, "20.0 times: met"}, {199, 10, "19.9 times: NOT MET"}, {0, 10, "?"}, {200, 0, "?"}} {
		if got := verdict(tt.product, tt.known); got != tt.want {
			t.Errorf("%g and %g: %s", tt.product, tt.known, got)
		}
	}
	a, b := turn{databases: 1, requests: 2, took: time.Second, writes: time.Millisecond}, turn{databases: 3, requests: 4, took: time.Second}
	if got := a.add(b); got.rate() != 2 || got.requests != 6 || got.writes != time.Millisecond {
		t.Errorf("%+v", got)
	}
}

func TestReport(t *testing.T) {
	var out strings.Builder
	r := &run{version: "3.5.0", shards: 24000, before: turn{databases: 50, requests: 1250, took: 10 * time.Second, writes: 5 * time.Second},
		product: turn{databases: 2000, took: 10 * time.Second}, after: turn{databases: 50, requests: 1250, took: 20 * time.Second, writes: 6 * time.Second}}
	r.report(&out)
	for _, want := range []string{"24000 shards", "measured on 100 databases, not on 2000", "40.0 times: met", "PUTs alone: 20.0 times: met", "200.0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
