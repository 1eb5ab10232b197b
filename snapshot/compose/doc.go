// Package compose takes a backup of a CHT that Docker Compose runs, from the machine it
// runs on: it finds the CouchDB processes, holds them still for the few milliseconds in
// which the files are measured, copies those files into a catalog's repository while the
// CHT goes on, and writes a record beside those of instances on Kubernetes.
// In: a project's directory and a catalog. Out: one record. It starts and stops no
// container, and decides neither when a backup is due nor which are kept.
package compose
