// Package ini holds a node's configuration: several .ini files read in order,
// later ones winning, as CouchDB reads default.d, local.ini and local.d.
//
// In: files and changes made at run time. Out: values by section and key.
// A persisted change rewrites the last file in place (never through a rename:
// CouchDB does not either, and a copy of a live volume may catch it half done).
package ini
