// Package served decides which namespaces a controller works on, where several
// controllers are in a cluster. In: the namespaces that this one is for, and the Leases by
// which others say which they have. Out: a gate before each reconciler, which lets through
// what is this controller's, ends what no longer is, and brings back what becomes so. Two
// controllers never work on one namespace. It knows nothing of backups.
package served
