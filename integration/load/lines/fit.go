package main

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

const (
	day = 24 // hours
	// confidence of an interval.
	confidence = 0.95
	// material is how much of its mean a line may rise within a week without anybody
	// minding, however certain it is.
	material = 0.01
	week     = 7 * day
)

// line is one that was fitted to a series.
type line struct {
	mean float64
	// slope in an hour, and how far it may be from there on both sides.
	slope, within float64
	// level is the fitted line at hour 0.
	level float64
}

// fit fits a line to a series of hours. What comes every day is taken out first where
// there are two days: the retention keeps more at noon than at midnight. Neighbours
// resemble each other, so that there are fewer of them than it seems: the interval is
// as much wider as their correlation says.
func fit(hours, values []float64) (line, error) {
	groups := 1
	if len(hours) >= 2*day {
		groups = day
	}
	free := len(hours) - groups - 1
	if free < 2 {
		return line{}, fmt.Errorf("%d hours are too few for a line", len(hours))
	}
	l := line{mean: stat.Mean(values, nil)}
	x, y := within(hours, hours, groups), within(hours, values, groups)
	var xx, xy float64
	for i := range x {
		xx, xy = xx+x[i]*x[i], xy+x[i]*y[i]
	}
	l.slope = xy / xx
	l.level = l.mean - l.slope*stat.Mean(hours, nil)
	var left, neighbours float64
	rest := make([]float64, len(x))
	for i := range x {
		rest[i] = y[i] - l.slope*x[i]
		left += rest[i] * rest[i]
		if i > 0 {
			neighbours += rest[i] * rest[i-1]
		}
	}
	if left < 1e-12*float64(len(x))*max(l.mean*l.mean, 1) {
		return l, nil // an exact line
	}
	alike := min(max(neighbours/left, 0), 0.95)
	wider := math.Sqrt((1 + alike) / (1 - alike))
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(free)}.Quantile(1 - (1-confidence)/2)
	l.within = t * wider * math.Sqrt(left/float64(free)/xx)
	return l, nil
}

// within gives a series less the mean of each hour of the day.
func within(hours, values []float64, groups int) []float64 {
	sum, n := make([]float64, groups), make([]float64, groups)
	for i, v := range values {
		g := int(hours[i]) % groups
		sum[g], n[g] = sum[g]+v, n[g]+1
	}
	rest := make([]float64, len(values))
	for i, v := range values {
		g := int(hours[i]) % groups
		rest[i] = v - sum[g]/n[g]
	}
	return rest
}

// rises tells whether it certainly does, and by more than one may ignore.
func (l line) rises() bool {
	return l.slope-l.within > 0 && l.slope*week > material*l.mean
}

// flat tells whether its slope cannot be told from 0.
func (l line) flat() bool { return math.Abs(l.slope) <= l.within+1e-9*math.Abs(l.mean) }
