package compose

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/snapshot/compose/project"
)

// What is in the way is refused, or set aside; an interrupted filling is not in the way.
func TestReady(t *testing.T) {
	dir := t.TempDir()
	data, config := filepath.Join(dir, "data"), filepath.Join(dir, "local.d")
	targets := []Target{{Node: "couchdb", Data: data, Config: config}}
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	if aside, err := Ready(targets, false, now); err != nil || len(aside) != 0 {
		t.Errorf("nothing there: %v %v", aside, err)
	}
	if err := os.MkdirAll(filepath.Join(data, unfinished), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Ready(targets, false, now); err != nil {
		t.Errorf("an interrupted filling: %v", err)
	}
	if err := os.Rename(filepath.Join(data, unfinished), filepath.Join(data, "shards")); err != nil {
		t.Fatal(err)
	}
	if _, err := Ready(targets, false, now); err == nil || !strings.Contains(err.Error(), "--force") || !strings.Contains(err.Error(), data) {
		t.Errorf("data there: %v", err)
	}
	aside, err := Ready(targets, true, now)
	if want := data + ".before-20260701-120000"; err != nil || len(aside) != 1 || aside[0] != want {
		t.Fatalf("set aside %v, %v", aside, err)
	}
	if _, err := os.Stat(filepath.Join(aside[0], "shards")); err != nil {
		t.Errorf("what was there is gone: %v", err)
	}
}

func TestWriteStaysWithin(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"../x", "/etc/x", "a/../../x"} {
		if _, _, err := Write(dir, []project.File{{Path: path, Data: []byte("x")}}); err == nil {
			t.Errorf("%s was written", path)
		}
	}
}
