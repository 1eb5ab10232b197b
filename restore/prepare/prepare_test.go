package prepare

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const (
	// uid and gid stand for CouchDB's user.
	uid, gid = 5984, 5985

	persisted = `; set by an operator
[couchdb]
uuid = 0a1b
maintenance_mode = true
max_document_size = 4294967296

[chttpd]
require_valid_user = true
maintenance_mode = not ours

[ couchdb ]
  maintenance_mode=nolb
;maintenance_mode = kept comment

[admins]
medic = -pbkdf2:sha256-x,600000
`
	cleared = `; set by an operator
[couchdb]
uuid = 0a1b
max_document_size = 4294967296

[chttpd]
require_valid_user = true
maintenance_mode = not ours

[ couchdb ]
;maintenance_mode = kept comment

[admins]
medic = -pbkdf2:sha256-x,600000
`
)

// volume makes a volume as CouchDB leaves it. Keys are paths, values contents.
func volume(t *testing.T, more map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	files := map[string]string{
		"data/_nodes.couch": "members", "data/_dbs.couch": "maps", "data/_dbs.couch.compact": "x", "data/_dbs.couch.compact.data": "x", "data/_nodes.couch.compact.meta": "x",
		"data/_users.couch": "u", "data/_replicator.couch": "r",
		"data/shards/00000000-15555554/medic.1795470781.couch":                 "a",
		"data/shards/00000000-15555554/medic.1795470781.couch.compact":         "c",
		"data/shards/15555555-2aaaaaa9/medic/slash.1795470781.couch":           "b",
		"data/.shards/00000000-15555554/medic.1795470781_design/mrview/x.view": "v",
		"data/.delete/old.couch": "d",
		"local.d/docker.ini":     persisted,
		"local.d/z.ini":          "[couchdb]\nuuid = 1\n",
		"local.d/notes.txt":      "[couchdb]\nmaintenance_mode = true\n",
	}
	for name, text := range more {
		files[name] = text
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(path, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// state is every file under root with its content.
func state(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, root+"/")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestVolume(t *testing.T) {
	members := []string{"data/_nodes.couch", "data/_dbs.couch", "data/_dbs.couch.compact", "data/_dbs.couch.compact.data", "data/_nodes.couch.compact.meta"}
	for _, tt := range []struct {
		name    string
		cluster bool
		config  bool
		removed int
	}{
		{"one of several", true, true, len(members) + 1},
		{"alone: its name is the same everywhere, and its lists stay", false, true, 1},
		{"local.d is not on the volume", true, false, len(members)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := volume(t, nil)
			want := state(t, root)
			o := Options{Data: filepath.Join(root, "data"), Cluster: tt.cluster}
			if tt.cluster {
				for _, name := range members {
					delete(want, name)
				}
			}
			if tt.config {
				o.Config = filepath.Join(root, "local.d")
				want["local.d/docker.ini"] = cleared
			}
			result, err := Volume(o)
			if err != nil {
				t.Fatal(err)
			}
			check := func() {
				t.Helper()
				got := state(t, root)
				for name := range want {
					if got[name] != want[name] {
						t.Errorf("%s is %q, want %q", name, got[name], want[name])
					}
				}
				for name := range got {
					if _, ok := want[name]; !ok {
						t.Errorf("%s is there", name)
					}
				}
			}
			check()
			if result.Shards != 2 || len(result.Removed) != tt.removed {
				t.Errorf("result %+v, want 2 shards and %d things removed", result, tt.removed)
			}
			if tt.config && !slices.Contains(result.Removed, "maintenance_mode in docker.ini") {
				t.Errorf("removed %v", result.Removed)
			}
			// Again, as after a pod that was killed: nothing more changes.
			if result, err = Volume(o); err != nil || len(result.Removed) != 0 || result.Shards != 2 {
				t.Errorf("again: %+v, %v", result, err)
			}
			check()
		})
	}
}

func TestVolumeKeepsOwnerAndMode(t *testing.T) {
	root := volume(t, nil)
	path := filepath.Join(root, "local.d/docker.ini")
	if err := os.Chmod(path, 0o664); err != nil {
		t.Fatal(err)
	}
	before := stat(t, path)
	if _, err := Volume(Options{Data: filepath.Join(root, "data"), Config: filepath.Join(root, "local.d")}); err != nil {
		t.Fatal(err)
	}
	after := stat(t, path)
	if after.Ino == before.Ino {
		t.Error("the file was written in place: a crash would leave half of it")
	}
	if after.Uid != before.Uid || after.Gid != before.Gid || after.Mode != before.Mode {
		t.Errorf("owner %d:%d mode %o became %d:%d %o: CouchDB could not write it", before.Uid, before.Gid, before.Mode, after.Uid, after.Gid, after.Mode)
	}
	if os.Geteuid() == 0 && after.Uid != uid {
		t.Errorf("owner %d", after.Uid)
	}
}

func stat(t *testing.T, path string) syscall.Stat_t {
	t.Helper()
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMaintenanceMode(t *testing.T) {
	long := "[couchdb]\nlong = " + strings.Repeat("x", 200_000) + "\nmaintenance_mode = true\n"
	for _, tt := range []struct{ name, in, want string }{
		{"nothing to clear is not touched, not even its last line", "[couchdb]\nuuid = 1", "[couchdb]\nuuid = 1"},
		{"no newline at the end", "[couchdb]\nmaintenance_mode = true", "[couchdb]\n"},
		{"before any section", "maintenance_mode = true\n", "maintenance_mode = true\n"},
		{"another setting of the same beginning", "[couchdb]\nmaintenance_mode_x = 1\n", "[couchdb]\nmaintenance_mode_x = 1\n"},
		{"several files' worth of sections", "[a]\nx=1\n[couchdb]\nmaintenance_mode=true\n[b]\ny=1\n[couchdb]\nmaintenance_mode = true\nz=1\n", "[a]\nx=1\n[couchdb]\n[b]\ny=1\n[couchdb]\nz=1\n"},
		{"a line longer than a scanner takes", long, strings.Replace(long, "maintenance_mode = true\n", "", 1)},
		{"empty", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := volume(t, map[string]string{"local.d/docker.ini": tt.in, "local.d/zz.ini": "[couchdb]\nmaintenance_mode = true\n"})
			result, err := Volume(Options{Data: filepath.Join(root, "data"), Config: filepath.Join(root, "local.d")})
			if err != nil {
				t.Fatal(err)
			}
			got := state(t, root)
			if got["local.d/docker.ini"] != tt.want || got["local.d/zz.ini"] != "[couchdb]\n" {
				t.Errorf("got %q and %q", clipped(got["local.d/docker.ini"]), got["local.d/zz.ini"])
			}
			if want := 1 + min(1, len(tt.in)-len(tt.want)); len(result.Removed) != want {
				t.Errorf("removed %v", result.Removed)
			}
		})
	}
}

func clipped(s string) string { return s[:min(len(s), 200)] }

func TestVolumeRefuses(t *testing.T) {
	root := volume(t, nil)
	for name, data := range map[string]string{"missing": filepath.Join(root, "storage/medic-core"), "a file": filepath.Join(root, "data/_users.couch")} {
		before := state(t, root)
		_, err := Volume(Options{Data: data, Config: filepath.Join(root, "local.d"), Cluster: true})
		if err == nil || !strings.Contains(err.Error(), data) || !strings.Contains(err.Error(), "subPath") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "missing" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the cause is lost: %v", name, err)
		}
		if after := state(t, root); after["data/_nodes.couch"] != before["data/_nodes.couch"] || after["local.d/docker.ini"] != before["local.d/docker.ini"] {
			t.Errorf("%s: something was changed all the same", name)
		}
	}
}

// An empty volume, or one whose shards lie elsewhere, is told by the number.
func TestVolumeWithoutShards(t *testing.T) {
	root := t.TempDir()
	result, err := Volume(Options{Data: root, Config: filepath.Join(root, "local.d"), Cluster: true})
	if err != nil || result.Shards != 0 || len(result.Removed) != 0 {
		t.Errorf("%+v, %v", result, err)
	}
}
