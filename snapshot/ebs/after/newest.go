package after

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// newestFast names the backups of b's group that are to have fast restore: the newest
// good ones of its schedule, as many as the newest of them asks for, so that a schedule
// that asks for it no more ends it with its next backup. Of those that no schedule
// made, only those that ask for it count.
func newestFast(b *api.Backup, all []api.Backup) map[string]bool {
	schedule := b.Labels[api.ScheduleLabel]
	var group []*api.Backup
	for i := range all {
		o := &all[i]
		if o.DeletionTimestamp != nil || !o.Good() || o.Status.CutTime == nil || o.Labels[api.ScheduleLabel] != schedule || o.Status.Imported != nil || schedule == "" && fastOf(o) == nil {
			continue
		}
		group = append(group, o)
	}
	slices.SortFunc(group, func(x, y *api.Backup) int {
		if d := y.Status.CutTime.Compare(x.Status.CutTime.Time); d != 0 {
			return d
		}
		return strings.Compare(string(y.UID), string(x.UID))
	})
	have := map[string]bool{}
	if len(group) == 0 || fastOf(group[0]) == nil {
		return have
	}
	for _, o := range group[:min(len(group), int(max(fastOf(group[0]).Newest, 1)))] {
		if fastOf(o) != nil && len(originals(o)) > 0 {
			have[string(o.UID)] = true
		}
	}
	return have
}

func fastOf(b *api.Backup) *api.EBSFastRestore {
	if b.Spec.EBS == nil {
		return nil
	}
	return b.Spec.EBS.FastRestore
}

// hasFast tells whether a backup may have it, by its condition: that is written down
// before EC2 is asked.
func hasFast(b *api.Backup) bool {
	c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionFastRestore)
	return c != nil && c.Reason != api.ReasonFastRestoreOff && c.Reason != api.ReasonNotEBS
}

// groups are the backups of namespaces, as they were a moment ago.
type groups struct {
	mutex sync.Mutex
	known map[string]group
}

type group struct {
	at  time.Time
	all []api.Backup
}

// recent is how old a list may be for a backup that does not have fast restore: at a
// start, hundreds ask at once.
const recent = 30 * time.Second

func (g *groups) list(ctx context.Context, c client.Reader, namespace string, now time.Time, anew bool) ([]api.Backup, error) {
	g.mutex.Lock()
	k, ok := g.known[namespace]
	g.mutex.Unlock()
	if ok && !anew && now.Sub(k.at) < recent {
		return k.all, nil
	}
	var list api.BackupList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list the backups of %s: %w", namespace, err)
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.known == nil {
		g.known = map[string]group{}
	}
	for name, k := range g.known { // no more than what is of use
		if now.Sub(k.at) >= recent {
			delete(g.known, name)
		}
	}
	g.known[namespace] = group{at: now, all: list.Items}
	return list.Items, nil
}
