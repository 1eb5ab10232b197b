package schedule

import (
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// CopyDue is when the files of a schedule's instance were, or are, due to be copied for
// the first time after newest, the cut of the newest backup whose files are copied; zero
// where nothing says when.
func CopyDue(s *api.BackupSchedule, newest time.Time) time.Time {
	if s.Spec.FileCopySchedule == nil || s.Spec.Suspend || s.DeletionTimestamp != nil {
		return time.Time{}
	}
	c, err := clockOf(s, *s.Spec.FileCopySchedule)
	if err != nil {
		return time.Time{} // the schedule's own status says it
	}
	if newest.Before(s.CreationTimestamp.Time) {
		newest = s.CreationTimestamp.Time
	}
	return c.Next(newest)
}
