package prepare

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHoldReplication(t *testing.T) {
	for _, tt := range []struct {
		name    string
		files   map[string]string
		want    map[string]string
		changed bool
	}{
		{"nothing there", nil, map[string]string{"cluster-credentials.ini": "[replicator]\nmax_jobs = 0\n"}, true},
		{"not set", map[string]string{"cluster-credentials.ini": "[admins]\nmedic = x"}, map[string]string{"cluster-credentials.ini": "[admins]\nmedic = x\n\n[replicator]\nmax_jobs = 0\n"}, true},
		{"a section without it", map[string]string{"cluster-credentials.ini": "[replicator]\nmax_churn = 5\n"}, map[string]string{"cluster-credentials.ini": "[replicator]\nmax_jobs = 0\nmax_churn = 5\n"}, true},
		{"set in two files, of which the last counts", map[string]string{"a.ini": "[replicator]\nmax_jobs = 0\r\n", "z.ini": "[couchdb]\nmax_jobs = 3\n[replicator]\nmax_jobs=500\n"},
			map[string]string{"a.ini": "[replicator]\nmax_jobs = 0\r\n", "z.ini": "[couchdb]\nmax_jobs = 3\n[replicator]\nmax_jobs = 0\n"}, true},
		{"commented out", map[string]string{"cluster-credentials.ini": "[replicator]\n;max_jobs = 500\n"}, map[string]string{"cluster-credentials.ini": "[replicator]\nmax_jobs = 0\n;max_jobs = 500\n"}, true},
		{"done before", map[string]string{"cluster-credentials.ini": "[replicator]\nmax_jobs = 0\n"}, map[string]string{"cluster-credentials.ini": "[replicator]\nmax_jobs = 0\n"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "local.d")
			if tt.files != nil {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			changed, err := holdReplication(dir)
			if err != nil || changed != tt.changed {
				t.Fatalf("changed %t, want %t (%v)", changed, tt.changed, err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != len(tt.want) {
				t.Errorf("%d files, want %d (%v)", len(entries), len(tt.want), err)
			}
			for name, want := range tt.want {
				if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
					t.Errorf("%s is %q, want %q (%v)", name, got, want, err)
				}
			}
			if again, err := holdReplication(dir); err != nil || again {
				t.Errorf("a second time it changes something (%v)", err)
			}
		})
	}
}

func TestVolumeHoldsReplicationOfACloneOnly(t *testing.T) {
	for _, hold := range []bool{true, false} {
		dir := t.TempDir()
		for _, sub := range []string{"data/shards", "local.d"} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		result, err := Volume(Options{Data: filepath.Join(dir, "data"), Config: filepath.Join(dir, "local.d"), HoldReplication: hold})
		if err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(filepath.Join(dir, "local.d", credentialsFile))
		if got := strings.Contains(string(text), "max_jobs = 0"); got != hold || result.ReplicationHeld != hold {
			t.Errorf("asked to hold: %t; the file says %q, the result %t", hold, text, result.ReplicationHeld)
		}
	}
}
