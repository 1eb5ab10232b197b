// Package metrics counts what became of backups and drills, for Prometheus. In:
// objects as they are when something has ended. Out: series on the registry that the
// controller serves. Counters begin anew with the process; gauges are set again from
// the objects that there are. It asks nobody for anything, but the Sweeper, which
// forgets namespaces that are gone.
package metrics
