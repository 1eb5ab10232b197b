package prepare

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var fresh = Credentials{User: "medic", Hash: "-pbkdf2:sha256-new,salt,600000", Secret: "newsecret"}

func TestRotate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		files  map[string]string
		want   map[string]string
		others []string
	}{
		{"as the image keeps them", map[string]string{
			"cluster-credentials.ini": "[admins]\nmedic = -pbkdf2-old,s,10\n\n[couch_httpd_auth]\nsecret = oldsecret\n\n[couchdb]\nuuid = abc\n"},
			map[string]string{
				"cluster-credentials.ini": "[admins]\nmedic = -pbkdf2:sha256-new,salt,600000\n\n[couch_httpd_auth]\nsecret = newsecret\n\n[couchdb]\nuuid = abc\n"}, nil},
		{"in several files, and under the newer heading", map[string]string{
			"a.ini": "[admins]\nmedic=plain\nSecond=x\n", "b.ini": "; ours\n[chttpd_auth]\nsecret = oldsecret\ntimeout = 600\n[admins]\nmedic = y\nthird = z"},
			map[string]string{
				"a.ini": "[admins]\nmedic = -pbkdf2:sha256-new,salt,600000\nSecond=x\n",
				"b.ini": "; ours\n[chttpd_auth]\nsecret = newsecret\ntimeout = 600\n[admins]\nmedic = -pbkdf2:sha256-new,salt,600000\nthird = z"}, []string{"Second", "third"}},
		{"twice, as the start script leaves it", map[string]string{"a.ini": "[admins]\nmedic = a\nmedic = b\n[couch_httpd_auth]\nsecret = s\n"},
			map[string]string{"a.ini": "[admins]\nmedic = -pbkdf2:sha256-new,salt,600000\n[couch_httpd_auth]\nsecret = newsecret\n"}, nil},
		{"what only looks like one", map[string]string{"a.ini": "[admins]\n;medic = old\nmedical = x\n[other]\nmedic = y\nsecret = z\n[couch_httpd_auth]\nsecret = s\n"},
			map[string]string{"a.ini": "[admins]\n;medic = old\nmedical = x\n[other]\nmedic = y\nsecret = z\n[couch_httpd_auth]\nsecret = newsecret\n",
				"cluster-credentials.ini": "[admins]\nmedic = -pbkdf2:sha256-new,salt,600000\n"}, []string{"medical"}},
		{"nowhere", map[string]string{"cluster-credentials.ini": "[admins]\n[couchdb]\nuuid = abc"},
			map[string]string{"cluster-credentials.ini": "[admins]\nmedic = -pbkdf2:sha256-new,salt,600000\n[couchdb]\nuuid = abc\n\n[couch_httpd_auth]\nsecret = newsecret\n"}, nil},
		{"no file at all", nil,
			map[string]string{"cluster-credentials.ini": "[admins]\nmedic = -pbkdf2:sha256-new,salt,600000\n\n[couch_httpd_auth]\nsecret = newsecret\n"}, nil},
		{"an admin that was removed: an empty value", map[string]string{"a.ini": "[admins]\nmedic =\ngone =\n[couch_httpd_auth]\nsecret = s\n"},
			map[string]string{"a.ini": "[admins]\nmedic =\ngone =\n[couch_httpd_auth]\nsecret = newsecret\n",
				"cluster-credentials.ini": "[admins]\nmedic = -pbkdf2:sha256-new,salt,600000\n"}, nil},
		{"lines that end as on Windows", map[string]string{"a.ini": "[admins]\r\nmedic = x\r\n[couch_httpd_auth]\r\nsecret = s\r\n"},
			map[string]string{"a.ini": "[admins]\r\nmedic = -pbkdf2:sha256-new,salt,600000\r\n[couch_httpd_auth]\r\nsecret = newsecret\r\n"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			for _, again := range []bool{false, true} {
				changed, others, err := rotate(dir, fresh)
				if err != nil {
					t.Fatal(err)
				}
				if again != (len(changed) == 0) {
					t.Errorf("again %t: changed %v", again, changed)
				}
				if !slices.Equal(others, tt.others) {
					t.Errorf("other admins %v, want %v", others, tt.others)
				}
				for name, text := range state(t, dir) {
					if text != tt.want[name] {
						t.Errorf("%s is %q, want %q", name, text, tt.want[name])
					}
				}
				if n := len(state(t, dir)); n != len(tt.want) {
					t.Errorf("%d files, want %d", n, len(tt.want))
				}
			}
		})
	}
}

// Where the configuration is not on the volume nothing is made of it.
func TestRotateNothingThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "local.d")
	if changed, _, err := rotate(dir, fresh); err != nil || len(changed) > 0 {
		t.Errorf("%v, %v", changed, err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("local.d was made")
	}
}

func TestReadCredentials(t *testing.T) {
	dir := t.TempDir()
	write := func(key, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, key), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(UserKey, "medic")
	write(HashKey, fresh.Hash)
	write(SecretKey, "newsecret")
	if got, err := ReadCredentials(dir); err != nil || got != fresh {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "of-two\nlines"} {
		write(SecretKey, bad)
		if _, err := ReadCredentials(dir); err == nil || strings.Contains(err.Error(), "of-two") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
