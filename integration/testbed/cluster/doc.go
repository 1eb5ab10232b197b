// Package cluster starts a one-node Kubernetes on this machine and takes it away.
// In: a directory, binaries. Out: a kubeconfig; processes, mounts, a network
// namespace, cgroups, all of them recorded or recognisable by that directory.
// It never signals a process it did not start, never freezes anything, and
// changes nothing of the machine that it does not put back.
package cluster
