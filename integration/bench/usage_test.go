package main

import (
	"maps"
	"strings"
	"testing"
	"time"
)

const metricsText = `# HELP process_cpu_seconds_total CPU.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1.5
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 4.2e+07
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.7e+09
# TYPE rest_client_requests_total counter
rest_client_requests_total{code="200",host="10.96.0.1:443",method="GET"} 10
rest_client_requests_total{code="404",host="10.96.0.1:443",method="GET"} 3
rest_client_requests_total{code="201",host="10.96.0.1:443",method="POST"} 5
`

func TestMetricsAreRead(t *testing.T) {
	r, err := parseMetrics([]byte(metricsText))
	if err != nil {
		t.Fatal(err)
	}
	if r.cpu != 1.5 || r.resident != 4.2e7 || r.started != 1.7e9 || !maps.Equal(r.calls, map[string]float64{"GET": 13, "POST": 5}) {
		t.Errorf("%+v", r)
	}
	withoutCalls, _, _ := strings.Cut(metricsText, "# TYPE "+callsMetric)
	for name, text := range map[string]string{"no metrics": "", "others": "up 1\n", "not text": "<html>", "no calls": withoutCalls} {
		if r, err := parseMetrics([]byte(text)); err == nil {
			t.Errorf("%s: read as %+v", name, r)
		}
	}
}

func TestUsage(t *testing.T) {
	start := time.Unix(5000, 0)
	before := reading{at: start, started: 7, cpu: 1, calls: map[string]float64{"GET": 100, "PUT": 10}}
	after := reading{at: start.Add(10 * time.Second), started: 7, cpu: 1.5, resident: 42, calls: map[string]float64{"GET": 130, "PUT": 20, "POST": 6}}
	u := after.since(before)
	if u == nil || u.took != 10*time.Second || u.cpu != 0.5 || u.resident != 42 || !maps.Equal(u.calls, map[string]float64{"GET": 30, "PUT": 10, "POST": 6}) {
		t.Fatalf("%+v", u)
	}
	idle := &usage{took: 5 * time.Second, cpu: 0.05, calls: map[string]float64{"PUT": 2, "GET": 20}}
	net := u.without(idle)
	if !maps.Equal(net.calls, map[string]float64{"GET": 0, "PUT": 6, "POST": 6}) || net.total() != 12 || net.cpu != 0.4 {
		t.Errorf("without its background: %+v", net)
	}
	if u.calls["PUT"] != 10 {
		t.Errorf("the measured one was changed: %+v", u)
	}
	if got := u.without(nil); got.total() != 46 {
		t.Errorf("without knowing the background: %+v", got)
	}
	after.started = 8
	if got := after.since(before); got != nil {
		t.Errorf("across two processes: %+v", got)
	}
}
