package metrics

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// vector is a family of series that has the label namespace.
type vector interface {
	prometheus.Collector
	DeletePartialMatch(prometheus.Labels) int
}

// known are the families to be cleared when a namespace goes, and the namespaces
// that have a series.
var known = struct {
	sync.Mutex
	vectors    []vector
	namespaces map[string]bool
}{namespaces: map[string]bool{}}

// forgettable registers a family whose series go with their namespace.
func forgettable[V vector](v V) V {
	metrics.Registry.MustRegister(v)
	known.Lock()
	defer known.Unlock()
	known.vectors = append(known.vectors, v)
	return v
}

// seen notes that a namespace has a series.
func seen(namespace string) {
	known.Lock()
	defer known.Unlock()
	known.namespaces[namespace] = true
}

// Forget removes all series of a namespace.
func Forget(namespace string) {
	known.Lock()
	delete(known.namespaces, namespace)
	vectors := slices.Clone(known.vectors)
	known.Unlock()
	for _, v := range vectors {
		v.DeletePartialMatch(prometheus.Labels{namespaceLabel: namespace})
	}
}

func namespaces() []string {
	known.Lock()
	defer known.Unlock()
	var all []string
	for name := range known.namespaces {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// sweepEvery is how often namespaces that are gone are looked for.
const sweepEvery = 10 * time.Minute

// Sweeper forgets namespaces that are gone, or another controller's now. It runs as long
// as the controller leads.
type Sweeper struct {
	Reader client.Reader
	// Serves tells whether this controller works on a namespace; nil is on all.
	Serves func(ctx context.Context, namespace string) (bool, error)
}

// Start looks now and then, until ctx ends.
func (s Sweeper) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "series of namespaces that are gone could not be looked for")
		}
	}, sweepEvery)
	return nil
}

// Sweep looks once.
func (s Sweeper) Sweep(ctx context.Context) error {
	var failed error
	for _, name := range namespaces() {
		if s.Serves != nil {
			if mine, err := s.Serves(ctx, name); err != nil || !mine {
				failed = errors.Join(failed, err)
				if err == nil {
					Forget(name)
				}
				continue
			}
		}
		err := s.Reader.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
		if apierrors.IsNotFound(err) {
			Forget(name)
		} else {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
