// Package offsite says which backup is meant of those that are kept outside the
// cluster, and what becomes of it. In: what stands on the command line (a moment, a
// UID), and the records that a catalog or the tags of snapshots tell of. Out: the one
// that is meant, or why there is none; and its record, completed with what the catalog
// lacks. It reads nothing itself.
package offsite
