package served

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
)

// lookAnew is how soon it is tried again to read a kind in a namespace where that was
// not allowed.
const lookAnew = 30 * time.Second

// Informer is one for the cache of a controller that has rights in some namespaces
// only. Where it has none, since the namespace or what grants them is not there, nothing is
// there: else the controller would not start, for all other namespaces too. It is tried
// again and again.
func Informer(lw toolscache.ListerWatcher, o runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	return toolscache.NewSharedIndexInformer(&patient{inner: toolscache.ToListerWatcherWithContext(lw), again: lookAnew}, o, resync, indexers)
}

// patient lists nothing where it may not list.
type patient struct {
	inner toolscache.ListerWatcherWithContext
	again time.Duration
	// without says that the latest list was not allowed.
	without atomic.Bool
}

// List is ListWithContext without a context, as the interface has it.
func (p *patient) List(options metav1.ListOptions) (runtime.Object, error) {
	return p.ListWithContext(context.Background(), options)
}

// Watch is WatchWithContext without a context.
func (p *patient) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return p.WatchWithContext(context.Background(), options)
}

// ListWithContext gives an empty list where the right is missing.
func (p *patient) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	list, err := p.inner.ListWithContext(ctx, options)
	p.without.Store(apierrors.IsForbidden(err))
	if apierrors.IsForbidden(err) {
		return &metav1.PartialObjectMetadataList{}, nil
	}
	return list, err
}

// WatchWithContext watches nothing for a while where the right is missing, and then has
// the list read anew.
func (p *patient) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	if options.SendInitialEvents == nil && p.without.Load() {
		return newPause(p.again), nil
	}
	w, err := p.inner.WatchWithContext(ctx, options)
	switch {
	case err == nil:
		p.without.Store(false)
	case options.SendInitialEvents == nil && apierrors.IsForbidden(err): // a list that was to come by a watch is asked for as a list next
		return newPause(p.again), nil
	}
	return w, err
}

// pause is a watch in which nothing happens, until it says that it is out of date.
type pause struct {
	events chan watch.Event
	stop   chan struct{}
	once   sync.Once
}

func newPause(d time.Duration) *pause {
	p := &pause{events: make(chan watch.Event, 1), stop: make(chan struct{})}
	go func() {
		defer close(p.events)
		over := time.NewTimer(d)
		defer over.Stop()
		select {
		case <-p.stop:
		case <-over.C:
			status := apierrors.NewResourceExpired("the rights may have changed").Status()
			p.events <- watch.Event{Type: watch.Error, Object: &status}
		}
	}()
	return p
}

// ResultChan gives the one event.
func (p *pause) ResultChan() <-chan watch.Event { return p.events }

// Stop ends it.
func (p *pause) Stop() { p.once.Do(func() { close(p.stop) }) }
