package follow

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// ErrGone says that the object was deleted, or replaced by another of its name.
var ErrGone = errors.New("it was deleted while waiting")

// Options bound the wait.
type Options struct {
	// Relist is how long a silent watch is trusted.
	Relist time.Duration
	// Outage is how long the API server may be away before that is an error.
	Outage time.Duration
	// Retry is the pause before asking a server that failed again.
	Retry time.Duration
}

// Defaults are the options for real clusters.
var Defaults = Options{Relist: 30 * time.Second, Outage: 2 * time.Minute, Retry: time.Second}

// Until calls seen with each new state of the object of that name and UID,
// until seen says that it is the last. A watch that ends, an API server that
// is away for a while, lead to a new list; so no state can be missed for good.
func Until(ctx context.Context, c client.WithWatch, list client.ObjectList, key client.ObjectKey, uid types.UID, o Options, seen func(client.Object) (last bool)) error {
	var failing time.Time
	for {
		last, err := once(ctx, c, list, key, uid, o.Relist, func(obj client.Object) bool {
			failing = time.Time{}
			return seen(obj)
		})
		switch {
		case last || errors.Is(err, ErrGone):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			continue
		case !exit.Transient(err):
			return err
		case failing.IsZero():
			failing = time.Now()
		case time.Since(failing) > o.Outage:
			return fmt.Errorf("the API server has not answered for %s: %w", o.Outage, err)
		}
		// An expired resource version is answered by the new list alone; any other
		// failure must not become a storm.
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(o.Retry):
		}
	}
}

// once lists, then watches from there until the watch ends or was silent for relist.
func once(ctx context.Context, c client.WithWatch, list client.ObjectList, key client.ObjectKey, uid types.UID, relist time.Duration, seen func(client.Object) bool) (last bool, err error) {
	options := &client.ListOptions{Namespace: key.Namespace, FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, key.Name)}
	if err := c.List(ctx, list, options); err != nil {
		return false, err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return false, err
	}
	if len(items) == 0 {
		return false, ErrGone
	}
	for _, item := range items {
		if obj, ok := item.(client.Object); ok {
			if obj.GetUID() != uid {
				return false, ErrGone
			}
			if seen(obj) {
				return true, nil
			}
		}
	}
	options.Raw = &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}
	events, err := c.Watch(ctx, list, options)
	if err != nil {
		return false, err
	}
	defer events.Stop()
	silent := time.NewTimer(relist)
	defer silent.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-silent.C:
			return false, nil
		case e, open := <-events.ResultChan():
			if !open {
				return false, nil
			}
			silent.Reset(relist)
			if e.Type == watch.Error {
				return false, apierrors.FromObject(e.Object)
			}
			obj, ok := e.Object.(client.Object)
			if !ok || obj.GetName() != key.Name || obj.GetNamespace() != key.Namespace {
				continue
			}
			if e.Type == watch.Deleted || obj.GetUID() != uid {
				return false, ErrGone
			}
			if seen(obj) {
				return true, nil
			}
		}
	}
}
