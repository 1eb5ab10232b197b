// Package extract reads one database of a backup straight from its repository, without
// restoring an instance. In: the record, the trees of its nodes, the repository. Out: the
// database's shards in a throw-away CouchDB of one node, and its documents as lines.
//
// CouchDB's files are read by CouchDB alone: a pod that belongs to nothing, has no
// Service, listens on its own loopback address, and knows no other node. What goes into
// it is compared with the IDs of its chunks. It is removed whatever happens.
package extract
