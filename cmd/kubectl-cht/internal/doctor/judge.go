package doctor

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
)

// stuckAfter is how long a deletion may take before that is worth a word.
const stuckAfter = 15 * time.Minute

// look is one judgement: what was seen, when, and who lives.
type look struct {
	Cluster
	now      time.Time
	minAge   time.Duration
	backups  map[types.UID]*api.Backup
	restores map[types.UID]*api.Restore
}

// Judge gives what there is to say of a cluster at a time. What is younger than
// minAge is nobody's business yet: its owner may be at work on it.
func Judge(c Cluster, now time.Time, minAge time.Duration) []Finding {
	l := &look{Cluster: c, now: now, minAge: minAge, backups: map[types.UID]*api.Backup{}, restores: map[types.UID]*api.Restore{}}
	for i := range c.Backups {
		l.backups[c.Backups[i].UID] = &c.Backups[i]
	}
	for i := range c.Restores {
		l.restores[c.Restores[i].UID] = &c.Restores[i]
	}
	var all []Finding
	for _, part := range []struct {
		check string
		judge func() []Finding
	}{
		{CheckController, l.controller}, {CheckProgress, l.stuck},
		{CheckLeftovers, l.pods}, {CheckLeftovers, l.snapshots}, {CheckLeftovers, l.contents}, {CheckLeftovers, l.records},
		{CheckLeftovers, l.claims}, {CheckLeftovers, l.volumes}, {CheckLeftovers, l.namespaces},
	} {
		for _, f := range part.judge() {
			f.Check = part.check
			all = append(all, f)
		}
	}
	return Sort(all)
}

func (l *look) young(o metav1.Object) bool {
	return l.now.Sub(o.GetCreationTimestamp().Time) < l.minAge
}

// controller tells whether a controller is there to do the work.
func (l *look) controller() []Finding {
	ok, what, next := l.runs()
	if ok {
		return nil
	}
	return []Finding{{Severity: Problem, Kind: "controller", Namespace: l.System, Name: "cht-backup", What: what, Next: next}}
}

// leaseGrace is how late a renewal of the lease may be: clocks differ.
const leaseGrace = 2 * time.Minute

func (l *look) runs() (ok bool, what, next string) {
	if !l.saw(kindControllers) {
		return true, "", "" // not known is not wrong
	}
	available := int32(0)
	for i := range l.Controllers {
		available += l.Controllers[i].Status.AvailableReplicas
	}
	switch {
	case len(l.Controllers) == 0:
		return false, "there is no Deployment of cht-backup in namespace " + l.System + ": nothing is backed up, restored or cleaned up",
			"install the chart cht-backup, or name its namespace with --system-namespace"
	case available == 0:
		return false, "no replica of it is available: nothing is backed up, restored or cleaned up", "kubectl describe pods -n " + l.System + " -l " + controllerLabel + "=" + controllerName
	case l.Lease == nil || l.Lease.Spec.RenewTime == nil:
		return true, "", "" // one that runs without a lease
	}
	if late := l.now.Sub(l.Lease.Spec.RenewTime.Time); late > leaseGrace {
		return false, fmt.Sprintf("no replica of it leads: the lease was renewed last %s ago", duration.HumanDuration(late)), "kubectl logs -n " + l.System + " -l " + controllerLabel + "=" + controllerName
	}
	return true, "", ""
}

// stuck tells of Backups and Restores that do not come forward.
func (l *look) stuck() (all []Finding) {
	runs, _, _ := l.runs()
	judge := func(kind string, o metav1.Object, phase api.Phase, finding func(what, next string) Finding) {
		describe := fmt.Sprintf("kubectl cht describe %s %s -n %s", kind, o.GetName(), o.GetNamespace())
		if at := o.GetDeletionTimestamp(); at != nil {
			if since := l.now.Sub(at.Time); since > stuckAfter {
				next := describe + ", and the log of the controller; a storage driver that does not answer holds it up"
				if !runs {
					next = "have the controller run"
				}
				all = append(all, finding(fmt.Sprintf("has been on its way out for %s", duration.HumanDuration(since)), next))
			}
			return
		}
		if since := l.now.Sub(o.GetCreationTimestamp().Time); !runs && !snapshot.Idle(phase) && since > l.minAge {
			state := string(phase)
			if state == "" {
				state = "not taken up yet"
			}
			all = append(all, finding(fmt.Sprintf("is %s for %s, and no controller works on it", state, duration.HumanDuration(since)), "have the controller run; then "+describe))
		}
	}
	for i := range l.Backups {
		b := &l.Backups[i]
		judge("backup", b, b.Status.Phase, func(what, next string) Finding { return of(Problem, "backup", b, what, next) })
	}
	for i := range l.Restores {
		r := &l.Restores[i]
		judge("restore", r, r.Status.Phase, func(what, next string) Finding { return of(Problem, "restore", r, what, next) })
	}
	return all
}
