package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestFit(t *testing.T) {
	var noise *rand.Rand
	var walk float64
	for name, c := range map[string]struct {
		of          func(h float64) float64
		flat, rises bool
		slope       float64
	}{
		"constant":                 {func(float64) float64 { return 50 }, true, false, 0},
		"the same every day":       {func(h float64) float64 { return 100 + float64(int(h)%day) }, true, false, 0},
		"noise":                    {func(float64) float64 { return 1000 + noise.NormFloat64() }, true, false, 0},
		"neighbours alike":         {func(float64) float64 { walk = 0.6*walk + noise.NormFloat64(); return 1000 + walk }, true, false, 0},
		"one more every hour":      {func(h float64) float64 { return 100 + h }, false, true, 1},
		"a leak in much noise":     {func(h float64) float64 { return 1000 + 0.5*h + 3*noise.NormFloat64() }, false, true, 0.5},
		"a leak and a daily wave":  {func(h float64) float64 { return 1000 + 0.5*h + 20*math.Sin(h/day*2*math.Pi) }, false, true, 0.5},
		"certain, and immaterial":  {func(h float64) float64 { return 1e6 + h }, false, false, 1},
		"it falls":                 {func(h float64) float64 { return 1000 - h }, false, false, -1},
		"nothing":                  {func(float64) float64 { return 0 }, true, false, 0},
		"from nothing, one a week": {func(h float64) float64 { return math.Floor(h / 60) }, false, true, 1.0 / 60},
	} {
		t.Run(name, func(t *testing.T) {
			noise, walk = rand.New(rand.NewPCG(1, 2)), 0 //nolint:gosec // the same for every run
			var hours, values []float64
			for h := 84.0; h < 168; h++ {
				hours, values = append(hours, h), append(values, c.of(h))
			}
			l, err := fit(hours, values)
			if err != nil || l.flat() != c.flat || l.rises() != c.rises || math.Abs(l.slope-c.slope) > max(l.within, 1e-9) {
				t.Errorf("%+v, flat %t, rises %t, %v", l, l.flat(), l.rises(), err)
			}
		})
	}
	if _, err := fit([]float64{1, 2, 3}, []float64{1, 2, 3}); err == nil {
		t.Error("three hours make a line")
	}
}

func TestJudge(t *testing.T) {
	t1 := table{names: []string{"memory", part + "stacks"}, series: map[string][]float64{}}
	for h := range 8 {
		t1.hours = append(t1.hours, float64(h))
		t1.series["memory"] = append(t1.series["memory"], 50)
		t1.series[part+"stacks"] = append(t1.series[part+"stacks"], float64(20+h))
	}
	var out strings.Builder
	if _, err := judge(t1, 0, &out); err != nil || !strings.Contains(out.String(), "a part") || !strings.Contains(out.String(), "flat") {
		t.Errorf("%v: %s", err, out.String())
	}
	t1.series["memory"] = t1.series[part+"stacks"]
	if _, err := judge(t1, 0, &out); err == nil || err.Error() != "what should be flat rises: memory" {
		t.Errorf("memory rises: %v", err)
	}
}

func TestTable(t *testing.T) {
	of := func(leaders ...string) table {
		text := "hour,leader,heap\n"
		for h, l := range leaders {
			text += fmt.Sprintf("%d,%s,%d\n", h, l, 10*h)
		}
		got, err := read(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := of("a", "a", "b", "b", "b", "b", "b", "b"); got.last() != 4 || !slices.Equal(got.changes(), []float64{2}) || !slices.Equal(got.series["heap"][:3], []float64{0, 10, 20}) {
		t.Errorf("%+v, from %d", got, got.last())
	}
	if got := of("a", "a", "a", "a", "a", "b", "b", "b", "b", "b"); got.last() != 7 {
		t.Errorf("two processes make a line, from %d", got.last())
	}
	for _, wrong := range []string{"", "hour,leader,heap\n", "a,b,c\n1,2,3\n", "hour,leader,heap\n1,a,x\n"} {
		if _, err := read(strings.NewReader(wrong)); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}
