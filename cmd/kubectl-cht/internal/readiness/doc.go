// Package readiness finds what would fail at night: who would take the next backup, by
// which right, with which snapshots, into which catalog, and what a restore would meet.
// In: what a user could see of a cluster, and the controller's own check-up. Out:
// findings, each with its object, the reason and the next step. What he may not see is
// told and stops nothing. It changes nothing; pods are tried in dry runs.
package readiness
