package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// reading is what the controller says of itself at a moment.
type reading struct {
	at    time.Time
	calls map[string]float64 // of the Kubernetes API, by HTTP method
	cpu   float64            // seconds
	heap  float64            // bytes in use
}

func (r reading) total() (n float64) {
	for _, calls := range r.calls {
		n += calls
	}
	return n
}

func (p *process) read(ctx context.Context) (reading, error) {
	r := reading{at: time.Now(), calls: map[string]float64{}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.metrics, nil)
	if err != nil {
		return r, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return r, err
	}
	defer func() { _ = answer.Body.Close() }()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		return r, fmt.Errorf("read the controller's metrics: %w", err)
	}
	for name, into := range map[string]*float64{"process_cpu_seconds_total": &r.cpu, "go_memstats_heap_inuse_bytes": &r.heap} {
		for _, m := range families[name].GetMetric() {
			*into += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		if *into == 0 {
			return r, fmt.Errorf("the controller's metrics have no %s", name)
		}
	}
	for _, m := range families["rest_client_requests_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "method" {
				r.calls[l.GetValue()] += m.GetCounter().GetValue()
			}
		}
	}
	return r, nil
}

func alreadyThere(err error) bool { return apierrors.IsAlreadyExists(err) }
