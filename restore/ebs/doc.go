// Package ebs makes EBS volumes from the snapshots of a backup.
// In: the nodes of a record, what the cluster has, what the Restore asks for. Out:
// which Region and snapshots to take, whether the CSI driver or this package makes
// the volumes, the volumes themselves with their tags, and the PersistentVolumes for
// them.
// It never makes a volume twice, and never deletes one that does not bear the tag of
// the Restore that asks.
package ebs
