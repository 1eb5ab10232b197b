// Package verify compares a restored CouchDB with the record of its backup. In:
// the nodes, the record, the shard maps that were written, and how much is to be
// compared. Out: evidence, problems in words, and progress meanwhile. A status 200
// proves nothing here: CouchDB makes an empty shard where it finds none. It only
// reads, keeps nothing between runs, and holds a bounded part of the data whatever
// there is of it.
package verify
