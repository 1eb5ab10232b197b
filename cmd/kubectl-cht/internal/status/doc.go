// Package status judges how well instances are backed up.
// In: Backups, BackupSchedules and Restores, where CHTs run, and the time. Out: one
// Instance for each namespace, with what is wrong in words, the worst first.
// It never asks a cluster, never reads a clock, and draws nothing.
package status
