package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// table is what the load test wrote.
type table struct {
	hours   []float64
	leaders []string
	names   []string // of the series
	series  map[string][]float64
}

func read(in io.Reader) (table, error) {
	t := table{series: map[string][]float64{}}
	rows, err := csv.NewReader(in).ReadAll()
	if err != nil {
		return t, err
	}
	if len(rows) < 2 || len(rows[0]) < 3 || rows[0][0] != "hour" || rows[0][1] != "leader" {
		return t, fmt.Errorf("no table of the load test")
	}
	t.names = rows[0][2:]
	for _, row := range rows[1:] {
		for i, text := range append([]string{row[0]}, row[2:]...) {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return t, err
			}
			if i == 0 {
				t.hours = append(t.hours, v)
			} else {
				t.series[t.names[i-1]] = append(t.series[t.names[i-1]], v)
			}
		}
		t.leaders = append(t.leaders, row[1])
	}
	return t, nil
}

// warm is for how many hours a process that came to lead fills its caches.
const warm = 2

// last is where the last half begins; later where the leader changed later, since the
// memory of two processes makes no line.
func (t table) last() int {
	from := len(t.hours) / 2
	for i := from; i < len(t.hours); i++ {
		if i > 0 && t.leaders[i] != t.leaders[i-1] {
			from = i + warm
		}
	}
	return min(from, len(t.hours)-1)
}

// changes are the hours in which another led than before.
func (t table) changes() (hours []float64) {
	for i := 1; i < len(t.leaders); i++ {
		if t.leaders[i] != t.leaders[i-1] {
			hours = append(hours, t.hours[i])
		}
	}
	return hours
}
