// Package schedule takes backups by a clock, removes those that are not needed any
// more, and makes drills. In: BackupSchedules, and the Backups and Restores of their
// namespaces. Out: Backups and Restores made and deleted, and the status. It does
// no work on them itself: that is the part of snapshot and restore.
//
// A run's name follows from the instant that it was due at, and what a schedule has
// done is told by the objects that are there, so that a controller that starts anew
// at any instruction neither repeats nor forgets one.
package schedule
