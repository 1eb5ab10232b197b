// Command fleet measures what many backups due at once cost the controller. In:
// flags; the testbed, which it brings up. Out: backups a minute, CPU, memory, calls of
// the Kubernetes API and time in line, for several numbers of instances in the same
// run, and whether the targets are met. It fails when a backup does, never for a
// figure, and leaves nothing behind.
//
// Real are the API server with its etcd, the controllers and the scheduler of
// Kubernetes, the snapshot-controller, and the product's controller: its binary, a
// fresh process for each number, with the rights that the chart gives it.
//
// Hundreds of CouchDBs fit no small machine, so of an instance only the objects are
// real, scheduled to a node that is this program: it says that their pods run,
// answers exec as a kubelet does (speaking the quiesce protocol, and remembering when
// it held), makes the cuts as a CSI sidecar does, and forwards each pod's address to
// one stand-in for CouchDB. Every cut has to lie inside a hold of its instance.
package main
