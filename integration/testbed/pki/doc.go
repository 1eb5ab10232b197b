// Package pki makes the certificates and kubeconfigs of one testbed.
// In: a directory, the node's address and names. Out: files in that directory.
// It never writes a key that others may read, and its authority signs for this
// one cluster only.
package pki
