// Package queue says which backups may run: so many at once in the cluster, so
// many at once on the storage of one driver, in the order in which they are due.
// In: who waits, which drivers a backup cuts with, and what has ended. Out: who may
// go on, and in words what the others wait for. It reads no cluster and no clock.
package queue
