// Package copies tries restore/replicate on a CouchDB: the stand-in, or the real
// one at COUCHDB_URLS (see contract). It holds tests only.
package copies
