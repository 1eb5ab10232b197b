package prepare

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What a volume has only by name is none of it: the pod has other mounts, and is root.
func TestLinksOutOfTheVolume(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(t *testing.T, root, elsewhere string) error
		says string
	}{
		"plain": {func(*testing.T, string, string) error { return nil }, ""},
		"a link within it": {func(t *testing.T, root, _ string) error {
			return errors.Join(os.Rename(filepath.Join(root, "data"), filepath.Join(root, "other")), os.Symlink("other", filepath.Join(root, "data")))
		}, ""},
		"the data": {func(t *testing.T, root, elsewhere string) error {
			return errors.Join(os.RemoveAll(filepath.Join(root, "data")), os.Symlink(elsewhere, filepath.Join(root, "data")))
		}, "leads out"},
		"the data by dots": {func(t *testing.T, root, elsewhere string) error {
			return errors.Join(os.RemoveAll(filepath.Join(root, "data")), os.Symlink("../../../../../../../../.."+elsewhere, filepath.Join(root, "data")))
		}, "leads out"},
		"local.d": {func(t *testing.T, root, elsewhere string) error {
			return errors.Join(os.RemoveAll(filepath.Join(root, "local.d")), os.Symlink(elsewhere, filepath.Join(root, "local.d")))
		}, "leads out"},
		"an ini": {func(t *testing.T, root, elsewhere string) error {
			return os.Symlink(filepath.Join(elsewhere, "passwd.ini"), filepath.Join(root, "local.d/zz.ini"))
		}, "leads out"},
		"a pipe": {func(t *testing.T, root, _ string) error {
			return syscall.Mkfifo(filepath.Join(root, "local.d/zz.ini"), 0o600)
		}, "neither a file"},
	} {
		t.Run(name, func(t *testing.T) {
			root, elsewhere := volume(t, map[string]string{"local.d/a.ini": persisted}), t.TempDir()
			kept := map[string]string{"_dbs.couch": "theirs", "_nodes.couch": "theirs", "passwd.ini": "[couchdb]\nmaintenance_mode = true\n"}
			for name, text := range kept {
				if err := os.WriteFile(filepath.Join(elsewhere, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := tt.make(t, root, elsewhere); err != nil {
				t.Fatal(err)
			}
			_, err := Volume(Options{Volume: root, Data: filepath.Join(root, "data"), Config: filepath.Join(root, "local.d"), Cluster: true})
			if (err != nil) != (tt.says != "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
			for name, text := range kept {
				if now, err := os.ReadFile(filepath.Join(elsewhere, name)); err != nil || string(now) != text {
					t.Errorf("%s outside of the volume is now %q, %v", name, now, err)
				}
			}
		})
	}
}
