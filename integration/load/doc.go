// Command load has a week of hourly backups of twenty instances pass in minutes, and
// looks whether anything grows. In: flags; the binaries of the testbed, which it builds
// where they lack. Out: a table with a line for each hour, for command load/lines, which
// judges and draws it. It fails when a backup is lost, taken twice, or not good, when the
// retention keeps what it should not, or when an object is there that was not a day ago.
//
// Real are the API server with its etcd, the controllers and the scheduler of
// Kubernetes, the snapshot-controller, and two controllers of the product, one of which
// leads: its binary in processes of their own, with the chart's rights, one bucket on the
// disk, and leader election. The leader is killed several times while backups run.
//
// Two things are built into that binary that no image has (cmd/cht-backup/clock_load.go):
// a clock that this program sets, and a look at the heap. The hour comes when all that
// was due in the one before is done. Timers go by the machine's clock, so a schedule is
// woken by an annotation where it would have woken by itself. Of the instances the objects
// are real; machines, CouchDB and storage are played (package hollow).
package main
