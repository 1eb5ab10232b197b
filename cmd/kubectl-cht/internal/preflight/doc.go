// Package preflight says what a cluster lacks for the restore of a backup that was
// taken elsewhere, before anything is made in it. In: what the record and the flags
// need, and what was seen of the cluster with the user's rights. Out: all problems at
// once, each with the next step, and notes on what could not be seen. It judges what
// is known before a record is imported; the controller checks the rest.
package preflight
