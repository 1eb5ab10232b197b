// Package catalog keeps the record of a backup: all that a restore needs to
// know besides the bytes in the snapshots. It outlives the backed-up namespace.
// In: a Record. Out: a set of Secrets in the controller's namespace, since the
// instance's own Secrets are part of it; and the Record again, checked.
// A record whose head is not there is not there: the head is written last.
package catalog
