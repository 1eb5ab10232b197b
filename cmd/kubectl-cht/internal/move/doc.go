// Package move makes the record of a Docker Compose project one that restores to
// Kubernetes: the objects of charts/cht in the place of compose files, and Kubernetes'
// names of CouchDB's nodes in the place of Compose's. In: a record, opened, and values.
// Out: a record that an ordinary restore brings up, and the values with which Helm takes
// over what it brought up. It asks no cluster and no catalog.
package move
