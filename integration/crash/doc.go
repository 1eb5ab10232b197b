// Command crash kills what takes part in a backup, a restore, a deletion, a drill and a
// copy, at every side effect that the controller has, and looks from outside whether what
// is promised holds.
//
// In: a seed and how many runs; the testbed, which it brings up. Out: a line for each
// run, and what broke, with the command that repeats it. It fails when a promise is
// broken, never for how an operation ends, as long as it ends and says why.
//
// Nothing of it is in the product. The controller is its binary, as a process of its own
// with the rights of the chart, and is killed by SIGKILL. Between it and the API server,
// and between it and the catalog's bucket, stands this program. Each request that changes
// something is a crash point, named by what it does; points.txt has those that undisturbed
// runs were seen to pass (--record writes it anew). A fault comes before the request is
// passed on, or after it had its effect and before the controller hears of it, or some time
// later, when it is busy with what passes this program by, such as CouchDB.
//
// Everything else is real: CouchDB's nodes in pods, file systems that freeze, a CSI driver.
package main
