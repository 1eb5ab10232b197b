package main

import (
	"math"
	"slices"
	"testing"
)

func TestPercentile(t *testing.T) {
	twelve := []float64{12, 1, 11, 2, 10, 3, 9, 4, 8, 5, 7, 6}
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		name   string
		values []float64
		p      float64
		want   float64
	}{
		{"none", nil, 50, math.NaN()},
		{"one", []float64{7}, 99, 7},
		{"one, lowest", []float64{7}, 0, 7},
		{"median of two is the lower", []float64{2, 1}, 50, 1},
		{"median of three", []float64{30, 10, 20}, 50, 20},
		{"median of twelve", twelve, 50, 6},
		{"p99 of twelve is the largest", twelve, 99, 12},
		{"p99 of a hundred is not", hundred, 99, 99},
		{"p100", hundred, 100, 100},
	} {
		before := slices.Clone(c.values)
		if got := percentile(c.values, c.p); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
		if !slices.Equal(before, c.values) {
			t.Errorf("%s: the values were put in another order", c.name)
		}
	}
}

func TestSpread(t *testing.T) {
	nothing := spreadOf(nil)
	for _, c := range []struct {
		name  string
		s     spread
		limit float64
		want  bool
	}{
		{"both below", spread{100, 499}, 500, true},
		{"at the limit", spread{500, 500}, 500, true},
		{"the tail above", spread{100, 501}, 500, false},
		{"the median above", spread{501, 100}, 500, false},
		{"below nothing", spread{-20, -3}, 500, true},
		{"unknown is not met", nothing, 500, false},
		{"a ratio to nothing is not met", spread{1, 1}.over(nothing), 500, false},
		{"a ratio to zero is not met", spread{1, 1}.over(spread{}), 500, false},
	} {
		if got := c.s.within(c.limit); got != c.want {
			t.Errorf("%s: %+v within %g is %t", c.name, c.s, c.limit, got)
		}
	}
	if got := (spread{10, 30}).over(spread{20, 40}); got != (spread{0.5, 0.75}) {
		t.Errorf("ratio %+v", got)
	}
	if got := (spread{10, 30}).minus(spread{20, 5}); got != (spread{-10, 25}) {
		t.Errorf("difference %+v", got)
	}
}

func TestTurn(t *testing.T) {
	all := []string{"a", "b", "c"}
	for round, want := range [][]string{{"a", "b", "c"}, {"b", "c", "a"}, {"c", "a", "b"}, {"a", "b", "c"}} {
		if got := turn(all, round); !slices.Equal(got, want) {
			t.Errorf("round %d: %v, want %v", round, got, want)
		}
	}
	if !slices.Equal(all, []string{"a", "b", "c"}) {
		t.Errorf("the list was changed: %v", all)
	}
	if got := turn([]string{}, 3); len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}
