package nights

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/reason"
)

// attempts a backup may take, the product's default spec.attempts is fewer: here the
// window is what bounds it.
const attempts = 20

// result is what one backup took.
type result struct {
	instance *instance
	took     time.Duration // since it was due
	throttled,
	failed int // attempts that were
	err error
}

// play has all backups of a night due at once, and waits for the last one.
func (w *world) play(ctx context.Context, night int) []*result {
	due := time.Now()
	for i := range w.o.Lose {
		of := w.instances[(night*w.o.Lose+i)%len(w.instances)].nodes[1].Claim.EBS.VolumeID
		w.cloud.AddFault(fake.Fault{Action: "CreateSnapshot", With: of, Times: 1, Skip: 0, Lose: true})
	}
	cluster, driver := make(chan struct{}, w.o.Cluster), make(chan struct{}, w.o.Driver)
	results := make([]*result, len(w.instances))
	var all sync.WaitGroup
	for i, n := range w.instances {
		driver <- struct{}{} // in the order in which they are due
		r := &result{instance: n}
		results[i] = r
		all.Go(func() {
			defer func() { <-driver }()
			b := n.backup(night)
			r.err = w.run(ctx, n, b, r, cluster)
			r.took = time.Since(due)
			if r.err == nil {
				r.err = w.retain(ctx, n, b)
			}
		})
	}
	all.Wait()
	return results
}

// run attempts a backup until it is good.
func (w *world) run(ctx context.Context, n *instance, b *api.Backup, r *result, cluster chan struct{}) error {
	for b.Status.Attempt = 1; ; b.Status.Attempt++ {
		cluster <- struct{}{}
		err := w.cut(ctx, n, b)
		<-cluster
		if err == nil {
			err = w.finish(ctx, b)
		}
		if err == nil {
			return nil
		}
		if err := w.discard(ctx, b); err != nil {
			return err
		}
		b.Status.Volumes = nil
		e := reason.Of(err)
		if e == nil || e.Final || b.Status.Attempt == attempts {
			return err
		}
		wait := 10 * time.Second
		if e.Wait > 0 {
			r.throttled++
			wait = e.Wait << min(b.Status.Attempt-1, 6)
		} else {
			r.failed++
		}
		time.Sleep(wait)
	}
}

// take is one attempt of a backup, good or not.
func (w *world) take(ctx context.Context, n *instance, b *api.Backup, _ *result) error {
	if err := w.cut(ctx, n, b); err != nil {
		return err
	}
	return w.finish(ctx, b)
}

// cut is a backup's attempt up to the thaw. Nothing is held here.
func (w *world) cut(ctx context.Context, n *instance, b *api.Backup) error {
	p, err := w.ours.Prepare(ctx, b, n.nodes)
	if err != nil {
		return err
	}
	defer p.Done()
	b.Status.Volumes = p.Volumes
	if err := p.Warm(ctx); err != nil {
		return err
	}
	volumes, err := p.Make(ctx)
	if err == nil {
		b.Status.Volumes = volumes
	}
	return err
}

func volumesOf(b *api.Backup) (all []*api.VolumeStatus) {
	for i := range b.Status.Volumes {
		all = append(all, &b.Status.Volumes[i])
	}
	return all
}

// finish waits as the controller does until a backup's snapshots are complete, and
// keeps each set of those that have become so.
func (w *world) finish(ctx context.Context, b *api.Backup) error {
	began := time.Now()
	_ = w.ours.Mark(ctx, b, volumesOf(b)...) // EC2 may not know them yet; Keep marks what is not
	for {
		// Every 15 s, then seldomer: as the controller does where no event tells it.
		time.Sleep(min(max(15*time.Second, time.Since(began)/10), 2*time.Minute))
		left, err := w.keepReady(ctx, b)
		if reason.Of(err) != nil {
			return err
		}
		if err == nil && left == 0 {
			return nil
		}
	}
}

func (w *world) keepReady(ctx context.Context, b *api.Backup) (left int, err error) {
	var waiting, done []*api.VolumeStatus
	for _, v := range volumesOf(b) {
		if !v.Ready {
			waiting = append(waiting, v)
		}
	}
	if err = w.ours.Refresh(ctx, nil, waiting...); err != nil {
		return len(waiting), err
	}
	for _, v := range waiting {
		if v.Ready {
			done = append(done, v)
		}
	}
	if len(done) > 0 {
		err = w.ours.Keep(ctx, b, done...)
	}
	if err != nil {
		for _, v := range done {
			v.Ready = false
		}
		return len(waiting), err
	}
	return len(waiting) - len(done), nil
}

// discard removes all of a backup.
func (w *world) discard(ctx context.Context, b *api.Backup) error {
	for range 100 {
		left, err := w.ours.Discard(ctx, b)
		if err != nil {
			return fmt.Errorf("discard %s/%s: %w", b.Namespace, b.Name, err)
		}
		if left == 0 {
			return nil
		}
		time.Sleep(5 * time.Second)
	}
	return errors.New("a discard does not end")
}

// retain keeps the newest backups of an instance.
func (w *world) retain(ctx context.Context, n *instance, b *api.Backup) error {
	n.backups = append(n.backups, b)
	for len(n.backups) > max(1, w.o.Keep) {
		if err := w.discard(ctx, n.backups[0]); err != nil {
			return err
		}
		n.backups = n.backups[1:]
	}
	return nil
}
