// Package fill keeps volumes being filled from a repository while the steps of a
// restore come and go.
// In: what fills one volume, and the filler that takes it. Out: how far it is. It
// starts a filling again that was cut off, or whose filler is another by now, and ends
// all of a restore. It knows nothing of what is moved, nor of Kubernetes.
package fill
