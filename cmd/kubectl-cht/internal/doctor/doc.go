// Package doctor finds what is wrong with the backups of a cluster, and what is
// left behind.
// In: lists of the cluster's objects. Out: findings, in words and with the next
// step; on demand, the end of what is left behind.
// It never removes what has a living owner, is in use, or may be somebody's work.
package doctor
