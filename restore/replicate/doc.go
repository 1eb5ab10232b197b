// Package replicate copies one database from one CouchDB cluster into another, as
// CouchDB's replication does: with every leaf revision, its history, tombstones
// and attachments. It does so from outside of both: neither cluster has to reach
// the other or to know its credentials.
// In: two databases, of which the second exists and bears a marker. Out: the copy,
// and whether it is exact. It holds a few megabytes whatever the database has, goes
// on where it was when it is run again, and never changes what it copies from.
package replicate
