package main

import (
	"maps"
	"strings"
	"testing"
)

func TestParallel(t *testing.T) {
	for _, tt := range []struct {
		cluster int
		setting string
		driver  int
		drivers map[string]int
		wrong   bool
	}{
		{cluster: 8, setting: "24", driver: 24},
		{cluster: 1, setting: "ebs.csi.aws.com=40", driver: 24, drivers: map[string]int{"ebs.csi.aws.com": 40}},
		{cluster: 1, setting: "3, a=1,b=2", driver: 3, drivers: map[string]int{"a": 1, "b": 2}},
		{cluster: 0, setting: "24", wrong: true},
		{cluster: 8, setting: "0", wrong: true},
		{cluster: 8, setting: "a=0", wrong: true},
		{cluster: 8, setting: "=4", wrong: true},
		{cluster: 8, setting: "many", wrong: true},
	} {
		got, err := config{ParallelBackups: tt.cluster, ParallelPerDriver: strings.Split(tt.setting, ",")}.parallel()
		if (err != nil) != tt.wrong || !tt.wrong && (got.Cluster != tt.cluster || got.Driver != tt.driver || !maps.Equal(got.Drivers, tt.drivers)) {
			t.Errorf("%d, %q: %+v, %v", tt.cluster, tt.setting, got, err)
		}
	}
}
