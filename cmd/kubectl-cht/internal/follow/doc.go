// Package follow watches one Backup or Restore until it has ended.
// In: a client, an object, and a context that bounds the wait. Out: every state
// seen, and why the waiting ended. It only reads: giving up the wait changes
// nothing about the operation.
package follow
