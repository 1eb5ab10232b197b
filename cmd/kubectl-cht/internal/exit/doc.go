// Package exit turns errors into exit codes that a script can rely on.
// In: errors of the API server, of the network, of our own checks. Out: one
// error that names the object, the reason and the next step, with its code.
// It never prints and never ends the process.
package exit
