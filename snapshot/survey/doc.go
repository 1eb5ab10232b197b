// Package survey asks a CouchDB cluster what it is and what it holds: its members, the
// shard maps, counts and positions of its databases. In: where its nodes answer. Out:
// what stands in a record, or why no backup of it would be whole. It changes nothing,
// and reads databases: never while a node is held.
package survey
