// Package restore brings a backed-up CHT instance back: in another namespace, in
// its own after that was lost, in place of the running one, or one database of it.
// In: a Restore object and the record of a backup. Out: claims filled from the
// snapshots, the instance's objects under their new namespace, CouchDB under its
// new node names, verified, and only then the components that use it.
// It never starts CouchDB on a volume that still knows its old cluster, never lets a
// clone out, changes a running instance only where it is asked to, and then leaves it
// restored or as it was.
package restore
