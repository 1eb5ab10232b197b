// Package files tries the File method's cut on a CouchDB of three nodes that writes,
// compacts, and makes and deletes databases: the stand-in, or a real one that
// COUCHDB_LAUNCH starts (see contract). Copiers measure while its VMs are stopped, the
// files are moved through links into fillers while it goes on, and a cluster is started on
// what was filled. It holds tests only.
package files
