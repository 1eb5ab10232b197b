// Package repositories keeps the keys of repositories of files in Secrets of the
// controller's namespace, and opens repositories with them.
// In: a catalog's bucket, Secrets, the recipients of whoever owns the data. Out: open
// repositories; and Secrets, one for each. A key never leaves that namespace but sealed.
//
// A repository is written to by the cluster that made it and by no other. A key that was
// brought in for a restore opens one for reading alone, and is taken back after it.
package repositories
