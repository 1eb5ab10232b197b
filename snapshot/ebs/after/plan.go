package after

import (
	"slices"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// step is what a copy needs next.
type step int

const (
	// toNote: that it is begun is to be written down, before anything is.
	toNote step = iota
	// toSettle: EC2 may not show yet what was made.
	toSettle
	// toFind: what an earlier process, or a call whose answer was lost, may have made is
	// to be looked for.
	toFind
	// toStart: nodes' snapshots are to be copied.
	toStart
	// toLook: they are under way.
	toLook
	// complete: nothing is left.
	complete
)

// plan is the next step of a copy, and of which nodes.
type plan struct {
	step  step
	nodes []string
	wait  time.Duration
}

// nextOf decides on a copy's next step from what is written down, what this process
// knows, and the clock. Nothing is started that was not looked for, and no search is
// trusted that came too early.
func nextOf(all []snapshot, s *api.CopyStatus, m *copyMemory, now time.Time) plan {
	var absent, missing, pending []string
	for _, o := range all {
		v := copiedVolume(s, o.node)
		switch {
		case v == nil:
			absent = append(absent, o.node)
		case v.Handle == "":
			missing = append(missing, o.node)
		case !v.Ready:
			pending = append(pending, o.node)
		}
	}
	switch {
	case s != nil && s.Complete:
		return plan{step: complete}
	case len(absent) > 0:
		return plan{step: toNote, nodes: absent}
	case len(missing) > 0 && !m.noted && !m.found.IsZero() && m.trust.After(now):
		return plan{step: toSettle, nodes: missing, wait: m.trust.Sub(now)}
	case len(missing) > 0 && !m.noted && (m.found.IsZero() || m.found.Before(m.trust)):
		return plan{step: toFind, nodes: missing}
	case len(missing) > 0:
		return plan{step: toStart, nodes: missing}
	case len(pending) > 0:
		return plan{step: toLook, nodes: pending}
	}
	return plan{step: complete}
}

func copiedVolume(s *api.CopyStatus, node string) *api.CopiedVolume {
	if s == nil {
		return nil
	}
	i := slices.IndexFunc(s.Volumes, func(v api.CopiedVolume) bool { return v.Node == node })
	if i < 0 {
		return nil
	}
	return &s.Volumes[i]
}

// The times between two looks at copies: a tenth of what they have taken so far.
const (
	soonestLook = 15 * time.Second
	latestLook  = 3 * time.Minute
)

func lookAgain(took time.Duration) time.Duration {
	return min(max(took/10, soonestLook), latestLook)
}
