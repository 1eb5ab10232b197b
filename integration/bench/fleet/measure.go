package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/hollow"
	"github.com/medic/cht-backup/schedule"
)

// figures are what was measured with so many instances.
type figures struct {
	instances  int
	took       time.Duration
	calls      map[string]float64 // of one backup, by HTTP method
	cpu        float64            // seconds of one backup
	peak, heap float64            // bytes
	waited     []time.Duration    // in line, sorted
	stalls     []time.Duration    // sorted
}

// measure has so many instances backed up at once, by a controller of their own.
func (f *fleet) measure(ctx context.Context, n int) (r figures, err error) {
	r = figures{instances: n, calls: map[string]float64{}}
	f.progress("%d instances: starting a controller", n)
	p, err := f.startController(ctx, f.o.parallel, f.o.perDriver, f.o.requests)
	if err != nil {
		return r, err
	}
	defer p.stop()
	before, err := p.read(ctx)
	if err != nil {
		return r, err
	}
	if f.calls != nil {
		f.calls.reset()
	}
	f.progress("%d instances: all are due", n)
	due := time.Now()
	names := fmt.Sprintf("due-%d", n)
	created := make([]time.Time, n)
	if err := all(ctx, n, func(ctx context.Context, i int) error {
		s := &api.BackupSchedule{ObjectMeta: marked(names), Spec: api.BackupScheduleSpec{Schedule: "@yearly",
			Template: api.BackupTemplate{Labels: map[string]string{mark: "true"}, Spec: api.BackupSpec{Quiesce: api.QuiescePause}}}}
		s.Namespace, s.Annotations = instance(i), map[string]string{api.RunNowAnnotation: names}
		created[i] = time.Now()
		return f.client.Create(ctx, s)
	}); err != nil {
		return r, fmt.Errorf("create schedules: %w", err)
	}
	if err := f.ended(ctx, p, n, schedule.RunNowName(names, names), &r.heap); err != nil {
		return r, err
	}
	after, err := p.read(ctx)
	if err != nil {
		return r, err
	}
	if r.peak, err = p.peak(); err != nil {
		return r, err
	}
	for method, calls := range after.calls {
		r.calls[method] = (calls - before.calls[method]) / float64(n)
	}
	r.cpu, r.heap = (after.cpu-before.cpu)/float64(n), max(r.heap, after.heap)
	backups, err := f.backups(ctx)
	if err != nil {
		return r, err
	}
	last := due
	for _, b := range backups {
		i := number(b.Namespace)
		if err := f.good(b); err != nil {
			return r, err
		}
		r.waited = append(r.waited, b.Status.StartTime.Sub(created[i]))
		r.stalls = append(r.stalls, time.Duration(*b.Status.StallMilliseconds)*time.Millisecond)
		if done := b.Status.CompletionTime.Time; done.After(last) {
			last = done
		}
	}
	if len(r.waited) != n {
		return r, fmt.Errorf("%d backups are there, %d were made", len(r.waited), n)
	}
	r.took = last.Sub(due)
	slices.Sort(r.waited)
	slices.Sort(r.stalls)
	p.stop()
	if f.calls != nil {
		f.calls.list(f.out, n)
	}
	f.progress("%d instances: done in %s, removing the backups", n, r.took.Round(time.Second))
	return r, f.discard(ctx)
}

// ended waits until n backups have, and notes the most of the heap meanwhile.
func (f *fleet) ended(ctx context.Context, p *process, n int, name string, heap *float64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.o.within, errors.New("not done after "+f.o.within.String()))
	defer cancel()
	work, stop := context.WithCancel(ctx)
	defer stop()
	finals := make(chan string, n)
	go hollow.Follow(work, f.client, func() client.ObjectList { return &api.BackupList{} }, func(o client.Object) {
		if b, ok := o.(*api.Backup); ok && b.Name == name && (b.Status.Phase == api.PhaseCompleted || b.Status.Phase == api.PhaseFailed) {
			select {
			case finals <- b.Namespace:
			case <-work.Done():
			}
		}
	}, client.MatchingLabels{mark: "true"})
	done, said := map[string]bool{}, time.Now()
	for tick := time.NewTicker(time.Second); len(done) < n; {
		select {
		case namespace := <-finals:
			done[namespace] = true
		case <-tick.C:
			now, err := p.read(ctx)
			if err == nil {
				*heap = max(*heap, now.heap)
			}
			if time.Since(said) > 30*time.Second {
				f.progress("  %d of %d backups are done", len(done), n)
				said = time.Now()
			}
		case <-p.Ended:
			return p.died()
		case <-ctx.Done():
			return fmt.Errorf("%d of %d backups ended: %w", len(done), n, context.Cause(ctx))
		}
	}
	return nil
}

// good tells what is wrong with a backup: it failed, or its cut lies in no hold.
func (f *fleet) good(b api.Backup) error {
	c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionReady)
	switch {
	case b.Status.Phase != api.PhaseCompleted || c == nil || c.Status != metav1.ConditionTrue:
		return fmt.Errorf("backup %s/%s is %s: %+v", b.Namespace, b.Name, b.Status.Phase, c)
	case b.Status.Consistency != api.Consistent || b.Status.QuiesceMode != api.QuiescePause:
		return fmt.Errorf("backup %s/%s is %s, by %s", b.Namespace, b.Name, b.Status.Consistency, b.Status.QuiesceMode)
	}
	for _, v := range b.Status.Volumes {
		if v.CutTime == nil || !f.holds.Covered(b.Namespace, v.CutTime.Time) {
			return fmt.Errorf("backup %s/%s was cut at %v, when %s was not held", b.Namespace, b.Name, v.CutTime, v.Node)
		}
	}
	return nil
}
