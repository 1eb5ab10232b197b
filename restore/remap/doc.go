// Package remap changes a backup's objects and claims so that they fit the place
// that is restored to.
// In: a Remap, and objects that are already rewritten for their namespace. Out:
// changed copies, what was changed in words, and what fits nothing. It is pure:
// whether the cluster has such nodes or classes is its caller's matter.
package remap
