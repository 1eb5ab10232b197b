// Command verify measures a Full verification. In: flags; three CouchDB nodes that
// it starts itself (stand-ins), or a cluster that runs, in COUCHDB_URLS. Out:
// documents a second and the peak of memory, for a small and a large number of
// documents in the same run, and whether the targets are met. It fails when what is
// intact is called damaged or what is damaged intact, never for a figure.
//
// The work is the product's own, each time in a process of its own, so that the
// peak is of that work alone: the fingerprint of a backup is taken, every document,
// revision and attachment is verified against it, then one document of all is
// changed, and the verification has to find that. There are no design documents: how
// long CouchDB takes to build an index is not asked here.
package main
