// Package ebs cuts EBS volumes through EC2 itself: in-tree volumes, and those of
// clusters without the CSI snapshot controller.
// In: a Backup and the CouchDB nodes of its instance. Out: EBS snapshots with tags
// that say whose they are, and the state of them.
// It never tries a call again under a freeze, never takes up a snapshot of an earlier
// attempt, and never deletes one that others made. See docs/ebs.md.
package ebs
