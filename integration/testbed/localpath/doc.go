// Package localpath gives claims directories of the node's own disk, as the
// provisioner that comes with k3s does: no snapshots, no size, no file system of
// its own. What lies there shares the machine's root file system and must NEVER be
// frozen. A claim comes in, a hostPath volume bound to the node goes out; when the
// claim is gone, so are the directory and all that is in it.
package localpath
