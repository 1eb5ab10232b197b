package prepare

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
)

// A copy has the documents of the source's _replicator database too, and would go
// on with those replications: read from the source, or write to it and to whoever
// else they name. CouchDB starts none where [replicator] max_jobs is 0
// (couch_replicator_scheduler.erl takes it as a limit, 0 included).

const (
	replicatorSection = "replicator"
	maxJobsKey        = "max_jobs"
)

// holdReplication makes CouchDB start no replication, by its configuration. It
// tells whether it changed anything.
func holdReplication(dir string) (changed bool, err error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as the image makes it
			return false, err
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.ini"))
	if err != nil {
		return false, err
	}
	set := false
	for _, file := range files { // all of them: the last one counts
		text, err := os.ReadFile(file) //nolint:gosec // named by the operator's volume
		if err != nil {
			return false, err
		}
		fresh, found := noJobs(text)
		set = set || found
		if bytes.Equal(fresh, text) {
			continue
		}
		if err := replace(file, fresh); err != nil {
			return false, err
		}
		changed = true
	}
	if set {
		return changed, nil
	}
	return true, addLines(filepath.Join(dir, credentialsFile), setting{replicatorSection, maxJobsKey + " = 0"})
}

// noJobs gives an ini file's text with max_jobs at 0 where it is set.
func noJobs(text []byte) (fresh []byte, found bool) {
	var out bytes.Buffer
	in := ""
	for line := range bytes.Lines(text) {
		if m := section.FindSubmatch(line); m != nil {
			in = string(m[1])
		}
		if key, ok := keyOf(line); ok && in == replicatorSection && key == maxJobsKey {
			found, line = true, []byte(maxJobsKey+" = 0"+ending(line))
		}
		out.Write(line)
	}
	return out.Bytes(), found
}
