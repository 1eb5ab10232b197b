// Package shardfile is one database file: documents, revisions, attachments and
// local documents in one append-only file with an index in memory.
//
// In: edits. Out: results, only after the bytes are fsynced. A file never
// shrinks and never changes what is already in it: every earlier copy is a byte
// prefix of a later one. A torn tail is skipped, not cut off, and appended
// after. Compaction goes through X.couch.compact and renames, as CouchDB's does.
package shardfile
