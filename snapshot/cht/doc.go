// Package cht knows what a CHT instance on Kubernetes looks like: its CouchDB
// nodes, their pods, claims, volumes and credentials.
// In: the objects of one namespace and the volumes behind its claims.
// Out: an Instance, or a refusal that names the object and what to do.
// It judges from labels and mounts alone and never changes anything.
package cht
