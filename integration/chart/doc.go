// Package chart renders the charts of this repository as `helm install` would, for
// tests and for the harness. In: a chart's folder, values, what the release and the
// cluster are. Out: objects, in the order in which Helm makes them, and the notes. It
// talks to no cluster: what a template looks up there is not found.
package chart
