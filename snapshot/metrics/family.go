package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// The labels.
const (
	namespaceLabel = "namespace"
	scheduleLabel  = "schedule"
	resultLabel    = "result"
	reasonLabel    = "reason"
)

// Kind is what a family's series are.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Family is one metric with all its series.
type Family struct {
	Name, Help string
	Kind       Kind
	Labels     []string
}

// families are all that this package serves, in the order in which they are declared.
var families []Family

// Families are the metrics that the controller serves of its own, also those that have
// no series at present.
func Families() []Family { return slices.Clone(families) }

func declared(kind Kind, name, help string, labels []string) {
	families = append(families, Family{Name: name, Help: help, Kind: kind, Labels: labels})
}

// counter declares a counter of which the namespace is the first label.
func counter(name, help string, labels ...string) *prometheus.CounterVec {
	labels = append([]string{namespaceLabel}, labels...)
	declared(Counter, name, help, labels)
	return forgettable(prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

// histogram declares a histogram. It has no namespace: a dozen buckets for each of
// hundreds of instances would be more than all else together, and every object tells
// its own times. Without labels it is there from the start, at 0: a rise from nothing
// would not be seen.
func histogram(name, help string, buckets []float64) prometheus.Histogram {
	declared(Histogram, name, help, nil)
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	metrics.Registry.MustRegister(h)
	return h
}

// gauge declares a gauge that this process sets. It has no series before it is set.
func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	declared(Gauge, name, help, labels)
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	metrics.Registry.MustRegister(g)
	return g
}

// told declares a gauge whose series follow from the objects at each scrape.
func told(name, help string, labels ...string) *prometheus.Desc {
	declared(Gauge, name, help, labels)
	d := prometheus.NewDesc(name, help, labels, nil)
	ofObjects = append(ofObjects, d)
	return d
}

// perNamespace is told with the one label namespace.
func perNamespace(name, help string) *prometheus.Desc { return told(name, help, namespaceLabel) }

// perSchedule is told with the labels namespace and schedule.
func perSchedule(name, help string) *prometheus.Desc {
	return told(name, help, namespaceLabel, scheduleLabel)
}
