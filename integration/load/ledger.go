package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
)

// ledger remembers every Backup that ever was.
type ledger struct {
	// held tells whether an instance was held at a time.
	held func(namespace string, at time.Time) bool

	mu sync.Mutex
	// of a namespace and what a run is due at, the runs that were made for it.
	runs  map[string]map[string]*entry
	there map[types.UID]*api.Backup
	bad   []string
}

// entry is what was seen of an instant's run.
type entry struct {
	uids     map[types.UID]bool
	attempts int32
	done     bool // it is good, and its record is in the catalog; or it failed
	failed   bool
}

func newLedger(held func(string, time.Time) bool) *ledger {
	return &ledger{held: held, runs: map[string]map[string]*entry{}, there: map[types.UID]*api.Backup{}}
}

// OnAdd implements cache.ResourceEventHandler.
func (l *ledger) OnAdd(o any, _ bool) { l.see(o) }

// OnUpdate implements cache.ResourceEventHandler.
func (l *ledger) OnUpdate(_, o any) { l.see(o) }

// OnDelete implements cache.ResourceEventHandler.
func (l *ledger) OnDelete(o any) {
	if late, is := o.(toolscache.DeletedFinalStateUnknown); is {
		o = late.Obj
	}
	b, ok := o.(*api.Backup)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.there, b.UID)
	if e := l.runs[b.Namespace][b.Annotations[api.ScheduledAtAnnotation]]; e == nil || !e.done {
		l.bad = append(l.bad, fmt.Sprintf("backup %s/%s was deleted in phase %q, before it was done", b.Namespace, b.Name, b.Status.Phase))
	}
}

func (l *ledger) see(o any) {
	b, ok := o.(*api.Backup)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.there[b.UID] = b
	at := b.Annotations[api.ScheduledAtAnnotation]
	if l.runs[b.Namespace] == nil {
		l.runs[b.Namespace] = map[string]*entry{}
	}
	e := l.runs[b.Namespace][at]
	if e == nil {
		e = &entry{uids: map[types.UID]bool{}}
		l.runs[b.Namespace][at] = e
	}
	e.uids[b.UID], e.attempts = true, b.Status.Attempt
	if e.done || !snapshot.Ended(b.Status.Phase) {
		return
	}
	c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionReady)
	switch {
	case c != nil && c.Reason == api.ReasonStallExceeded: // by a machine that was busy
		e.done, e.failed = true, true
	case b.Status.Phase != api.PhaseCompleted || c == nil || c.Status != metav1.ConditionTrue:
		e.done = true
		l.bad = append(l.bad, fmt.Sprintf("backup %s/%s is %s: %+v", b.Namespace, b.Name, b.Status.Phase, c))
	case b.Status.Consistency != api.Consistent || b.Status.QuiesceMode != api.QuiescePause:
		e.done = true
		l.bad = append(l.bad, fmt.Sprintf("backup %s/%s is %s, by %s", b.Namespace, b.Name, b.Status.Consistency, b.Status.QuiesceMode))
	case b.Status.Catalog != nil:
		e.done = true
		for _, v := range b.Status.Volumes {
			if v.CutTime == nil || !l.held(b.Namespace, v.CutTime.Time) {
				l.bad = append(l.bad, fmt.Sprintf("backup %s/%s was cut at %v, when %s was not held", b.Namespace, b.Name, v.CutTime, v.Node))
			}
		}
	}
}

// ended counts the instances whose run of an instant is done, and the Backups that are
// on their way out.
func (l *ledger) ended(due time.Time) (done, leaving int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := due.UTC().Format(time.RFC3339)
	for _, runs := range l.runs {
		if e := runs[at]; e != nil && e.done {
			done++
		}
	}
	for _, b := range l.there {
		if b.DeletionTimestamp != nil {
			leaving++
		}
	}
	return done, leaving
}

// wrong says all that is wrong: what was seen, and each instant that has not one run.
func (l *ledger) wrong(namespaces []string, first time.Time, hours int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	bad := slices.Clone(l.bad)
	for _, namespace := range namespaces {
		runs := maps.Clone(l.runs[namespace])
		for h := range hours {
			at := first.Add(time.Duration(h) * time.Hour).UTC().Format(time.RFC3339)
			e := runs[at]
			delete(runs, at)
			switch {
			case e == nil:
				bad = append(bad, fmt.Sprintf("%s has no backup for %s: it was lost", namespace, at))
			case len(e.uids) != 1:
				bad = append(bad, fmt.Sprintf("%s has %d backups for %s", namespace, len(e.uids), at))
			case !e.done:
				bad = append(bad, fmt.Sprintf("the backup of %s for %s never ended", namespace, at))
			}
		}
		for at := range runs {
			bad = append(bad, fmt.Sprintf("%s has a backup for %q, when none was due", namespace, at))
		}
	}
	return bad
}

// counted gives how many runs took more than one attempt, and how many failed since the
// machine was too slow to cut within the bound of a hold.
func (l *ledger) counted() (again, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, runs := range l.runs {
		for _, e := range runs {
			if e.attempts > 1 {
				again++
			}
			if e.failed {
				failed++
			}
		}
	}
	return again, failed
}

// unkept says where not that is there which the retention keeps of the first hours.
func (l *ledger) unkept(namespaces []string, first time.Time, hours, hourly, daily int) (wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	there := map[string][]string{}
	for _, b := range l.there {
		there[b.Namespace] = append(there[b.Namespace], b.Annotations[api.ScheduledAtAnnotation])
	}
	for _, namespace := range namespaces {
		var good []time.Time
		for h := range hours {
			at := first.Add(time.Duration(h) * time.Hour)
			if e := l.runs[namespace][at.UTC().Format(time.RFC3339)]; e != nil && !e.failed {
				good = append(good, at)
			}
		}
		slices.Sort(there[namespace])
		if want := keeps(good, hourly, daily); !slices.Equal(there[namespace], want) {
			wrong = append(wrong, fmt.Sprintf("%s keeps %v, not %v", namespace, there[namespace], want))
		}
	}
	return wrong
}

// backups counts those that are there.
func (l *ledger) backups() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.there))
}

// keeps says which the retention keeps of good hourly backups, given in order. It is
// told here in other words than the product's.
func keeps(good []time.Time, hourly, daily int) []string {
	kept, days := map[string]bool{}, map[string]bool{}
	for i := len(good) - 1; i >= 0; i-- {
		at := good[i].UTC().Format(time.RFC3339)
		day, _, _ := strings.Cut(at, "T")
		if len(good)-1-i < hourly || !days[day] && len(days) < daily {
			kept[at] = true
		}
		days[day] = true
	}
	return slices.Sorted(maps.Keys(kept))
}
