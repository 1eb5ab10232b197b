// Package contract states what CouchDB as the CHT runs it does, as tests: what a
// backup and a restore rely on, and the traps that they must not fall into.
//
// In: the stand-in, started here as processes on loopback addresses; or, for the
// cases that need HTTP only, a running cluster given as
//
//	COUCHDB_URLS=http://h1:5984,http://h2:5984,http://h3:5984 COUCHDB_USER=… COUCHDB_PASSWORD=…
//
// or, for the cases that touch files and processes, any CouchDB that a script can
// start: COUCHDB_LAUNCH=script COUCHDB_LAUNCH_HOSTS=h1,h2,… (six or more), called as
//
//	script start HOST DIR   environment as of the CHT's image (SVC_NAME=HOST, CLUSTER_PEER_IPS, …;
//	                        none of these for a single node); uses DIR/data and DIR/etc/local.d;
//	                        prints the pid of beam.smp and returns with the node running
//	script stop HOST DIR    returns when it is gone (SIGKILL is fine)
//
// Out: one subtest a statement, named by its section of the measurements it comes
// from. It never asserts how long something takes, and it freezes nothing but
// file systems that it made on loop devices, with a thaw armed outside first.
package contract
