package show

import (
	"fmt"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// drillScratch tells where a drill works, or has left something to look at.
func drillScratch(r *api.Restore) string {
	d := r.Status.Drill
	switch {
	case d == nil || d.Scratch == "":
		return ""
	case d.KeptUntil != nil:
		return d.Scratch + ", kept until " + moment(d.KeptUntil.Time)
	case ofRestore(r).Ended():
		return "" // removed
	default:
		return d.Scratch
	}
}

// recoveryTook tells a drill's measured time to recovery; "" where it was not good.
func recoveryTook(r *api.Restore) string {
	if d := r.Status.Drill; d != nil && d.RestoreMilliseconds > 0 {
		return seconds(time.Duration(d.RestoreMilliseconds) * time.Millisecond)
	}
	return ""
}

// drillVerdict is what a drill was made for, in a line.
func drillVerdict(r *api.Restore) []string {
	s := ofRestore(r)
	if r.Spec.Drill == nil || !s.Ended() {
		return nil
	}
	from := r.Spec.Source.Namespace + "/" + r.Spec.Source.Name
	if !s.Good() {
		return []string{"", fmt.Sprintf("Backup %s is NOT proven: %s", from, orNone(s.Reason))}
	}
	line := fmt.Sprintf("Backup %s is proven", from)
	if v := r.Status.Verification; v != nil {
		line += fmt.Sprintf(" (%s): %d databases, %d shards and %d documents are what was backed up", v.Level, v.Databases, v.Shards, v.Documents)
	}
	if took := recoveryTook(r); took != "" {
		line += "; recovery took " + took
	}
	return []string{"", line}
}
