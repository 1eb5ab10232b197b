// Package method chooses for each volume how it is cut, by CSI, by EBS or by
// copying its files, and sends
// what is asked of a cut to whoever made it.
// In: a Backup, its nodes and the cluster's snapshot classes. Out: one cut of all
// volumes at once, also where they are of several kinds.
// It knows nothing of how any of them works.
package method
