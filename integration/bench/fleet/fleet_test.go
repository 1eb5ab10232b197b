package main

import (
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	o, err := parse([]string{"--instances", "3, 1"})
	if err != nil || len(o.instances) != 2 || o.largest() != 3 || o.cut != 300*time.Millisecond {
		t.Errorf("%+v, %v", o, err)
	}
	for _, wrong := range []string{"--instances=0", "--instances=a", "--instances=99999", "--parallel=0", "more"} {
		if _, err := parse([]string{wrong}); err == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
}

func TestAddresses(t *testing.T) {
	seen := map[string]bool{}
	for i := range most {
		if seen[address(instance(i))] || number(instance(i)) != i {
			t.Fatalf("instance %d: %s", i, address(instance(i)))
		}
		seen[address(instance(i))] = true
	}
}

func TestReport(t *testing.T) {
	one := func(n int, cpu, peak float64) figures {
		return figures{instances: n, took: time.Minute, cpu: cpu, peak: peak, calls: map[string]float64{"GET": 20, "PATCH": 5},
			waited: []time.Duration{time.Second, 2 * time.Second, 9 * time.Second}, stalls: []time.Duration{330 * time.Millisecond}}
	}
	var out strings.Builder
	report(&out, []figures{one(50, 0.1, 50e6), one(500, 0.2, 151e6)})
	for _, want := range []string{"memory at most 150 MB with 500 instances: 151.0 MB: NOT MET", "CPU of a backup does not grow: with 500 instances 2.00 times that with 50 (at most 1.10): NOT MET",
		"calls of a backup does not grow: with 500 instances 1.00 times that with 50 (at most 1.10): met", "200.0", "25.0", "9.0s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if lines := targets([]figures{one(3, 1, 1)}); len(lines) != 1 {
		t.Errorf("of one number there is nothing to compare: %v", lines)
	}
}
