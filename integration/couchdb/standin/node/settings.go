package node

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/medic/cht-backup/integration/couchdb/standin/ini"
)

// Settings are what the image and its environment fix for a node.
type Settings struct {
	Root     string // /opt/couchdb
	Name     string // couchdb@host
	Bind     string
	HTTPPort int
	EPMDPort int
	DistPort int
	Cookie   string
	IOSlots  int // dirty-IO threads
}

// FromEnvironment reads the image's environment. COUCHDB_STANDIN_* exist for
// tests that run several nodes on one machine.
func FromEnvironment() Settings {
	s := Settings{
		Root:     env("COUCHDB_STANDIN_ROOT", "/opt/couchdb"),
		Name:     "couchdb@127.0.0.1",
		Bind:     env("COUCHDB_STANDIN_BIND", "0.0.0.0"),
		HTTPPort: envInt("COUCHDB_STANDIN_HTTP_PORT", 5984),
		EPMDPort: envInt("COUCHDB_STANDIN_EPMD_PORT", 4369),
		DistPort: envInt("COUCHDB_STANDIN_DIST_PORT", 9100),
		Cookie:   env("COUCHDB_STANDIN_COOKIE", "cht-couchdb-cluster"),
		IOSlots:  10,
	}
	// The image renames the node only for clusters: a single node keeps its name anywhere.
	if svc := os.Getenv("SVC_NAME"); svc != "" && (os.Getenv("COUCHDB_SYNC_ADMINS_NODE") != "" || os.Getenv("CLUSTER_PEER_IPS") != "") {
		s.Name = "couchdb@" + svc
	}
	if m := regexp.MustCompile(`\+SDio\s+(\d+)`).FindStringSubmatch(os.Getenv("ERL_FLAGS")); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			s.IOSlots = n
		}
	}
	return s
}

func env(key, def string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return def
}

func envInt(key string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(key)); err == nil {
		return n
	}
	return def
}

// DataDir is the data volume's mount.
func (s *Settings) DataDir() string { return filepath.Join(s.Root, "data") }

// LocalD is the directory of persisted configuration, on the same volume.
func (s *Settings) LocalD() string { return filepath.Join(s.Root, "etc", "local.d") }

// CredentialsFile is where the start script puts admin, secret and uuid.
func (s *Settings) CredentialsFile() string {
	return filepath.Join(s.LocalD(), "cluster-credentials.ini")
}

// IniFiles lists configuration files in the order they are read.
func (s *Settings) IniFiles() []string {
	etc := filepath.Join(s.Root, "etc")
	var files []string
	for _, pattern := range []string{"default.d/*.ini", "local.ini", "local.d/*.ini"} {
		found, err := filepath.Glob(filepath.Join(etc, pattern))
		if err != nil {
			continue // only a malformed pattern errs, and these are constants
		}
		slices.Sort(found)
		files = append(files, found...)
	}
	if local, err := filepath.Glob(filepath.Join(s.LocalD(), "*.ini")); err == nil && len(local) == 0 {
		files = append(files, s.CredentialsFile())
	}
	return files
}

// defaults are CouchDB's and the CHT image's settings that anybody asks about.
func defaults() ini.Values {
	return ini.Values{
		"cluster":          {"q": "12", "n": "1"},
		"couchdb":          {"max_dbs_open": "5000", "max_document_size": "4294967296", "os_process_timeout": "60000", "database_dir": "./data", "view_index_dir": "./data"},
		"chttpd":           {"port": "5984", "bind_address": "0.0.0.0", "require_valid_user": "true", "admin_only_all_dbs": "true"},
		"chttpd_auth":      {"iterations": "10", "pbkdf2_prf": "sha256", "timeout": "31536000"},
		"couch_httpd_auth": {"timeout": "31536000", "allow_persistent_cookies": "true"},
		"fabric":           {"request_timeout": "31536000"},
		"nouveau":          {"enable": "true", "url": "http://nouveau:5987"},
	}
}
