package after

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// asked names the conditions of what the spec asks for.
func asked(p *api.EBSPolicy) []string {
	if p == nil {
		return nil
	}
	var all []string
	add := func(yes bool, condition string) {
		if yes {
			all = append(all, condition)
		}
	}
	shares := len(p.ShareWith) > 0
	for _, c := range p.Copies {
		shares = shares || len(c.ShareWith) > 0
	}
	add(shares, api.ConditionShared)
	add(len(p.Copies) > 0, api.ConditionCopied)
	add(p.Lock != nil, api.ConditionLocked)
	add(p.FastRestore != nil, api.ConditionFastRestore)
	add(p.ArchiveAfter != nil, api.ConditionArchived)
	return all
}

// Settled tells, from the spec and the conditions alone, that nothing is left to do.
// Fast restore never is settled: which backups have it changes with every new one.
func Settled(b *api.Backup) bool {
	for _, condition := range asked(b.Spec.EBS) {
		c := meta.FindStatusCondition(b.Status.Conditions, condition)
		if c == nil || !final(c) || condition == api.ConditionFastRestore && c.Reason != api.ReasonNotEBS {
			return false
		}
	}
	return true
}

func final(c *metav1.Condition) bool {
	return c.Reason == api.ReasonNotEBS || c.Status == metav1.ConditionTrue && c.Type != api.ConditionFastRestore
}

// snapshot is one volume's snapshot, the original or a copy, that can be restored from.
type snapshot struct {
	place  Place
	node   string
	handle string
	copy   string // name of the copy, "" for the original
}

func (s snapshot) String() string {
	if s.copy == "" {
		return "snapshot " + s.handle
	}
	return "snapshot " + s.handle + " (copy " + s.copy + ")"
}

// originals are the backup's snapshots that EC2 made.
func originals(b *api.Backup) []snapshot {
	var all []snapshot
	for _, v := range b.Status.Volumes {
		if v.Method == api.MethodEBS && v.EBS != nil && v.Handle != "" {
			all = append(all, snapshot{place: Place{Region: v.EBS.Region}, node: v.Node, handle: v.Handle})
		}
	}
	return all
}

func placeOf(c api.EBSCopy) Place { return Place{Region: c.Region, Role: c.RoleARN} }

// copied are the snapshots of the complete copies.
func copied(b *api.Backup) []snapshot {
	var all []snapshot
	for _, c := range b.Spec.EBS.Copies {
		s := copyStatus(b, c.Name)
		if s == nil || !s.Complete {
			continue
		}
		for _, v := range s.Volumes {
			all = append(all, snapshot{place: placeOf(c), node: v.Node, handle: v.Handle, copy: c.Name})
		}
	}
	return all
}

func copyStatus(b *api.Backup, name string) *api.CopyStatus {
	for i := range b.Status.Copies {
		if b.Status.Copies[i].Name == name {
			return &b.Status.Copies[i]
		}
	}
	return nil
}

// copiesComplete tells whether all copies asked for are.
func copiesComplete(b *api.Backup) bool {
	for _, c := range b.Spec.EBS.Copies {
		if s := copyStatus(b, c.Name); s == nil || !s.Complete {
			return false
		}
	}
	return true
}

// byPlace groups snapshots, in the order in which the places come first.
func byPlace(all []snapshot) (places []Place, grouped map[Place][]snapshot) {
	grouped = map[Place][]snapshot{}
	for _, s := range all {
		if grouped[s.place] == nil {
			places = append(places, s.place)
		}
		grouped[s.place] = append(grouped[s.place], s)
	}
	return places, grouped
}

func handles(all []snapshot) []string {
	var ids []string
	for _, s := range all {
		ids = append(ids, s.handle)
	}
	return ids
}
