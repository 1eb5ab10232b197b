package hollow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Follow calls do with every object of a list, and again whenever it changes.
func Follow(ctx context.Context, c client.WithWatch, list func() client.ObjectList, do func(client.Object), opts ...client.ListOption) {
	for ctx.Err() == nil {
		if err := followOnce(ctx, c, list(), do, opts); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second): // the API server was away
			}
		}
	}
}

func followOnce(ctx context.Context, c client.WithWatch, list client.ObjectList, do func(client.Object), opts []client.ListOption) error {
	if err := c.List(ctx, list, opts...); err != nil {
		return err
	}
	if err := EachItem(list, func(o client.Object) error { do(o); return nil }); err != nil {
		return err
	}
	o := &client.ListOptions{}
	o.ApplyOptions(opts)
	o.Raw = &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}
	events, err := c.Watch(ctx, list, o)
	if err != nil {
		return err
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		object, ok := event.Object.(client.Object)
		if !ok {
			return errors.New("the watch failed")
		}
		if event.Type != "DELETED" {
			do(object)
		}
	}
	return nil
}

// EachItem calls do with every object of a list.
func EachItem(list client.ObjectList, do func(client.Object) error) error {
	return meta.EachListItem(list, func(o runtime.Object) error {
		object, ok := o.(client.Object)
		if !ok {
			return fmt.Errorf("%T is no object", o)
		}
		return do(object)
	})
}
