// Package file takes backups of volumes that nothing can snapshot: it copies CouchDB's
// files, which only grow, as long as they were while every node was held still.
// In: a Backup and its nodes, copier pods beside them, a repository in the catalog. Out:
// volumes of method File in the Backup's status, and trees in the repository.
//
// The cut is a list of lengths, made in milliseconds; the bytes are moved afterwards, by
// a goroutine of the controller that leads. A copier holds the files open meanwhile, so
// that another controller can go on where this one was stopped. No credentials of the
// bucket and no key of a repository leave the controller, but for the one of the chunks'
// names.
//
// It keeps repositories too: what a deleted Backup leaves in one is removed, and what no
// tree names any more is collected, beside running backups.
package file
