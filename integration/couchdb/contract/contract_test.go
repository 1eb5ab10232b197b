package contract

import (
	"os"
	"strings"
	"testing"
)

// statement is one sentence about CouchDB, with the section it stands in.
type statement struct {
	name string
	run  func(t *testing.T, c *cluster)
}

// TestHTTP holds a cluster of three (or the one given) to what can be asked over HTTP.
func TestHTTP(t *testing.T) {
	var c *cluster
	if v := os.Getenv("COUCHDB_URLS"); v != "" {
		c = &cluster{t: t, urls: strings.Split(strings.ReplaceAll(v, " ", ""), ",")}
	} else {
		c = newCluster(t, 3)
	}
	for _, group := range [][]statement{documentStatements, serverStatements, maintenanceStatements} {
		for _, s := range group {
			t.Run(s.name, func(t *testing.T) { s.run(t, c.with(t)) })
		}
	}
}

// TestFiles holds CouchDB to what shows in its files and when processes stop and
// start. Each statement starts its own nodes.
func TestFiles(t *testing.T) {
	if os.Getenv("COUCHDB_URLS") != "" && os.Getenv("COUCHDB_LAUNCH") == "" {
		t.Skip("COUCHDB_URLS is a running cluster: these cases need its files and processes (COUCHDB_LAUNCH)")
	}
	for _, group := range [][]statement{copyStatements, nameStatements, processStatements} {
		for _, s := range group {
			t.Run(s.name, func(t *testing.T) { s.run(t, nil) })
		}
	}
}
