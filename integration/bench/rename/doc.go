// Command rename measures how fast a restore gives databases new node names. In:
// flags; three CouchDB nodes that it starts itself (stand-ins, or what the script
// in COUCHDB_LAUNCH starts). Out: databases a second of the product's way and of
// the known way, on the same cluster in the same run, and whether the target is
// met. It fails when a database is not as it was, never for a figure.
//
// The databases are made under one set of names. Then the nodes are stopped, what
// they know of their cluster is removed as a restore does it, and they start under
// other names on the same volumes: so the shard files are there and no shard map
// is, as in a restore.
//
// The known way is that of CHT's own migration scripts (medic/couchdb-migration,
// move-node): for each database, for each shard range, one after the other, read
// the database's map, give that one range to the new node, write the map. It is
// timed on a part of the databases, half of them before the product's turn and half
// after it. Left out in its favour: the request for _membership that the scripts
// send before each, and a connection for each request.
package main
