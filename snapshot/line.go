package snapshot

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/paged"
	"github.com/medic/cht-backup/snapshot/queue"
)

// knowPage bounds one page of the Backups read at the start: they are read whole.
const knowPage = 100

// lineUp makes the line, with all Backups in it that have not ended, before the
// first of them is worked on. A controller that starts anew keeps the order that way,
// whatever it hears of first.
func (r *Reconciler) lineUp(ctx context.Context) error {
	r.starting.Lock()
	defer r.starting.Unlock()
	if r.line != nil {
		return nil
	}
	var all []queue.Known
	for backups, err := range paged.Pages(ctx, r.Client, &api.BackupList{}, client.Limit(knowPage)) {
		if err != nil {
			return fmt.Errorf("list the backups that are under way: %w", err)
		}
		for i := range backups.Items {
			b := &backups.Items[i]
			if b.DeletionTimestamp != nil || b.IsImported() {
				continue
			}
			if mine, err := r.Served.Expected(ctx, b.Namespace); err != nil {
				return err
			} else if !mine {
				continue // it is in another controller's line
			}
			switch b.Status.Phase {
			case "", api.PhasePending:
				all = append(all, queue.Known{Backup: inLine(b)})
			case api.PhaseFinishing:
				all = append(all, queue.Known{Backup: inLine(b), Copying: true, Drivers: cutBy(b)})
			case api.PhaseCompleted:
				if r.After != nil && !b.IsImported() {
					r.After.Know(b)
				}
			}
		}
	}
	line := queue.New(r.limits(), r.wake)
	line.Start(all)
	r.line = line
	return nil
}

// limits are those of Parallel, which a Reconciler of a test leaves at one each.
func (r *Reconciler) limits() queue.Limits {
	l := r.Parallel
	l.Cluster, l.Driver = max(l.Cluster, 1), max(l.Driver, 1)
	return l
}

func (r *Reconciler) wake(key types.NamespacedName) {
	if r.work != nil {
		r.work(key)
	}
}

// inLine is a backup's place in the order: when it was due, or else made.
func inLine(b *api.Backup) queue.Backup {
	due := b.CreationTimestamp.Time
	if at, err := time.Parse(time.RFC3339, b.Annotations[api.ScheduledAtAnnotation]); err == nil {
		due = at
	}
	// Only the safety backup of a restore in place carries a restore's label: somebody
	// waits for it.
	return queue.Backup{NamespacedName: client.ObjectKeyFromObject(b), UID: b.UID, Due: due, Urgent: b.Labels[api.RestoreUIDLabel] != ""}
}

// cutBy names the drivers that hold the backup's snapshots.
func cutBy(b *api.Backup) []string {
	var drivers []string
	for _, v := range b.Status.Volumes {
		drivers = append(drivers, v.Driver)
	}
	return drivers
}

// mayRun tells whether the backup's turn has come, and gives the instance then. Its
// drivers are known only once the instance is found, so it is looked for with a
// place in the cluster already held; one whose driver is full goes back into line.
func (r *Reconciler) mayRun(ctx context.Context, b *api.Backup) (instance *found, again time.Duration, err error) {
	// A second operation on the instance is refused at once, not when its turn comes.
	if err := r.admit(ctx, b); err != nil {
		return nil, 0, err
	}
	place := r.line.Enter(inLine(b), r.Now())
	if !place.Runs {
		return nil, r.wait(b, place), nil
	}
	i := &found{}
	if i.inventory, err = cht.Load(ctx, r.Client, b.Namespace); err != nil {
		return nil, 0, err
	}
	if i.Instance, err = cht.Discover(i.inventory); err != nil {
		return nil, 0, err
	}
	var drivers []string
	for _, n := range i.Nodes {
		drivers = append(drivers, n.Claim.Storage())
	}
	if place = r.line.Begin(client.ObjectKeyFromObject(b), drivers, r.Now()); !place.Runs {
		return nil, r.wait(b, place), nil
	}
	return i, 0, nil
}

// wait says why the backup waits, when that was not said lately. It is woken when
// its turn comes; until then it comes again only to say where it stands.
func (r *Reconciler) wait(b *api.Backup, place queue.Place) time.Duration {
	b.Status.Phase = api.PhasePending
	if place.Tell {
		r.progress(b, place.String())
	}
	return place.Again
}

// found is an instance and what it was found in.
type found struct {
	cht.Instance
	inventory cht.Inventory
}

// settle tells the line what one turn has made of a backup, also when it panicked:
// a place that nobody gives back is lost to all.
func (r *Reconciler) settle(b *api.Backup, waits bool) {
	switch {
	case waits:
	case b.Status.Phase == api.PhaseFinishing && b.DeletionTimestamp == nil:
		r.line.Copying(inLine(b), cutBy(b))
	default:
		r.line.Leave(client.ObjectKeyFromObject(b))
	}
}

// begun notes when the work on a backup began: not while it stood in line.
func (r *Reconciler) begun(b *api.Backup) {
	if b.Status.StartTime == nil {
		now := metav1.NewMicroTime(r.Now())
		b.Status.StartTime = &now
	}
}
