// Package snapshot takes one backup: it finds the CHT instance of a namespace,
// holds its CouchDB nodes still, cuts their volumes as one point in time,
// releases them, and writes the record that a restore starts from.
// In: a Backup object. Out: snapshots, a record, and the Backup's status.
// It never leaves a node held, and never leaves a snapshot that no finished
// Backup names. Nothing here knows how a restore works.
package snapshot
