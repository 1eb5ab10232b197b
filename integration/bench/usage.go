package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/medic/cht-backup/integration/harness"
)

// The controller's metrics, read through the API server.
const (
	metricsPort = "8080"
	callsMetric = "rest_client_requests_total"
	verbLabel   = "method"
	startMetric = "process_start_time_seconds"
	rssMetric   = "process_resident_memory_bytes"
	cpuMetric   = "process_cpu_seconds_total"
)

// reading is the controller's metrics at a moment.
type reading struct {
	at       time.Time
	started  float64            // tells one process from the next
	calls    map[string]float64 // API calls so far, by verb
	resident float64            // bytes
	cpu      float64            // seconds
}

// read asks the controller that runs now.
func read(ctx context.Context, c *harness.Cluster) (reading, error) {
	pod, err := c.ControllerPod(ctx)
	if err != nil {
		return reading{}, err
	}
	text, err := c.Kube.CoreV1().RESTClient().Get().Namespace(pod.Namespace).Resource("pods").Name(pod.Name + ":" + metricsPort).
		SubResource("proxy").Suffix("metrics").DoRaw(ctx)
	if err != nil {
		return reading{}, fmt.Errorf("read the metrics of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	r, err := parseMetrics(text)
	r.at = time.Now()
	if err != nil {
		return r, fmt.Errorf("metrics of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return r, nil
}

func parseMetrics(text []byte) (reading, error) {
	r := reading{calls: map[string]float64{}}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return r, err
	}
	for name, into := range map[string]*float64{startMetric: &r.started, rssMetric: &r.resident, cpuMetric: &r.cpu} {
		for _, m := range families[name].GetMetric() {
			*into += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		if *into == 0 {
			return r, fmt.Errorf("no %s", name)
		}
	}
	for _, m := range families[callsMetric].GetMetric() {
		r.calls[label(m, verbLabel)] += m.GetCounter().GetValue()
	}
	if len(r.calls) == 0 {
		return r, fmt.Errorf("no %s", callsMetric)
	}
	return r, nil
}

func label(m *dto.Metric, name string) string {
	for _, one := range m.GetLabel() {
		if one.GetName() == name {
			return one.GetValue()
		}
	}
	return ""
}

// usage is what the controller used between two readings.
type usage struct {
	took     time.Duration
	calls    map[string]float64
	resident float64 // at the end, bytes
	cpu      float64 // seconds
}

// since tells what was used since an earlier reading; nil if another process has
// taken over since.
func (r reading) since(before reading) *usage {
	if r.started != before.started {
		return nil
	}
	u := &usage{took: r.at.Sub(before.at), calls: maps.Clone(r.calls), resident: r.resident, cpu: r.cpu - before.cpu}
	for verb, n := range before.calls {
		u.calls[verb] -= n
	}
	return u
}

// without takes out what the controller does anyway (renewing its lease), from
// what it did while idle.
func (u *usage) without(idle *usage) *usage {
	if idle == nil || idle.took <= 0 {
		return u
	}
	share := float64(u.took) / float64(idle.took)
	net := &usage{took: u.took, calls: maps.Clone(u.calls), resident: u.resident, cpu: max(0, u.cpu-share*idle.cpu)}
	for verb, n := range idle.calls {
		net.calls[verb] = max(0, net.calls[verb]-share*n)
	}
	return net
}

func (u *usage) total() float64 {
	total := 0.0
	for _, n := range u.calls {
		total += n
	}
	return total
}
