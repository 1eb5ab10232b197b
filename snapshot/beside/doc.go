// Package beside runs the controller's own pods beside CouchDB's: on the same machine,
// with the same claim.
// In: pods that are ready to be made. Out: pods that run, or what they wait for, and no
// pods. It knows nothing of what is done in them.
package beside
