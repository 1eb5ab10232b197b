// Package boot is what runs around the VM in the CHT's CouchDB image: process 1,
// the start script and the script that sets up the cluster.
//
// In: the image's environment and the volume. Out: a child process whose comm is
// beam.smp, credentials in local.d, a joined cluster with its system databases.
// Process 1 forwards signals and reaps; it never touches data/ beyond handing it
// to the couchdb user. Image describes how to build a container image of it.
package boot
