// Package tool runs the system's short-lived tools (mkfs, mount, ip, ctr).
// In: a command line. Out: an error that holds the command and what it said.
// It never starts anything that lives on.
package tool
