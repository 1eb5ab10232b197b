package main

import (
	"math"
	"slices"
	"time"
)

// percentile is the smallest value that at least p percent of all are not above
// (nearest rank): a value that was measured, never one between two. NaN of none.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	ordered := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(ordered))))
	return ordered[min(max(rank, 1), len(ordered))-1]
}

// spread is what the tables show of a figure.
type spread struct{ p50, p99 float64 }

func spreadOf(values []float64) spread {
	return spread{p50: percentile(values, 50), p99: percentile(values, 99)}
}

// over divides percentile by percentile; NaN where there is nothing to divide by.
func (s spread) over(t spread) spread {
	return spread{p50: ratio(s.p50, t.p50), p99: ratio(s.p99, t.p99)}
}

func (s spread) minus(t spread) spread { return spread{p50: s.p50 - t.p50, p99: s.p99 - t.p99} }

func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// within tells whether both percentiles are known and at most limit.
func (s spread) within(limit float64) bool { return s.p50 <= limit && s.p99 <= limit }

// milliseconds of each sample, by what is asked of it.
func milliseconds(samples []sample, of func(sample) time.Duration) []float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, inMillis(of(s)))
	}
	return values
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// turn is the order of round: each way is first, second, … equally often, so that
// neither the machine's drift nor what ran before favours one.
func turn[T any](all []T, round int) []T {
	if len(all) == 0 {
		return nil
	}
	at := round % len(all)
	return append(slices.Clone(all[at:]), all[:at]...)
}
