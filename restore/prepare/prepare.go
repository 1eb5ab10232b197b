// Package prepare makes a restored volume safe to start CouchDB on, before
// CouchDB ever sees it. It runs as `cht-backup prepare-volume` in a pod that
// mounts one volume and has no network use.
// In: where data and configuration lie on the volume. Out: what was changed.
// It removes what would make a copy join its source, puts new credentials in where
// they are wanted, and does nothing else.
package prepare

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Options say what is where.
type Options struct {
	// Volume is where the volume is mounted, which no link may lead out of; "" for one
	// that is trusted.
	Volume string
	// Data is CouchDB's data directory, Config its local.d ("" where that is not on
	// the volume).
	Data, Config string
	// Cluster says that the node is one of several: its lists of members and of
	// shard maps name the source, and are removed.
	Cluster bool
	// HoldReplication keeps CouchDB from going on with the source's replications.
	HoldReplication bool
	// Credentials to put in the place of those in Config; nil keeps them.
	Credentials *Credentials
}

// Result tells what was done.
type Result struct {
	// Removed files and settings, in words.
	Removed []string `json:"removed,omitempty"`
	// Rotated files, in words.
	Rotated []string `json:"rotated,omitempty"`
	// OtherAdmins are the names of those whose passwords a rotation left alone.
	OtherAdmins []string `json:"otherAdmins,omitempty"`
	// ReplicationHeld tells that no replication will start.
	ReplicationHeld bool `json:"replicationHeld,omitempty"`
	// Shards is the number of shard files found.
	Shards int `json:"shards"`
}

// mostAdmins bounds how many names a result tells: it has to fit into a pod's
// termination message of 4 KiB.
const mostAdmins = 30

// ParseResult reads a result as the pod left it; what is none is empty.
func ParseResult(text string) Result {
	var r Result
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Result{}
	}
	return r
}

// memberFiles hold who is in the cluster and where shards lie. A copy that
// starts with them connects to the source within seconds.
var memberFiles = []string{"_nodes.couch", "_dbs.couch"}

// NoData begins the error of a volume that has no CouchDB data where the backup's
// record says.
const NoData = "there is no CouchDB data"

// Volume prepares one volume. Running it again changes nothing more.
func Volume(o Options) (Result, error) {
	var result Result
	if err := inside(o); err != nil {
		return result, err
	}
	if info, err := os.Stat(o.Data); err != nil || !info.IsDir() {
		return result, fmt.Errorf("%s at %s of the volume (%w); the subPath recorded at backup time does not fit this volume", NoData, o.Data, errOr(err, "not a directory"))
	}
	if o.Cluster {
		for _, name := range memberFiles {
			// A compaction's file is promoted at the next start, so it goes too.
			for _, file := range []string{name, name + ".compact", name + ".compact.data", name + ".compact.meta"} {
				err := os.Remove(filepath.Join(o.Data, file))
				if err == nil {
					result.Removed = append(result.Removed, file)
				} else if !errors.Is(err, os.ErrNotExist) {
					return result, fmt.Errorf("remove %s: %w", file, err)
				}
			}
		}
	}
	if o.Config != "" {
		files, err := filepath.Glob(filepath.Join(o.Config, "*.ini"))
		if err != nil {
			return result, err
		}
		for _, file := range files {
			changed, err := clearMaintenance(file)
			if err != nil {
				return result, err
			}
			if changed {
				result.Removed = append(result.Removed, "maintenance_mode in "+filepath.Base(file))
			}
		}
	}
	if o.Config != "" && o.HoldReplication {
		if _, err := holdReplication(o.Config); err != nil {
			return result, fmt.Errorf("hold replications by %s: %w", o.Config, err)
		}
		result.ReplicationHeld = true
	}
	if o.Config != "" && o.Credentials != nil {
		var err error
		if result.Rotated, result.OtherAdmins, err = rotate(o.Config, *o.Credentials); err != nil {
			return result, fmt.Errorf("put new credentials into %s: %w", o.Config, err)
		}
		result.OtherAdmins = result.OtherAdmins[:min(len(result.OtherAdmins), mostAdmins)]
	}
	shards, err := filepath.Glob(filepath.Join(o.Data, "shards", "*"))
	if err != nil {
		return result, err
	}
	for _, dir := range shards {
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if strings.HasSuffix(path, ".couch") {
				result.Shards++
			}
			return err
		})
		if err != nil {
			return result, fmt.Errorf("look for shard files: %w", err)
		}
	}
	return result, syncDir(o.Data)
}

var (
	section         = regexp.MustCompile(`^\s*\[\s*([^\]\s]+)\s*\]`)
	maintenanceMode = regexp.MustCompile(`^\s*maintenance_mode\s*=`)
)

// clearMaintenance drops a persisted maintenance mode, which would make the copy
// answer 404 or 500 for ever. Only the section [couchdb] has that setting.
func clearMaintenance(file string) (changed bool, err error) {
	text, err := os.ReadFile(file) //nolint:gosec // named by the operator's volume
	if err != nil {
		return false, err
	}
	var kept bytes.Buffer
	in := ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		line := lines.Text()
		if m := section.FindStringSubmatch(line); m != nil {
			in = m[1]
		}
		if in == "couchdb" && maintenanceMode.MatchString(line) {
			changed = true
			continue
		}
		kept.WriteString(line + "\n")
	}
	if err := lines.Err(); err != nil || !changed {
		return false, err
	}
	return true, replace(file, kept.Bytes())
}

// replace swaps a file's content at once, keeping owner and mode.
func replace(file string, content []byte) error {
	old, err := os.Stat(file)
	if err != nil {
		return err
	}
	fresh, err := os.CreateTemp(filepath.Dir(file), ".cht-prepare-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(fresh.Name()) }() // gone already when all went well
	_, err = fresh.Write(content)
	err = errors.Join(err, fresh.Chmod(old.Mode()), chownLike(fresh, old), fresh.Sync(), fresh.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.Rename(fresh.Name(), file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// create makes a file at once, with its directory's owner.
func create(file string, content []byte) error {
	dir, err := os.Stat(filepath.Dir(file))
	if err != nil {
		return err
	}
	fresh, err := os.CreateTemp(filepath.Dir(file), ".cht-prepare-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(fresh.Name()) }() // gone already when all went well
	_, err = fresh.Write(content)
	if err = errors.Join(err, fresh.Chmod(0o644), chownLike(fresh, dir), fresh.Sync(), fresh.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.Rename(fresh.Name(), file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func syncDir(path string) error {
	dir, err := os.Open(path) //nolint:gosec // a directory of the volume
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}
