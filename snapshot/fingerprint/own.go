package fingerprint

import "slices"

// written are the databases into which CouchDB itself writes when it starts.
var written = []string{"_global_changes", "_replicator"}

// Own tells whether CouchDB itself writes into that database when it starts, so
// that a copy of it is soon another.
func Own(database string) bool { return slices.Contains(written, database) }

// OwnDocument tells whether CouchDB itself writes that document when it starts.
func OwnDocument(database, id string) bool { return database == "_users" && id == "_design/_auth" }
