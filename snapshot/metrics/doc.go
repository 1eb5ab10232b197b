// Package metrics tells Prometheus how well instances are backed up. In: the objects
// that there are, read from the controller's cache at each scrape, and what has just
// ended. Out: series on the registry that the controller serves. Gauges follow from
// the objects alone: they are right after a restart, and go with their object.
// Counters and histograms begin anew with the process; the Sweeper forgets those of
// namespaces that are gone. docs/metrics.md has one line for each family.
package metrics
