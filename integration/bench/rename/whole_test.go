package main

import (
	"os"
	"strings"
	"testing"

	"github.com/medic/cht-backup/integration/couchdb/loopback"
)

func TestMain(m *testing.M) {
	loopback.Run() // where this test binary runs as a node
	os.Exit(m.Run())
}

// The benchmark as a whole, small. What it asserts of the databases it asserts
// itself; no figure is.
func TestWhole(t *testing.T) {
	t.Setenv("COUCHDB_URLS", "")
	t.Setenv("COUCHDB_LAUNCH", "")
	var out, say strings.Builder
	if err := bench(t.Context(), options{databases: 5, known: 3, dir: t.TempDir()}, nil, &out, &say); err != nil {
		t.Fatalf("%v\n%s", err, &say)
	}
	for _, want := range []string{"product          5", "(60 shards)", "known way, both          3        72"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	t.Setenv("COUCHDB_URLS", "http://127.0.0.1:1")
	if err := bench(t.Context(), options{}, nil, &out, &say); err == nil || !strings.Contains(err.Error(), "COUCHDB_LAUNCH") {
		t.Errorf("a cluster whose nodes cannot be renamed is taken: %v", err)
	}
}
