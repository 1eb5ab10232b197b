package boot

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/medic/cht-backup/integration/couchdb/standin/ini"
	"github.com/medic/cht-backup/integration/couchdb/standin/node"
)

// prepare does what the image's start script does before CouchDB: what is on the
// volume wins over the environment, but for what a follower takes from node 1.
func prepare(set node.Settings) error {
	for _, dir := range []string{set.DataDir(), set.LocalD()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("prepare volume: %w", err)
		}
	}
	user, password, leader := os.Getenv("COUCHDB_USER"), os.Getenv("COUCHDB_PASSWORD"), os.Getenv("COUCHDB_SYNC_ADMINS_NODE")
	file := set.CredentialsFile()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("prepare volume: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("prepare volume: %w", err)
	}
	if user != "" && password != "" && leader == "" {
		if err := setIfMissing(file, "admins", user, password); err != nil {
			return err
		}
	}
	if url := os.Getenv("NOUVEAU_URL"); url != "" {
		if err := ini.SaveFile(file, "nouveau", "url", &url); err != nil {
			return err
		}
	}
	secret, uuid := os.Getenv("COUCHDB_SECRET"), os.Getenv("COUCHDB_UUID")
	if leader != "" {
		if secret, uuid, err = fromLeader(set, file, leader, user); err != nil {
			return err
		}
	}
	if secret == "" {
		secret = rand.Text()
	}
	if uuid == "" {
		uuid = rand.Text()
	}
	if err := setIfMissing(file, "couch_httpd_auth", "secret", secret); err != nil {
		return err
	}
	if err := setIfMissing(file, "couchdb", "uuid", uuid); err != nil {
		return err
	}
	return handOver(set)
}

func setIfMissing(file, section, key, value string) error {
	vals, err := ini.ReadFile(file)
	if err != nil {
		return err
	}
	if _, ok := vals[section][key]; ok {
		return nil
	}
	return ini.SaveFile(file, section, key, &value)
}

// fromLeader takes node 1's password hash (cookies depend on its salt), and its
// secret and uuid for want of own ones.
func fromLeader(set node.Settings, file, leader, user string) (secret, uuid string, err error) {
	if err := waitReady(base(set, leader)); err != nil {
		return "", "", err
	}
	get := func(key string) (string, error) {
		body, _, err := request("GET", base(set, leader)+"/_node/couchdb@"+leader+"/_config/"+key, nil)
		if err != nil {
			return "", err
		}
		var v string
		if err := json.Unmarshal(body, &v); err != nil {
			return "", fmt.Errorf("read %s of %s: %w", key, leader, err)
		}
		return v, nil
	}
	hash, err := get("admins/" + user)
	if err != nil {
		return "", "", err
	}
	if err := ini.SaveFile(file, "admins", user, &hash); err != nil {
		return "", "", err
	}
	if secret, err = get("couch_httpd_auth/secret"); err != nil {
		return "", "", err
	}
	uuid, err = get("couchdb/uuid")
	return secret, uuid, err
}

// handOver gives the volume to the couchdb user, as the script's find does.
func handOver(set node.Settings) error {
	if os.Getuid() != 0 || set.Root != "/opt/couchdb" {
		return nil
	}
	for _, dir := range []string{set.DataDir(), set.LocalD()} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			_ = os.Lchown(path, couchdbUser, couchdbUser) // the script goes on without it too
			return nil
		})
		if err != nil {
			return fmt.Errorf("walk %s: %w", dir, err)
		}
	}
	return nil
}
