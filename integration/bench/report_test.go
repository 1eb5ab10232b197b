package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// three gives three samples of a kind at three nodes, with these stalls of which
// cut was the cut.
func three(driver, way string, cut int, stalls ...int) []sample {
	var all []sample
	for _, stall := range stalls {
		s := sample{nodes: targetNodes, driver: driver, way: way, start: at(0), quiesced: at(0), cut: at(cut), released: at(stall)}
		if way == waySeries {
			s.holds = []hold{{start: at(0), held: at(0), named: at(cut), ready: at(stall), released: at(stall)}}
		}
		all = append(all, s)
	}
	return all
}

func TestTargets(t *testing.T) {
	o := options{nodes: []int{1, 3}, modes: []string{"Freeze"}, drivers: []string{driverPlain}}
	bare := three(driverPlain, wayNone, 100, 100, 100, 100)
	series := three(driverPlain, waySeries, 100, 3000, 3000, 3000)
	failed := sample{nodes: 3, driver: driverPlain, way: "Freeze", start: at(0), released: at(99999), err: errors.New("no")}
	for _, c := range []struct {
		name    string
		o       options
		samples [][]sample
		want    []string // the lines' ends
	}{
		{"all met", o, [][]sample{bare, series, three(driverPlain, "Freeze", 150, 200, 300, 400)},
			[]string{"150 / 250 ms: met", "200 / 300 ms: met", "0.10 / 0.13 of it: met"}},
		{"a failed sample is no figure", o, [][]sample{bare, series, three(driverPlain, "Freeze", 150, 200, 300, 400), {failed}},
			[]string{"150 / 250 ms: met", "200 / 300 ms: met", "0.10 / 0.13 of it: met"}},
		{"the tail is not met", o, [][]sample{bare, series, three(driverPlain, "Freeze", 150, 200, 300, 1200)},
			[]string{"150 / 1050 ms: NOT MET", "200 / 1100 ms: NOT MET", "0.10 / 0.40 of it: NOT MET"}},
		{"no baseline is no pass", o, [][]sample{three(driverPlain, "Freeze", 150, 200, 300, 400)},
			[]string{"150 / 250 ms: met", "?" + " ms: NOT MET", "? of it: NOT MET"}},
		{"of another driver", o, [][]sample{bare, series, three(driverCloud, "Freeze", 150, 200, 300, 400)},
			[]string{"? ms: NOT MET", "? ms: NOT MET", "? of it: NOT MET"}},
		{"not measured", options{nodes: []int{1}}, nil, []string{"not measured"}},
	} {
		var samples []sample
		for _, some := range c.samples {
			samples = append(samples, some...)
		}
		lines := targets(c.o, samples)
		if len(lines) != len(c.want) {
			t.Errorf("%s: %q", c.name, lines)
			continue
		}
		for i, line := range lines {
			if !strings.HasSuffix(line, c.want[i]) {
				t.Errorf("%s: %q does not end with %q", c.name, line, c.want[i])
			}
		}
	}
}

func TestReportNamesWhatFailed(t *testing.T) {
	o := options{nodes: []int{3}, modes: []string{"Freeze"}, drivers: []string{driverPlain}}
	samples := three(driverPlain, "Freeze", 150, 200)
	samples = append(samples, sample{nodes: 3, driver: driverPlain, way: "Freeze", err: errors.New("SnapshotFailed: the driver refused"), seen: view{failed: 4}})
	var text strings.Builder
	report(&text, o, []result{{samples: samples}})
	for _, want := range []string{"SnapshotFailed: the driver refused; failed writes: 4", fmt.Sprintf("%d", 200)} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, text.String())
		}
	}
	if err := failed([]result{{samples: samples}}); err == nil || !strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("one of two failed: %v", err)
	}
	if err := failed([]result{{samples: samples[:1]}}); err != nil {
		t.Errorf("none failed: %v", err)
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{{0, "0"}, {0.04, "0.0"}, {9.96, "10.0"}, {9.4, "9.4"}, {-3.25, "-3.2"}, {10.4, "10"}, {1234.5, "1234"}} {
		if got := millis(c.v); got != c.want {
			t.Errorf("%g: %s, want %s", c.v, got, c.want)
		}
	}
}
