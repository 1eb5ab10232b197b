// Package couchdb makes the CouchDB calls that backup and restore need: who is
// in the cluster, which shard lies where, how many documents there are, and the
// node-local writes that give a restored copy its new names.
// In: a node's URL and admin credentials. Out: typed answers.
// It never reads a database while its caller may hold a freeze: that is the
// caller's duty, and the reason why counts and maps are separate calls.
package couchdb
