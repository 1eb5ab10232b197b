// Package offsite says which backup is meant of those that are kept outside the
// cluster. In: what stands on the command line (a URL, a moment, a UID), and the
// records that a catalog or the tags of snapshots tell of. Out: the addresses to look
// at, and the one record that is meant, or why there is none. It reads nothing itself.
package offsite
