package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/integration/bench/worker"
	"github.com/medic/cht-backup/integration/couchdb/loopback"
)

func TestMain(m *testing.M) {
	worker.Serve(role, "verify", work) // this test binary does a piece of work
	loopback.Run()                     // or is a node
	os.Exit(m.Run())
}

// The benchmark as a whole, small. That what is intact and what is damaged is
// called so it asserts itself; no figure is.
func TestWhole(t *testing.T) {
	t.Setenv("COUCHDB_URLS", "")
	t.Setenv("COUCHDB_LAUNCH", "")
	var out, say strings.Builder
	if err := bench(t.Context(), options{small: 1000, documents: 3000, dir: t.TempDir(), stuck: time.Minute}, nil, &out, &say); err != nil {
		t.Fatalf("%v\n%s", err, &say)
	}
	for _, want := range []string{"medic 2400, medic-sentinel 450, medic-users-meta 120, medic-logs 30", "verification, Full", "memory at most 150 MB with 3000 documents"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
