package status

import (
	"time"

	"github.com/medic/cht-backup/schedule/when"
)

// fileCopies: is what lies in the catalog as new as somebody wants it. A copy that fails
// fails no backup, so that nothing else tells.
func (t *troubles) fileCopies(in *instance, out *Instance, good []*backup, now time.Time) {
	for i := len(good) - 1; i >= 0 && good[i].files == nil; i-- {
		if b := good[i]; b.notCopied != "" {
			t.add(Warning, FilesNotCopied, b.notCopiedMessage, "files of backup %s were not copied: %s", b.name, b.notCopied)
			break
		}
	}
	for _, s := range in.schedules {
		clock, err := when.Parse(s.copies, s.zone, s.created)
		if s.copies == "" || s.suspended || err != nil {
			continue
		}
		from, state := s.created, "missing"
		if c := out.LastFileCopy; c != nil {
			state = age(c.CutTime, now) + " old"
			if c.CutTime.After(from) {
				from = c.CutTime
			}
		}
		// Two instants, so that a copy under way, or one that failed, is no alarm yet.
		second := clock.Next(clock.Next(from))
		if !second.IsZero() && now.After(second.Add(s.jitter+allowance)) {
			t.add(Warning, FileCopyLate, "", "copy of the files in the catalog is %s: two instants of fileCopySchedule of schedule %s have passed without one", state, s.name)
			return
		}
	}
}
