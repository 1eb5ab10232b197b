package show

import (
	"fmt"
	"strings"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Progress is how far a step is that works through documents.
type Progress struct {
	Done, Total int64
	// PerSecond is 0 when the rate is not known.
	PerSecond int64
	Left      time.Duration
}

// progressOf gives how far a restore's present step is, nil when it does not
// count. One database is verified before it is replicated, in the same phase.
func progressOf(r *api.Restore) *Progress {
	switch r.Status.Phase {
	case api.PhaseVerifying, api.PhaseScratch, api.PhaseReplicating, api.PhaseReplacing, api.PhaseRollingBack:
	default:
		return nil
	}
	if v := r.Status.Verification; v != nil && v.CompletionTime == nil && v.Progress != nil && v.Progress.Total > 0 {
		p := v.Progress
		return &Progress{Done: p.Done, Total: p.Total, PerSecond: p.DocumentsPerSecond, Left: time.Duration(p.SecondsLeft) * time.Second}
	}
	if d := r.Status.Database; d != nil && d.Total > 0 {
		return &Progress{Done: d.Written, Total: d.Total}
	}
	return nil
}

// Since gives p with the rate at which it came from done at that time, where the
// status tells none. It takes the clock of whoever watches.
func (p Progress) Since(done int64, passed time.Duration) *Progress {
	if p.PerSecond > 0 || p.Done <= done || passed < time.Second {
		return &p
	}
	rate := float64(p.Done-done) / passed.Seconds()
	p.PerSecond = int64(rate)
	p.Left = time.Duration(float64(p.Total-p.Done) / rate * float64(time.Second))
	return &p
}

// percent is at most 99 until all is done; what is counted may grow meanwhile.
func (p Progress) percent() int64 {
	switch {
	case p.Total <= 0 || p.Done <= 0:
		return 0
	case p.Done >= p.Total:
		return 100
	default:
		return min(99, int64(100*float64(p.Done)/float64(p.Total)))
	}
}

func (p Progress) String() string {
	text := fmt.Sprintf("%d%%  %d of %d documents", p.percent(), p.Done, p.Total)
	if p.PerSecond > 0 {
		text += fmt.Sprintf(", %d a second, %s left", p.PerSecond, p.Left.Round(time.Second))
	}
	return text
}

const barWidth = 20

func (p Progress) bar() string {
	full := int(p.percent() * barWidth / 100)
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "] " + p.String()
}
