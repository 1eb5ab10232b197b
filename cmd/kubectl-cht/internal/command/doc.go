// Package command holds the commands of `kubectl cht`.
// In: arguments, flags, the user's kubeconfig. Out: Backups, Restores, schedules and
// grants in the cluster, text or objects on stdout, an error with an exit code.
// It checks early what the controller would refuse late, and never works on a
// CHT itself.
package command
