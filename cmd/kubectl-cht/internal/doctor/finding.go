package doctor

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Severity says what a finding means.
type Severity string

// The severities, the worst first.
const (
	// Problem: something is wrong that somebody must look at.
	Problem Severity = "problem"
	// Warning: nothing fails for it tonight, but it should not stay so.
	Warning Severity = "warning"
	// Orphan: something is left behind, is nobody's, and can be removed.
	Orphan Severity = "orphan"
	// Information: all is well, but it takes room, or is good to know.
	Information Severity = "information"
)

// remedy is how an orphan is removed.
type remedy int

const (
	none remedy = iota
	removePod
	removeSnapshot
	removeContent
	dropImportedSnapshot
	dropImportedContent
	removeClaim
	removeVolume
	removeRecord
	removeNamespace
)

// Finding is one thing that was found.
type Finding struct {
	Severity Severity `json:"severity"`
	// Check that found it, see docs/doctor.md.
	Check     string    `json:"check"`
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace,omitempty"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid,omitempty"`
	// What is found, in words; Next says what to do.
	What string `json:"what"`
	Next string `json:"next"`
	// Result of a fix: "removed", or why not.
	Result string `json:"result,omitempty"`

	remedy remedy
	object client.Object
	// owner is the UID of the Backup or Restore that is gone.
	owner types.UID
}

// The checks of this package.
const (
	CheckController = "Controller"
	CheckProgress   = "Progress"
	CheckLeftovers  = "Leftovers"
)

// Fixable tells whether it can be removed.
func (f Finding) Fixable() bool { return f.remedy != none }

// Title names what was found.
func (f Finding) Title() string {
	name := f.Name
	if f.Namespace != "" {
		name = f.Namespace + "/" + name
	}
	return f.Kind + " " + name
}

// Same tells whether two looks found the same thing and mean to do the same with it.
func (f Finding) Same(g Finding) bool {
	return f.Kind == g.Kind && f.Namespace == g.Namespace && f.Name == g.Name && f.UID == g.UID && f.remedy == g.remedy
}

func of(severity Severity, kind string, o client.Object, what, next string) Finding {
	return Finding{Severity: severity, Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), What: what, Next: next, object: o}
}

// fixNext is the next step for everything that a fix removes.
const fixNext = "kubectl cht doctor --fix"

func orphan(kind string, o client.Object, owner types.UID, how remedy, what, next string) Finding {
	f := of(Orphan, kind, o, what, next)
	f.remedy, f.owner = how, owner
	return f
}

// Sort puts the worst first, and what is removed in the order in which it goes.
func Sort(findings []Finding) []Finding {
	rank := map[Severity]int{Problem: 0, Warning: 1, Orphan: 2, Information: 3}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank[a.Severity], rank[b.Severity]), cmp.Compare(a.remedy, b.remedy),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return findings
}
