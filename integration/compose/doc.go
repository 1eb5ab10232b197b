// Package compose tests backups of CouchDB nodes that are processes of this machine, as
// those of Docker Compose are: taken under load, restored into fresh directories, and
// judged by the writers' own logs. It needs neither a container engine nor Kubernetes,
// and no root. With COUCHDB_LAUNCH the nodes are those of a real CouchDB.
package compose
