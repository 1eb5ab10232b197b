// Command increment measures how much of a CouchDB's files a backup has to send that
// has an earlier one to build on. In: flags; CouchDB nodes that it starts itself (what
// the script in COUCHDB_LAUNCH starts: the stand-in's files are not CouchDB's). Out:
// for each thing that happens between two backups (new documents one by one or in
// bulk, compaction, compaction with new and changed documents) the bytes that are new,
// by the ways that files can be cut into chunks; and what compression makes of the
// files, by level. It prints whether targets are met and never fails for a figure.
//
// The ways are
//
//	prefix      the product's: the earlier backup's chunks of the same path as far as
//	            the file still begins with them, the rest cut at a fixed size
//	content     chunks that end where a rolling hash of the content says so, so that
//	            bytes which moved are found again (a gear hash with two masks)
//	markers     as content, of files without the byte that CouchDB puts at every
//	            multiple of 4 KiB: the most that a cutter could get that knows the format
//
// All of them find a chunk again wherever it is, in whatever file.
package main
