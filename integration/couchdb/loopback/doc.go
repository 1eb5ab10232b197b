// Package loopback runs a CouchDB cluster as processes of this machine, for what
// needs no Kubernetes.
//
// In: folders for the volumes and a host, that is an address in 127.0.0.0/8, for
// each node. Out: nodes that are one cluster and answer. A node is the stand-in, run
// by the very program that asks for it, which therefore calls Run first of all; or
// what the script in COUCHDB_LAUNCH starts (package contract says how it is
// called). Nodes die with the program, whatever ends it, but for those of a script.
package loopback
