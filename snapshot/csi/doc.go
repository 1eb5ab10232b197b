// Package csi cuts volumes through the Kubernetes snapshot API.
// In: the claims of one instance. Out: one VolumeSnapshot for each, with the
// moment of its cut; later, whether the storage can make volumes from it.
// It adopts only snapshots that carry its backup's UID, and deletes no others.
package csi
