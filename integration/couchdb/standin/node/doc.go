// Package node is one CouchDB node of the stand-in: what beam.smp is in the CHT's
// image.
//
// In: Settings (paths, ports, name) and a data directory that may be a copy of
// another node's. Out: CouchDB's HTTP interface as far as the CHT's clients, a
// backup and a restore need it, with CouchDB's shapes, codes and traps. Any node
// coordinates: it finds a document's shard in the maps of _dbs and asks the node
// named there. It never protects anyone from a trap: a copy with old names in it
// joins its source, a missing shard file becomes an empty one, and a request
// waits for a frozen disk for as long as that takes.
//
// Views: a map function may be `function (doc) { emit(KEY, VALUE); }`, optionally
// with `if (doc.a.b)` or `if (doc.a === 'x')` before emit; KEY and VALUE are
// doc, doc.a.b, a JSON scalar or an array of those. Reduce: _count and _sum.
// Anything else indexes nothing. Not there: Mango, replication, purge, change
// feeds as event source, show/list/update functions, validate_doc_update.
package node
