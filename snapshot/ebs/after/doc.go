// Package after does what a Backup asks for once its EBS snapshots are complete: it
// shares, copies, locks and archives them and has fast snapshot restore on the newest.
// In: a Completed Backup, the clock, EC2's answers. Out: EC2 calls and, in the status,
// the conditions Shared, Copied, Locked, FastRestore, Archived, the copies, lockedUntil.
// It never fails a backup, never waits for EC2 to be done, makes no copy twice, and
// deletes nothing that is not provably a copy of this backup.
package after
