// Package await waits until a list of objects is as wanted, by a watch and
// never by asking again and again. In: a list and a condition. Out: the list
// for which the condition held, or why it did not come. The bound is the context's.
package await

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// settle gathers the events of one burst before the list is read again.
const settle = 50 * time.Millisecond

// List reads list and again after each change, until done says so or fails.
// When ctx ends first, the error is what done last said it was waiting for.
func List(ctx context.Context, c client.WithWatch, list client.ObjectList, done func() (waitingFor string, err error), opts ...client.ListOption) error {
	waitingFor := "the first list"
	for {
		if err := c.List(ctx, list, opts...); err != nil {
			return ended(ctx, waitingFor, err)
		}
		var err error
		if waitingFor, err = done(); err != nil || waitingFor == "" {
			return err
		}
		options := &client.ListOptions{}
		options.ApplyOptions(opts)
		options.Raw = &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}
		events, err := c.Watch(ctx, list, options)
		if err != nil {
			return ended(ctx, waitingFor, err)
		}
		err = change(ctx, events)
		events.Stop()
		if err != nil {
			return ended(ctx, waitingFor, err)
		}
	}
}

// change returns after the next event, or when the watch ends, which says as
// little as an event does.
func change(ctx context.Context, events watch.Interface) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-events.ResultChan():
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settle):
		return nil
	}
}

// While gives a context that ends when over says so of an object of the list that
// changed: nobody shall wait on for what nobody wants. Without a watch it does not
// end before ctx.
func While(ctx context.Context, c client.WithWatch, list client.ObjectList, over func(runtime.Object) bool, opts ...client.ListOption) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	events, err := c.Watch(ctx, list, opts...)
	if err != nil {
		return ctx, cancel
	}
	go func() {
		defer events.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case event, open := <-events.ResultChan():
				if !open {
					return
				}
				if over(event.Object) {
					cancel()
				}
			}
		}
	}()
	return ctx, cancel
}

func ended(ctx context.Context, waitingFor string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for %s: %w", waitingFor, context.Cause(ctx))
	}
	return err
}
