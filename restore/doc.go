// Package restore brings a backed-up CHT instance back in another namespace, or
// in its own after that was lost.
// In: a Restore object and the record of a backup. Out: claims filled from the
// snapshots, the instance's objects under their new namespace, CouchDB under its
// new node names, verified, and only then the components that use it.
// It never starts CouchDB on a volume that still knows its old cluster, never
// changes anything in the source's namespace, and never lets a clone out.
package restore
